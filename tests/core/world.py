"""World: what the members of the harness live in, all of it by hand: time, disks, mailboxes and a bag of envelopes.

Nothing here decides anything. What a fake can see going wrong by itself it says at once, by raising `Violation`: a disk
sees a version go back and a promise that is not kept, the bag sees an envelope that its reader would refuse.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Final, Protocol, final

from pivot.actors.timeline import Timer
from pivot.core.behaviour import Behaviour
from pivot.core.clock import STAMP_MAX
from pivot.core.collection import Change, DropRow, Place, PutRow, Row
from pivot.core.effects import Effect, Persist
from pivot.core.entry import Entry
from pivot.core.events import Event
from pivot.core.messages import Envelope
from pivot.errors import BadEnvelopeError
from pivot.transport.base import Receiver
from pivot.transport.codec import decode, encode
from pivot.types import Epoch, Now, StoreId
from simulator.world.disk import Disk

read: Final = lru_cache(maxsize=1000)(decode)
"""What an envelope says; remembered, since most are read when they are sent and when they arrive."""
BAG_MAX: Final = 100
"""Most envelopes under way; above it the oldest is lost."""


class Violation(AssertionError):  # noqa: N818 - what happened, not an error of ours
    """The cluster broke a promise."""


@final
class _Call:
    """A call at an instant, which can be taken back."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


@final
class HandTimeline:
    """A timeline that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._heap: list[tuple[float, int, _Call]] = []
        self._number = 0

    def monotonic_s(self) -> float:
        """See `Timeline.monotonic_s`."""
        return self.now_s

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run it at once, as a real member does."""
        call()

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """See `Timeline.call_later`."""
        self._number += 1
        timer = _Call(call)
        heapq.heappush(self._heap, (self.now_s + delay_s, self._number, timer))
        return timer

    def advance(self, until_s: float) -> None:
        """Run what is due until an instant, in order."""
        while self._heap and self._heap[0][0] <= until_s:
            at_s, _, timer = heapq.heappop(self._heap)
            self.now_s = max(self.now_s, at_s)
            if timer.call is not None:
                timer.call()
        self.now_s = until_s


@final
class Steady:
    """Entropy without chance: every timer is as late as it may be."""

    def new_id(self) -> str:
        """Never wanted here."""
        raise NotImplementedError

    def uniform(self, least: float, most: float) -> float:
        """The most."""
        return most + 0.0 * least


@final
class Inbox:
    """What waits for one actor."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[Event] = deque()

    def offer(self, event: Event) -> bool:
        """Leave an event unless it is full."""
        if len(self.waiting) >= self.limit:
            return False
        self.put(event)
        return True

    def put(self, event: Event) -> None:
        """Leave something the actor itself has asked for."""
        self.waiting.append(event)

    def take(self) -> list[Event]:
        """Everything that waits."""
        batch = list(self.waiting)
        self.waiting.clear()
        return batch


@final
class Bag:
    """Envelopes under way, as bytes, oldest first."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def attach(self, receiver: Receiver) -> None:
        """Nobody is told anything; whoever drives the harness delivers by hand."""

    def send(self, envelope: Envelope) -> None:
        """Throw it in."""
        line = encode(envelope)
        try:
            back = read(line)
        except BadEnvelopeError as error:
            raise Violation(f"{envelope.sender} sends what {envelope.target} refuses: {error}") from error
        if back != envelope:
            raise Violation(f"{envelope} arrives as {back}")
        self.lines.append(line)
        del self.lines[:-BAG_MAX]


@final
class StoppedError(Exception):
    """The machine stopped at a commit or between two effects."""


class DiskWatcher(Protocol):
    """Who looks at all disks together."""

    def kept(self, store: StoreId, entry: Entry) -> None:
        """A store keeps a version."""
        ...

    def forgotten(self, store: StoreId, entry: Entry) -> None:
        """A store drops a version that users see."""
        ...

    def withdrawn(self, key: str) -> None:
        """A store has dropped or replaced what it had of a key, as it may."""
        ...


@final
class WatchedDisk:
    """What one member keeps, under watch.

    Attributes:
        kept: what is on it.
        failing: how many of the next commits fail.
        dying: how the machine stops at its next commit: "before" or "after" it is kept; empty = it does not.
        limit_ns: stamps above it are ahead of every clock, as its member sees it now.
        collected: key -> tombstone that was dropped for good, as its leader's disk.
        confirmed: (life of the upstream, key, stamp) of every version that it was known to hold.
    """

    def __init__(self, store: StoreId, watcher: DiskWatcher) -> None:
        self.kept = Disk(store=store, epoch=Epoch(f"{store}-begun"))
        self.failing = 0
        self.dying = ""
        self.limit_ns: Callable[[], int] = _no_limit
        self.collected: dict[str, Entry] = {}
        self.confirmed: dict[tuple[Epoch, str, int], None] = {}
        self._watcher = watcher

    def copy(self) -> "WatchedDisk":
        """A disk with the same on it."""
        copy = WatchedDisk(self.store, self._watcher)
        copy.kept = deepcopy(self.kept)
        copy.collected, copy.confirmed = dict(self.collected), dict(self.confirmed)
        return copy

    @property
    def store(self) -> StoreId:
        """Id of the store on it."""
        return self.kept.store

    @property
    def epoch(self) -> Epoch:
        """Its life."""
        return self.kept.epoch

    @property
    def rows(self) -> dict[str, tuple[str, Row]]:
        """Key -> (collection, row)."""
        return self.kept.rows

    def commit(self, changes: Sequence[Change]) -> str | None:
        """Keep all or none; why not, when it fails."""
        if self.failing:
            self.failing -= 1
            return "disk full"
        if self.dying == "before":
            raise StoppedError
        withdrawn: list[str] = []
        for change in changes:
            if isinstance(change, PutRow | DropRow):
                key = change.row.entry.key if isinstance(change, PutRow) else change.key
                old = self.rows.get(key)
                if isinstance(change, PutRow):
                    self._watch(old, change.row.entry, withdrawn)
                elif old is not None:
                    self._watch_drop(old[1], withdrawn)
        self.kept.keep(changes)
        for change in changes:
            if isinstance(change, PutRow) and change.row.acked is not None:
                entry = change.row.entry
                self.confirmed[self.place(change.collection).epoch, entry.key, entry.stamp] = None
        for key in withdrawn:
            self._watcher.withdrawn(key)
        if self.dying == "after":
            raise StoppedError
        return None

    def _watch(self, old: tuple[str, Row] | None, entry: Entry, withdrawn: list[str]) -> None:
        if old is not None and old[1].entry.version > entry.version:
            if old[1].entry.stamp <= self.limit_ns():
                raise Violation(f"{self.store} goes back from {old[1].entry} to {entry}")
            withdrawn.append(entry.key)  # it was ahead of every clock
        self._watcher.kept(self.store, entry)

    def _watch_drop(self, row: Row, withdrawn: list[str]) -> None:
        entry = row.entry
        if entry.stamp > self.limit_ns():
            withdrawn.append(entry.key)
        elif not entry.deleted:
            self._watcher.forgotten(self.store, entry)
            withdrawn.append(entry.key)
        elif row.acked is not None:
            withdrawn.append(entry.key)
        else:
            self.collected[entry.key] = entry

    def table(self) -> dict[str, Entry]:
        """Key -> version, tombstones included."""
        return {key: row.entry for key, (_, row) in self.rows.items()}

    def live(self) -> dict[str, Entry]:
        """Key -> version that users see."""
        return {key: entry for key, entry in self.table().items() if not entry.deleted}

    def place(self, collection: str) -> Place:
        """Where we are in our upstream's feed."""
        return self.kept.places.get(collection, Place())

    def floor(self, collection: str) -> int:
        """Up to where our own tombstones were collected."""
        return self.kept.retention(collection).floor


@final
class Ordered:
    """A behaviour under watch: whatever it persists comes before anything it tells anyone."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def step(self, now: Now, event: Event) -> list[Effect]:
        """See `Behaviour.step`."""
        effects = self._behaviour.step(now, event)
        told = False
        for effect in effects:
            if told and isinstance(effect, Persist):
                raise Violation(f"{type(event).__name__} tells before it persists: {effects}")
            told = told or not isinstance(effect, Persist)
        return effects


def _no_limit() -> int:
    return STAMP_MAX
