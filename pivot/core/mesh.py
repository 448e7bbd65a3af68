"""Mesh: reading from other nodes while our leader is away, and letting them read.

Layer: core (pure). Theory of operation:

    our leader is away for `leader_timeout_s`   the entries under the nodes key say who else there is
    every heartbeat from then on                a peek at up to `SOURCES` of them for each collection, a few at a time,
                                                not while an earlier one waits for its answer (`ack_repeat_s`)
    a glimpse that we have asked for            storage judges and merges it; the next peek goes on where it ended
    silence for `greet_s`                       another node instead
    our leader is back                          nothing more is asked for, and what still comes is ignored
    a peek                                      storage reads, and we answer; nothing is remembered of who asked

What we have read of a peer's feed is forgotten with the
outage: the next one begins with what the leader had not confirmed when we lost it, which is little.
Start at `Mesh.tick`.
"""

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, final

from pivot.config import Config
from pivot.core.asks import Asks
from pivot.core.collection import FeedSlice
from pivot.core.effects import CancelTimer, Effect, Report, Send, SetTimer
from pivot.core.events import Received
from pivot.core.following import Following, Purpose
from pivot.core.messages import Glimpse, Peek
from pivot.core.notices import ReadingFrom
from pivot.core.peers import peer_address
from pivot.core.questions import Entries, ListAll, MergeFromPeer, Position, ReadForPeer, Result
from pivot.types import NO_EPOCH, Address, Epoch, Now, StoreId

MESH: Final = "mesh"
"""Name of our timer."""
SOURCES: Final = 2
"""Most nodes that we read from at a time."""
PEEKS_MAX: Final = 16
"""Most peeks at one node in one heartbeat; with more collections than that they take turns."""
GIVING_MAX: Final = 64
"""Most peeks of others that wait for storage; what is above that is made again by those who asked."""


@final
@dataclass(slots=True)
class Source:
    """A node that we read from.

    Attributes:
        address: where it is.
        since_s: when we began, or last heard of it.
        heard: whether it has answered.
        life: of its store, once it has answered.
        positions: collection -> how much of its feed we have.
        useless: collections for which storage does not take what it has.
        peeks: collection -> ordinal of the peek under way, and when it left.
        turn: number of the collection that comes next.
    """

    address: Address
    since_s: float
    heard: bool = False
    life: Epoch = NO_EPOCH
    positions: dict[str, int] = field(default_factory=dict[str, int])
    useless: dict[str, None] = field(default_factory=dict[str, None])
    peeks: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    turn: int = 0


@final
@dataclass(slots=True, frozen=True)
class Given:
    """A peek of another node that waits for storage."""

    target: Address
    ordinal: int


@final
class Mesh:
    """The other nodes of one leader, as one of them sees them."""

    def __init__(
        self, config: Config, *, upstream: Address, following: dict[str, Following], asks: Asks[Purpose]
    ) -> None:
        """Begin with a leader that is not away.

        Args:
            config: whether there is a mesh, where its nodes may be, timings and limits.
            upstream: the leader's address.
            following: the collections that we follow it for.
            asks: open questions to storage.
        """
        self._config = config
        self._upstream = upstream
        self._following = following
        self._asks = asks
        self._networks = tuple(map(ipaddress.ip_network, config.node_networks))
        self._store = StoreId("")
        self._life = NO_EPOCH
        self._away = False
        self._looking = False
        self._sources: dict[Address, Source] = {}
        self._tried: dict[Address, None] = {}
        self._ours: dict[Address, None] = {}
        self._given: dict[int, Given] = {}
        self._glimpses: dict[int, tuple[Source, Glimpse]] = {}
        self._ordinal = 0

    def restore(self, store: StoreId, life: Epoch) -> None:
        """Hear who we are."""
        self._store, self._life = store, life

    # Reading -----------------------------------------------------------------------------------------------------

    def away(self) -> list[Effect]:
        """Our leader does not answer; no harm when we know."""
        if self._away or not self._config.mesh or not self._config.nodes_key:
            return []
        self._away = True
        after_s = self._config.knobs.leader_timeout_s
        return [SetTimer(MESH, after_s, after_s)]

    def back(self) -> list[Effect]:
        """Our leader answers."""
        if not self._away:
            return []
        self._away = False
        self._tried.clear()
        self._glimpses.clear()
        return [CancelTimer(MESH), *self._end(tuple(self._sources))]

    def tick(self, now: Now) -> list[Effect]:
        """Look for nodes to read from, and ask those we have found."""
        if not self._away:
            return []
        knobs = self._config.knobs
        silent = [at for at, source in self._sources.items() if now.monotonic_s - source.since_s > knobs.greet_s]
        effects = self._end(silent)
        if len(self._sources) < SOURCES and not self._looking:
            asked = self._asks.ask(ListAll(self._config.nodes_key), Purpose("peers", ""))
            self._looking = bool(asked)
            effects += asked
        for source in self._sources.values():
            effects += self._peek_in_turn(now, source)
        return [*effects, SetTimer(MESH, knobs.heartbeat_s, knobs.heartbeat_s)]

    def glimpse(self, now: Now, event: Received, glimpse: Glimpse) -> list[Effect]:
        """Let storage judge what another node has, if we have asked for it."""
        path = glimpse.collection
        source = next((s for s in self._sources.values() if s.peeks.get(path, (0, 0))[0] == glimpse.ordinal), None)
        if source is None:
            return []
        del source.peeks[path]
        if event.store == self._store:
            self._ours[source.address] = None
            return self._end((source.address,))
        effects: list[Effect] = []
        source.since_s = now.monotonic_s
        if not source.heard:
            source.heard = True
            effects += self._report()
        if source.life != glimpse.life:
            source.life = glimpse.life
            source.positions.clear()
            source.useless.clear()
        if glimpse.since not in (0, source.positions.get(path, 0)):
            return effects  # late; what starts at 0 begins its feed again, and so do we
        question = MergeFromPeer(path, glimpse.epoch, glimpse.cursor, glimpse.entries, glimpse.acks)
        asked = self._asks.ask(question, Purpose("glimpse", path, glimpse.ordinal))
        if asked:
            self._glimpses[glimpse.ordinal] = (source, glimpse)
        return [*effects, *asked]

    def _look(self, now: Now, found: Entries) -> list[Effect]:
        """Choose among the nodes that there are; each node begins elsewhere, and those that failed come last."""
        known = (peer_address(entry.data, self._networks) for entry in found.entries)
        not_these = {**self._sources, **self._ours, self._upstream: None}
        others = sorted(dict.fromkeys(at for at in known if at and at not in not_these))
        if all(at in self._tried for at in others):
            self._tried.clear()
        digest = hashlib.blake2b(self._store.encode(), digest_size=8).digest()
        start = int.from_bytes(digest) % max(1, len(others))
        fresh = [at for at in others[start:] + others[:start] if at not in self._tried]
        effects: list[Effect] = []
        for address in fresh[: SOURCES - len(self._sources)]:
            source = self._sources[address] = Source(address, now.monotonic_s)
            effects += self._peek_in_turn(now, source)
        return effects

    def _peek_in_turn(self, now: Now, source: Source) -> list[Effect]:
        """Ask a node for some collections, those that waited longest."""
        late_s = now.monotonic_s - self._config.knobs.ack_repeat_s
        asked = {path: None for path, (_, left_s) in source.peeks.items() if left_s >= late_s}
        paths = tuple(path for path in self._following if path not in source.useless and path not in asked)
        count = min(PEEKS_MAX, len(paths))
        chosen = [paths[(source.turn + place) % len(paths)] for place in range(count)]
        source.turn += count
        return [self._peek(now, source, path) for path in chosen]

    def _peek(self, now: Now, source: Source, path: str) -> Send:
        self._ordinal += 1
        source.peeks[path] = (self._ordinal, now.monotonic_s)
        place = self._following[path].place
        peek = Peek(
            ordinal=self._ordinal,
            collection=path,
            life=source.life,
            since=source.positions.get(path, 0),
            epoch=place.epoch,
            cursor=place.cursor,
            cluster=self._config.cluster_id,
        )
        return Send(source.address, peek)

    def _end(self, addresses: Iterable[Address]) -> list[Effect]:
        """Read from these no more."""
        ended = [self._sources.pop(address) for address in addresses]
        self._tried.update((source.address, None) for source in ended)
        return self._report() if any(source.heard for source in ended) else []

    def _report(self) -> list[Effect]:
        heard = tuple(source.address for source in self._sources.values() if source.heard)
        return [Report(ReadingFrom(self._upstream, heard))]

    # Being read --------------------------------------------------------------------------------------------------

    def peek(self, event: Received, peek: Peek) -> list[Effect]:
        """Read for another node, if it is of our cluster."""
        ours = self._config.cluster_id
        strange = peek.cluster and ours and peek.cluster != ours
        if strange or not self._config.mesh or len(self._given) >= GIVING_MAX:
            return []
        self._ordinal += 1
        since = peek.since if peek.life == self._life else 0
        question = ReadForPeer(peek.collection, since, peek.epoch, peek.cursor)
        asked = self._asks.ask(question, Purpose("give", peek.collection, self._ordinal))
        if asked:
            self._given[self._ordinal] = Given(Address(event.sender), peek.ordinal)
        return [*asked]

    # Answers from storage ----------------------------------------------------------------------------------------

    def answered(self, now: Now, purpose: Purpose, result: Result) -> list[Effect]:
        """Go on where the question was asked; what storage refused comes again by itself."""
        if purpose.what == "give":
            given = self._given.pop(purpose.ordinal)
            return self._give(purpose.collection, given, result) if isinstance(result, FeedSlice) else []
        if purpose.what == "peers":
            self._looking = False
            return self._look(now, result) if self._away and isinstance(result, Entries) else []
        source, glimpse = self._glimpses.pop(purpose.ordinal, (None, None))
        if source is None or glimpse is None or not isinstance(result, Position):
            return []
        return self._merged(now, source, glimpse, result)

    def _merged(self, now: Now, source: Source, glimpse: Glimpse, result: Position) -> list[Effect]:
        path = glimpse.collection
        if not result.applied:
            source.useless[path] = None  # it has seen too little, or too much else; another may do
            return []
        if source.life != glimpse.life or source.address not in self._sources:
            return []
        source.positions[path] = glimpse.next
        return [self._peek(now, source, path)] if glimpse.next < glimpse.head else []

    def _give(self, path: str, given: Given, piece: FeedSlice) -> list[Effect]:
        glimpse = Glimpse(
            ordinal=given.ordinal,
            collection=path,
            life=self._life,
            since=piece.since,
            entries=tuple(row.entry for row in piece.rows),
            acks=tuple(row.acked or 0 for row in piece.rows),
            next=piece.next,
            head=piece.head,
            epoch=piece.place.epoch,
            cursor=piece.place.cursor,
        )
        return [Send(given.target, glimpse)]
