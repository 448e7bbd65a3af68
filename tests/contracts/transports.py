"""A node and a leader joined by one kind of transport, so that one suite can hold every kind to the contract.

Start at `over`, which makes a test of a story about a `Pair`. Three kinds of pairs:

- `simulated`: the simulated network, in virtual time, on links that reorder and repeat.
- `asgi`: `HttpTransport` that calls its leader's application in process. Such an answer is there only when it is
  complete, so what a leader says through a node's stream cannot be seen: this pair tells stories of the way up.
- `sockets`: two `HttpTransport`s and a real server over loopback, with a link between them that can be cut.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, Protocol

import httpx
import pytest
import trio
from quart_trio import QuartTrio

from pivot.actors.timeline import Timeline
from pivot.actors.trio_timeline import TrioTimeline
from pivot.core.entry import Entry
from pivot.core.messages import (
    PROTOCOL,
    Ack,
    Envelope,
    Glimpse,
    Hello,
    Message,
    Page,
    Peek,
    Push,
    PushAck,
    Refused,
    Reset,
    RowAck,
    RowRejected,
    Subscribe,
    ToLeader,
    ToNode,
    Welcome,
)
from pivot.transport.base import Transport
from pivot.transport.codec import encode
from pivot.transport.hosting import host
from pivot.transport.http import QUEUE_LINES_MAX, HttpTransport
from pivot.transport.http_client import HttpClient
from pivot.transport.http_server import add_transport_routes
from pivot.types import Address, Epoch, MemberId, StoreId
from simulator.live.proxy import Proxy
from simulator.runtimes.loop import run
from simulator.world.heap import EventHeap
from simulator.world.latency import ConstantLatency, UniformLatency
from simulator.world.link import Conditions
from simulator.world.network import Network
from simulator.world.rng import Streams
from simulator.world.topology import star
from simulator.world.trace import Trace
from simulator.world.transport import SimulatedTransport

PATIENCE_S: Final = 20.0
"""Guards only, in the time of the pair."""
FOR_EVER_S: Final = 600.0
NODE: Final = MemberId("node")
LEADER: Final = MemberId("leader")
HELLO: Final = Hello((PROTOCOL, PROTOCOL), "", 1, ("users/*",))
_EPOCH: Final = Epoch("e1")
_ENTRIES: Final = (
    Entry("users/ann", 1, 0, '{"name":"Änn\\n\u2028"}', deleted=False, prev=0, origin=StoreId("s1")),
    Entry("users/bob", 1, 2, "", deleted=True, prev=None, origin=StoreId("s2")),
)
PEEK: Final = Peek(7, "users/*", _EPOCH, 3, _EPOCH, 2, "c")
GLIMPSE: Final = Glimpse(7, "users/*", _EPOCH, 3, _ENTRIES, (0, 9), 5, 5, _EPOCH, 4)
UP: Final[tuple[ToLeader, ...]] = (
    Subscribe("users/*", _EPOCH, 7),
    Ack("users/*", _EPOCH, 2**62),
    Push("users/*", 3, _EPOCH, 0, _ENTRIES),
)
DOWN: Final[tuple[ToNode, ...]] = (
    Welcome(PROTOCOL, "c", 1, ("users/*",)),
    Refused("no \u2028 room"),
    Reset("users/*", _EPOCH, Epoch("e2")),
    Page("users/*", _EPOCH, 0, _ENTRIES, (1, 2), 2, 2),
    PushAck("users/*", 3, _EPOCH, (RowAck("users/ann", "f", 1),), (RowRejected("users/bob", "f", "why"),)),
)


class Recorder:
    """A member that writes down what its transport tells it."""

    def __init__(self) -> None:
        self.received: list[tuple[Envelope, Address]] = []
        self.lost_links: list[tuple[Address, str]] = []
        self._changed = trio.Event()

    def receive(self, envelope: Envelope, via: Address) -> None:
        self.received.append((envelope, via))
        self._change()

    def link_lost(self, peer: Address, reason: str) -> None:
        self.lost_links.append((peer, reason))
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    @property
    def lines(self) -> set[bytes]:
        """Everything received, encoded."""
        return {encode(envelope) for envelope, _ in self.received}

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait, while things happen to this member, until something holds."""
        with trio.fail_after(PATIENCE_S):
            while not holds():
                await self._changed.wait()

    def has_all(self, lines: Iterable[bytes]) -> bool:
        """Whether all of these, encoded, were received."""
        return self.lines.issuperset(lines)

    async def has(self, line: bytes) -> None:
        """Wait until an envelope that is encoded so was received."""
        await self.until(lambda: line in self.lines)


class Counts:
    """What a transport says that it did, in envelopes."""

    def __init__(self, sent: int, received: int, lost: dict[str, int]) -> None:
        self.sent = sent
        self.received = received
        self.lost = lost


class Pair(Protocol):
    """A node and a leader; the way up is from the node to the leader."""

    node: Recorder
    leader: Recorder
    node_transport: Transport
    leader_transport: Transport
    leader_address: Address
    timeline: Timeline
    waiting_max: int

    def away(self) -> None:
        """Let the leader be gone, as far as the node can see."""
        ...

    def back(self) -> None:
        """Let it be there again."""
        ...

    def stall(self) -> None:
        """Let the leader take nothing and say nothing."""
        ...

    async def close(self) -> None:
        """Close the node's transport, which must end."""
        ...

    def counts(self) -> Counts:
        """Statistics of the node's transport; in the simulator, of the network."""
        ...


def up(pair: Pair, body: Message) -> Envelope:
    """An envelope of the node's for the leader."""
    return Envelope(PROTOCOL, NODE, pair.leader_address, StoreId("s1"), _EPOCH, body)


def down(body: Message, target: str = NODE) -> Envelope:
    """An envelope of the leader's for the node."""
    return Envelope(PROTOCOL, LEADER, Address(target), StoreId("s2"), Epoch("e2"), body)


async def greet(pair: Pair) -> None:
    """Send a Hello of the node's, and wait until the leader has it."""
    before = len(pair.leader.received)
    pair.node_transport.send(up(pair, HELLO))
    await pair.leader.until(lambda: len(pair.leader.received) > before)


# Simulated -----------------------------------------------------------------------------------------------------------


class SimulatedPair:
    """On the simulated network. A transport there has no tasks: to close it is to leave the network."""

    def __init__(self, heap: EventHeap) -> None:
        self.waiting_max = 100
        weather = Conditions(latency=UniformLatency(base_s=0.001, spread_s=0.01), duplication=0.2)
        self._network = Network(
            heap, star(LEADER, [NODE], weather), Streams(1), Trace(), in_flight_max=self.waiting_max
        )
        self.timeline: Timeline = heap
        self.leader_address = Address(LEADER)
        self.node, self.leader = Recorder(), Recorder()
        self.node_transport: Transport = SimulatedTransport(NODE, self._network)
        self.leader_transport: Transport = SimulatedTransport(LEADER, self._network)
        self.node_transport.attach(self.node)
        self.leader_transport.attach(self.leader)

    def away(self) -> None:
        self._network.detach(LEADER)

    def back(self) -> None:
        self.leader_transport.attach(self.leader)

    def stall(self) -> None:
        link = self._network.link(NODE, LEADER)
        assert link is not None
        link.conditions = Conditions(latency=ConstantLatency(base_s=FOR_EVER_S))

    async def close(self) -> None:
        self._network.detach(NODE)
        await trio.lowlevel.checkpoint()

    def counts(self) -> Counts:
        statistics = self._network.statistics()
        return Counts(statistics.sent, statistics.delivered, statistics.lost)


# HTTP ----------------------------------------------------------------------------------------------------------------


class HttpPair:
    """What both kinds of HTTP share."""

    def __init__(self, client: HttpClient, leader_client: HttpClient, leader: str) -> None:
        self.waiting_max = QUEUE_LINES_MAX
        self.timeline: Timeline = TrioTimeline()
        self.leader_address = Address(leader)
        self.node, self.leader = Recorder(), Recorder()
        self.node_http = HttpTransport(client, leaders=[self.leader_address], silence_s=FOR_EVER_S)
        self.leader_http = HttpTransport(leader_client, leaders=[], silence_s=FOR_EVER_S)
        self.node_transport: Transport = self.node_http
        self.leader_transport: Transport = self.leader_http
        self.node_transport.attach(self.node)
        self.leader_transport.attach(self.leader)
        self.app = QuartTrio("pair")
        add_transport_routes(self.app, self.leader_http)
        self.away: Callable[[], None] = lambda: None
        self.back: Callable[[], None] = lambda: None
        self.stall: Callable[[], None] = lambda: None
        self._open = trio.CancelScope()
        self._closed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the node's transport until it is closed."""
        with self._open:
            await self.node_http.run(task_status=task_status)
        self._closed.set()

    async def close(self) -> None:
        self._open.cancel()
        with trio.fail_after(PATIENCE_S):
            await self._closed.wait()

    def counts(self) -> Counts:
        statistics = self.node_http.statistics()
        return Counts(statistics.sent, statistics.received, statistics.lost)


class Gate(httpx.AsyncBaseTransport):
    """Calls an application in process, unless it is told not to."""

    def __init__(self) -> None:
        self.app: QuartTrio | None = None
        self.mode = "open"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.mode == "stalled":
            await trio.sleep_forever()
        if self.mode == "away" or self.app is None:
            raise httpx.ConnectError("nobody is there", request=request)
        return await httpx.ASGITransport(self.app).handle_async_request(request)  # type: ignore[arg-type]


@asynccontextmanager
async def asgi_pair() -> AsyncGenerator[HttpPair]:
    """A pair in process."""
    gate = Gate()
    async with HttpClient(transport=gate) as client, trio.open_nursery() as nursery:
        pair = HttpPair(client, client, "http://leader:80")
        gate.app = pair.app

        def mode(name: str) -> None:
            gate.mode = name

        pair.away, pair.back, pair.stall = partial(mode, "away"), partial(mode, "open"), partial(mode, "stalled")
        await nursery.start(pair.run)
        await nursery.start(pair.leader_http.run)
        yield pair
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def socket_pair() -> AsyncGenerator[HttpPair]:
    """A pair over loopback, through a proxy whose target never changes its address for the node."""
    [deaf] = await trio.open_tcp_listeners(0, host="127.0.0.1")  # connects, and never reads
    async with deaf, HttpClient() as client, HttpClient() as leader_client, trio.open_nursery() as nursery:
        target = [""]
        proxy = Proxy(lambda: target[0])
        await nursery.start(proxy.run)
        pair = HttpPair(client, leader_client, proxy.address)
        url: str = await nursery.start(partial(host, pair.app, "127.0.0.1:0", shutdown=trio.sleep_forever))
        target[0] = url.removeprefix("http://")

        def stall() -> None:
            proxy.cut()
            target[0] = "127.0.0.1:{1}".format(*deaf.socket.getsockname())
            proxy.heal()

        pair.away, pair.back, pair.stall = proxy.cut, proxy.heal, stall
        await nursery.start(pair.run)
        await nursery.start(pair.leader_http.run)
        yield pair
        nursery.cancel_scope.cancel()


# Stories -------------------------------------------------------------------------------------------------------------


Story = Callable[[Pair], Awaitable[None]]
HttpStory = Callable[[HttpPair], Awaitable[None]]


def _in_simulation(story: Story) -> None:
    async def main(heap: EventHeap) -> None:
        await story(SimulatedPair(heap))

    run(main, seed=1)


def _on_trio(pair_of: Callable[[], AbstractAsyncContextManager[HttpPair]], story: HttpStory) -> None:
    async def main() -> None:
        async with pair_of() as pair:
            await story(pair)

    trio.run(main)


KINDS: Final[dict[str, Callable[[Story], None]]] = {
    "simulated": _in_simulation,
    "asgi": partial(_on_trio, asgi_pair),
    "sockets": partial(_on_trio, socket_pair),
}


def over(*kinds: str, **why_not: str) -> Callable[[Story], Callable[[str], None]]:
    """Make a test of a story, once for each kind of pair; `why_not` says of each other kind why it cannot be there."""
    assert sorted((*kinds, *why_not)) == sorted(KINDS), "every kind is there, or it is said why not"

    def decorate(story: Story) -> Callable[[str], None]:
        @pytest.mark.parametrize("kind", kinds)
        def test(kind: str) -> None:
            KINDS[kind](story)

        test.__name__ = test.__qualname__ = getattr(story, "__name__", "story")
        test.__doc__ = story.__doc__
        return test

    return decorate
