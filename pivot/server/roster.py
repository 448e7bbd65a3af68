"""Roster: the nodes that are registered with this member, their leader, and whether they answer.

Layer: server. Entries under the nodes key say where nodes are. Each is asked now and then what it speaks, in the
background: a write waits for none of them, and one that does not answer costs it nothing. A node that follows us shows
by itself that it is there, and is healthy at once; one that speaks our messages and does not follow us though it is
registered is called, so that it comes sooner than by itself. Start at `Roster.run`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_network
from math import inf
from typing import Final, final

import msgspec
import trio
from msgspec.structs import replace

from pivot.actors.member import Member
from pivot.actors.ref import Ref
from pivot.core.entry import Entry
from pivot.core.notices import Notice, PeerDown, PeerUp
from pivot.core.peers import peer_address
from pivot.core.questions import Entries, ListAll
from pivot.errors import ActorError, DeadlineError, TransportError
from pivot.legacy.activities import Activities
from pivot.legacy.node import WEAKER, OriginalNode
from pivot.legacy.objects import ORIGIN
from pivot.legacy.rest import Rest
from pivot.paths import matches
from pivot.server.answers import ASK_DEADLINE_S
from pivot.transport.choosing import ChoosingTransport
from pivot.transport.http_client import HttpClient
from pivot.transport.version import Version, agree, ask_version
from pivot.types import Address, MemberId

CHECK_S: Final = 2.0
"""How long a node may take to say what it speaks."""
CHECK_AGAIN_S: Final = 1.0
"""How soon at the earliest a node is asked again, whatever happens."""
CHECKS_MAX: Final = 16
"""Most nodes that are asked at a time."""
CALL_S: Final = 15.0
"""How long a node that we call may take to come."""
UNKNOWN: Final = "unknown"
"""Protocol of a node that has not said what it speaks."""


class NodeStatus(msgspec.Struct, frozen=True):
    """A registered node; the first five names are the original's.

    Attributes:
        address: `ip:port`.
        healthy: whether it follows us, or answered when it was last asked.
        lastCheck: when we learned that (RFC 3339); empty = not yet.
        protocol: what it says that it speaks, `unknown` before.
        compatible: whether we can replicate with it; when not, it is left alone.
        native: whether it speaks our own messages.
        weaker: what does not hold with it, since it does not.
        reason: why it is not healthy or not compatible; empty when it is both.
    """

    address: str
    healthy: bool = False
    lastCheck: str = ""  # noqa: N815 - the original's name
    protocol: str = UNKNOWN
    compatible: bool = False
    native: bool = False
    weaker: tuple[str, ...] = ()
    reason: str = "not asked yet"


@final
class _Node:
    """A registered node, and what we need to know to watch it.

    Attributes:
        status: what we show.
        member: how it calls itself; empty = it has not said.
        link: ends what stands for it among our followers, when it speaks "2.0" and that runs.
        due_s: when it is asked next, on Trio's clock; infinite while it is being asked.
        checked_s: when it was asked last.
    """

    def __init__(self, status: NodeStatus) -> None:
        self.status = status
        self.member = MemberId("")
        self.link: trio.CancelScope | None = None
        self.due_s = -inf
        self.checked_s = -inf


@final
class Roster:
    """Watches the nodes that are registered under the nodes key, and those that we were told of, if we lead."""

    def __init__(
        self, member: Member, client: HttpClient, transport: ChoosingTransport, activities: Activities
    ) -> None:
        """Listen to a member from now on.

        Args:
            member: the leader.
            client: asks the nodes.
            transport: brings to those that speak "2.0" what our member says to them.
            activities: what we say to them of our collections.
        """
        config = member.config
        self._extra = dict.fromkeys(map(Address, config.extra_node_urls))
        self._member = member
        self._client = client
        self._transport = transport
        self._activities = activities
        self._led = tuple(path for path, upstream in config.upstreams().items() if not upstream)
        self._nodes_key = config.nodes_key if config.upstreams().get(config.nodes_key) == "" else ""
        self._networks = tuple(map(ip_network, config.node_networks))
        self._protocols = config.protocols
        self._check_s = config.node_check_s
        self._nodes_max = config.knobs.peers_max
        self._nodes: dict[Address, _Node] = {}
        self._up: dict[MemberId, None] = {}
        self._leads = not config.cluster_url
        self._stale = self._leads
        self._woken = trio.Event()
        self._limiter = trio.CapacityLimiter(CHECKS_MAX)
        if self._nodes_key:
            member.watch(self._watch)
        if self._leads:
            member.on_notice(self._notice)

    def add(self, url: Address) -> None:
        """Watch a node that is not registered, too."""
        self._extra[url] = None
        self._stale = self._leads
        self._woken.set()

    def statuses(self) -> tuple[NodeStatus, ...]:
        """Every registered node, in the order of its address; none unless we lead the nodes key."""
        return tuple(self._nodes[address].status for address in sorted(self._nodes))

    async def run(self) -> None:
        """Watch until cancelled; returns at once when there is nothing to watch."""
        if not self._leads:
            return
        async with trio.open_nursery() as nursery:
            while True:
                self._woken = trio.Event()
                if self._stale:
                    await self._read()
                now_s = trio.current_time()
                for address, node in self._nodes.items():
                    if node.due_s <= now_s:
                        node.due_s = inf
                        nursery.start_soon(self._check, address, node, nursery)
                next_s = min((node.due_s for node in self._nodes.values()), default=inf)
                with trio.move_on_at(next_s):
                    await self._woken.wait()

    # What we hear ------------------------------------------------------------------------------------------------

    def _watch(self, entries: Iterable[Entry]) -> None:
        if any(matches(self._nodes_key, entry.key) for entry in entries):
            self._stale = True
            self._woken.set()

    def _notice(self, notice: Notice) -> None:
        match notice:
            case PeerUp(role="node"):
                member = MemberId(notice.peer)
                self._up[member] = None
                known = [node for node in self._nodes.values() if node.member == member]
                for node in known:
                    node.status = replace(node.status, healthy=True, lastCheck=self._time(), reason="")
                if not known:  # one of those that did not answer is back under another name
                    for node in self._nodes.values():
                        if not node.status.healthy:
                            self._hurry(node)
            case PeerDown(role="node"):
                member = MemberId(notice.peer)
                self._up.pop(member, None)
                for node in self._nodes.values():
                    if node.member == member:
                        status = replace(node.status, healthy=False, lastCheck=self._time(), reason=notice.reason)
                        node.status = status
            case _:
                pass

    def _hurry(self, node: _Node) -> None:
        """Ask a node soon, unless it is being asked."""
        if node.due_s != inf:
            node.due_s = min(node.due_s, node.checked_s + CHECK_AGAIN_S)
            self._woken.set()

    # What we do --------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Learn who is registered."""
        entries: tuple[Entry, ...] = ()
        self._stale = False
        if self._nodes_key:
            try:
                found = await Ref(self._member).ask(ListAll(self._nodes_key), deadline_s=ASK_DEADLINE_S)
            except (ActorError, DeadlineError):
                self._stale = True
                await trio.sleep(CHECK_AGAIN_S)  # it is asked again
                self._woken.set()
                return
            assert isinstance(found, Entries), found
            entries = found.entries
        addresses = (peer_address(entry.data, self._networks) for entry in entries)
        registered = dict.fromkeys([*self._extra, *(address for address in addresses if address is not None)])
        before, self._nodes = self._nodes, {}
        for address in list(registered)[: self._nodes_max]:
            known = before.pop(address) if address in before else None
            self._nodes[address] = known or _Node(NodeStatus(address.removeprefix("http://")))
        for node in before.values():
            if node.link is not None:
                node.link.cancel()

    async def _check(self, address: Address, node: _Node, nursery: trio.Nursery) -> None:
        """Ask a node what it speaks, and call it when it should follow us and does not."""
        async with self._limiter:
            before = node.status
            node.checked_s = trio.current_time()
            try:
                version = await ask_version(self._client, address, timeout_s=CHECK_S)
            except TransportError as error:
                node.status = replace(
                    before, healthy=node.member in self._up, lastCheck=self._time(), reason=str(error)
                )
            else:
                self._learn(node, version)
                if node.status.native and node.member not in (*self._up, self._member.id):
                    await self._call(address)
                elif node.status.compatible and not node.status.native and node.link is None:
                    node.link = trio.CancelScope()
                    nursery.start_soon(self._lead, address, node, node.link)
        node.due_s = trio.current_time() + self._check_s
        self._woken.set()

    def _learn(self, node: _Node, version: Version) -> None:
        way = agree(version, self._protocols)
        named = ORIGIN + node.status.address if version.native is None else version.native.member
        node.member = MemberId(named)
        node.status = replace(
            node.status,
            healthy=True,
            lastCheck=self._time(),
            protocol=version.protocol,
            compatible=way is not None,
            native=way == "native",
            weaker=WEAKER if way == "2.0" else (),
            reason="" if way else f"protocol {version.protocol!r} is not spoken here",
        )

    async def _lead(self, address: Address, node: _Node, scope: trio.CancelScope) -> None:
        """Keep a node that speaks "2.0" in step until it fails; the next check begins anew."""
        name = Address(ORIGIN + node.status.address)
        rest = Rest(self._client, address, writer=node.status.address)
        link = OriginalNode(rest, self._member, self._led, self._activities)
        self._transport.admit(name, link)
        with scope:
            try:
                await link.run()
            except TransportError as error:
                node.status = replace(node.status, healthy=False, lastCheck=self._time(), reason=str(error))
        self._transport.dismiss(name)
        node.link = None
        node.due_s = min(node.due_s, trio.current_time() + self._check_s)
        self._woken.set()

    async def _call(self, address: Address) -> None:
        """Have a node come to us; whether it does shows when it says hello."""
        try:
            await self._client.request("GET", address + "/_pivot/synchronize/pivot", timeout_s=CALL_S)
        except TransportError:
            return

    def _time(self) -> str:
        return rfc3339(self._member.now().wall_ns)


def rfc3339(wall_ns: int) -> str:
    """A time (ns since the Unix epoch) as people and the original write it, to the second."""
    return datetime.fromtimestamp(wall_ns // 10**9, UTC).isoformat()
