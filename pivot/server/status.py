"""Status: what a member knows of itself and its peers, for people and tools.

Layer: server. Start at `StatusBoard.status`.
"""

from collections import deque
from collections.abc import Sequence
from typing import final

import msgspec

from pivot.actors.mailbox import MailboxStatistics
from pivot.actors.member import Member
from pivot.config import Config
from pivot.core.notices import (
    CaughtUp,
    Conflict,
    Diverged,
    Notice,
    PeerDown,
    PeerRefused,
    PeerUp,
    ReadingFrom,
    Rejected,
    StorageRefused,
)
from pivot.core.questions import CollectionInfo
from pivot.core.store import CONFLICTS_MAX
from pivot.legacy.leader import WEAKER
from pivot.server.roster import NodeStatus, Roster, rfc3339
from pivot.server.stores import Stores
from pivot.transport.choosing import ChoosingTransport
from pivot.transport.version import agree
from pivot.types import Address, Epoch, StoreId


class PeerStatus(msgspec.Struct, frozen=True):
    """What we know of a peer.

    Attributes:
        address: how we call it.
        role: what it is to us, `leader` or `node`.
        healthy: whether it answers.
        since_ns: wall time at which that began, ns since the Unix epoch.
        reason: why it is not healthy; empty when it is.
    """

    address: Address
    role: str
    healthy: bool
    since_ns: int
    reason: str


class Lag(msgspec.Struct, frozen=True):
    """How far a collection is behind its leader.

    Attributes:
        collection: which one.
        entries: changes that the leader had when we last heard of it, and we do not have.
        seconds: how long ago we last had everything; -1 = not since we started.
    """

    collection: str
    entries: int
    seconds: float


class Status(msgspec.Struct, frozen=True):
    """A member in numbers.

    Attributes:
        role: `pivot` leads, `node` follows, `mixed` does either, by collection.
        member: how peers call it.
        pivotIP: address of its leader; empty when it leads.
        nodes: at a leader, the nodes that are registered; see `roster`.
        pivotHealthy: whether its leader answers; like the next three, says nothing at a leader.
        pivotLastCheck: since when (RFC 3339).
        pivotProtocol: what its leader speaks.
        pivotCompatible: whether both can replicate.
        cluster_id: which cluster it belongs to; empty matches any.
        durability: what an acknowledged write survives here.
        store: id of its store.
        epoch: life of its store.
        clock: greatest stamp issued or seen, ns.
        conflicts: lost updates seen since it started.
        last_error: newest refusal, rejection or storage error; empty = none.
        syncedKeys: what is replicated.
        collections: each in numbers, the last one is what is not replicated.
        weaker: leaders that speak only the protocol of the original, and what does not hold with each.
        lags: how far those that have a leader are behind it.
        peers: everybody it knows.
        readingFrom: other nodes that it reads from while a leader of its is away.
        mailboxes: actor -> how full its mailbox is and was.
    """

    role: str
    member: str
    pivotIP: str  # noqa: N815 - the original's name
    nodes: tuple[NodeStatus, ...]
    pivotHealthy: bool  # noqa: N815 - likewise
    pivotLastCheck: str  # noqa: N815 - likewise
    pivotProtocol: str  # noqa: N815 - likewise
    pivotCompatible: bool  # noqa: N815 - likewise
    cluster_id: str
    durability: str
    store: StoreId
    epoch: Epoch
    clock: int
    conflicts: int
    last_error: str
    syncedKeys: tuple[str, ...]  # noqa: N815 - the original's name
    collections: tuple[CollectionInfo, ...]
    weaker: dict[Address, tuple[str, ...]]
    lags: tuple[Lag, ...]
    peers: tuple[PeerStatus, ...]
    readingFrom: tuple[Address, ...]  # noqa: N815 - like the original's
    mailboxes: dict[str, MailboxStatistics]


@final
class StatusBoard:
    """Remembers what the notices of a member said."""

    def __init__(
        self,
        stores: Stores,
        *,
        roster: Roster,
        transports: Sequence[ChoosingTransport],
        durability: str,
        peers_max: int,
    ) -> None:
        """Listen to the server's own member from now on, and to others when told so.

        Args:
            stores: whose status it is.
            roster: the nodes that are registered with it.
            transports: know what its leaders speak; may grow.
            durability: of its engine.
            peers_max: most peers that are remembered; the oldest is forgotten.
        """
        self._stores = stores
        self._member = stores.own
        self._roster = roster
        self._transports = transports
        self._durability = durability
        self._peers_max = peers_max
        self._peers: dict[Address, PeerStatus] = {}
        self._reading_from: dict[Address, tuple[Address, ...]] = {}
        self._last_error = ""
        self._whole: dict[str, bool] = {}
        self._whole_ns: dict[str, int] = {}
        self._lost_updates = deque[Conflict](maxlen=CONFLICTS_MAX)
        self.listen(stores.own)

    def listen(self, member: Member) -> None:
        """Remember what this member says, too."""
        member.on_notice(self._notice)

    def _notice(self, notice: Notice) -> None:
        match notice:
            case PeerUp():
                self._remember(notice.peer, notice.role, "")
            case PeerDown():
                self._remember(notice.peer, notice.role, notice.reason)
                self._end_of(notice.peer)
            case CaughtUp():
                self._whole[notice.collection] = True
                self._whole_ns[notice.collection] = self._member.now().wall_ns
            case PeerRefused():
                known = self._peers.get(notice.peer)
                self._remember(notice.peer, "" if known is None else known.role, notice.reason)
                self._last_error = f"{notice.peer}: {notice.reason}"
            case ReadingFrom():
                self._reading_from[notice.leader] = notice.peers
            case Rejected():
                self._last_error = f"{notice.key}: {notice.reason}"
            case StorageRefused():
                self._last_error = notice.reason
            case Diverged():
                self._last_error = f"{notice.collection}: differs from its leader in {notice.buckets} buckets"
            case Conflict():
                self._lost_updates.append(notice)
            case _:
                pass

    def _remember(self, peer: Address, role: str, reason: str) -> None:
        self._peers.pop(peer, None)
        self._peers[peer] = PeerStatus(peer, role, not reason, self._member.now().wall_ns, reason)
        if len(self._peers) > self._peers_max:
            del self._peers[next(iter(self._peers))]

    def peers(self) -> tuple[PeerStatus, ...]:
        """Everybody the server knows."""
        return tuple(self._peers.values())

    def _end_of(self, leader: Address) -> None:
        """From now on we do not know whether we have everything of a leader's collections."""
        for path, url in self._stores.config.upstreams().items():
            if url == leader and self._whole.get(path):
                self._whole[path] = False
                self._whole_ns[path] = self._member.now().wall_ns

    def is_whole(self, collection: str) -> bool:
        """Whether we have, as far as we know, everything that the leader of a collection has."""
        return self._whole.get(collection, False)

    def leaders_answer(self) -> dict[Address, bool | None]:
        """Each of our leaders: whether it answers; None = that was not tried yet."""
        leaders = dict.fromkeys(Address(url) for url in self._stores.config.upstreams().values() if url)
        return {url: self._peers[url].healthy if url in self._peers else None for url in leaders}

    def lost_updates(self) -> tuple[Conflict, ...]:
        """The newest lost updates, oldest first: the version that won, and the one whose writer it had not seen."""
        return tuple(self._lost_updates)

    async def status(self, *, deadline_s: float) -> Status:
        """What the member is and holds now.

        Raises:
            ActorError: it does not answer.
            DeadlineError: it does not answer in time.
        """
        info = await self._stores.describe(deadline_s=deadline_s)
        config = self._stores.config
        leader = self._peers.get(Address(config.cluster_url))
        said = (each.spoken.get(Address(config.cluster_url)) for each in self._transports)
        version = next((each for each in said if each is not None), None)
        return Status(
            role=role_of(config),
            member=self._member.id,
            pivotIP=config.cluster_url,
            nodes=self._roster.statuses(),
            pivotHealthy=leader is not None and leader.healthy,
            pivotLastCheck="" if leader is None else rfc3339(leader.since_ns),
            pivotProtocol="" if version is None else version.protocol,
            pivotCompatible=version is not None and agree(version, config.protocols) is not None,
            cluster_id=config.cluster_id,
            durability=self._durability,
            store=info.store,
            epoch=info.epoch,
            clock=info.clock,
            conflicts=info.conflicts,
            last_error=self._last_error,
            syncedKeys=config.collections(),
            collections=info.collections,
            weaker=self._weaker(),
            lags=tuple(self._lag(each) for each in info.collections if each.follows),
            peers=self.peers(),
            readingFrom=tuple(peer for peers in self._reading_from.values() for peer in peers),
            mailboxes=self._mailboxes(),
        )

    def _weaker(self) -> dict[Address, tuple[str, ...]]:
        leaders = dict.fromkeys(Address(url) for url in self._stores.config.upstreams().values() if url)
        return {url: WEAKER for url in leaders if any(each.way_to(url) == "2.0" for each in self._transports)}

    def _mailboxes(self) -> dict[str, MailboxStatistics]:
        own, *others = self._stores.members
        return own.statistics() | {
            f"{name} at {member.id}": statistics
            for member in others
            for name, statistics in member.statistics().items()
        }

    def _lag(self, info: CollectionInfo) -> Lag:
        entries = max(0, info.place.head - info.place.cursor)
        now_ns = self._member.now().wall_ns
        if self._whole.get(info.path) and not entries:
            self._whole_ns[info.path] = now_ns
        since_ns = self._whole_ns.get(info.path)
        return Lag(info.path, entries, -1.0 if since_ns is None else (now_ns - since_ns) / 1e9)


def role_of(config: Config) -> str:
    """`pivot` leads everything, `node` follows for everything, `mixed` does either, by key."""
    upstreams = config.upstreams().values()
    if not any(upstreams):
        return "pivot"
    return "node" if all(upstreams) else "mixed"
