"""World: what the members of the harness live in, all of it by hand: time, disks, mailboxes and a bag of envelopes.

Nothing here decides anything. What a fake can see going wrong by itself it says at once, by raising `Violation`: a disk
sees a version go back and a promise that is not kept, the bag sees an envelope that its reader would refuse.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, final

from pivot.actors.timeline import Timer
from pivot.core.behaviour import Behaviour
from pivot.core.collection import Change, ClearAcks, PutRow, Row, SetCursor
from pivot.core.effects import Effect, Persist
from pivot.core.entry import Entry
from pivot.core.events import Event
from pivot.core.messages import Envelope
from pivot.errors import BadEnvelopeError
from pivot.transport.base import Receiver
from pivot.transport.codec import decode, encode
from pivot.types import NO_EPOCH, Epoch, Now, StoreId

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
            back = decode(line)
        except BadEnvelopeError as error:
            raise Violation(f"{envelope.sender} sends what {envelope.target} refuses: {error}") from error
        if back != envelope:
            raise Violation(f"{envelope} arrives as {back}")
        self.lines.append(line)
        del self.lines[:-BAG_MAX]


@final
class StoppedError(Exception):
    """The machine stopped at a commit or between two effects."""


@final
class Disk:
    """What one member keeps.

    Attributes:
        rows: key -> (collection, row).
        cursors: collection -> (epoch of the upstream, cursor).
        failing: how many of the next commits fail.
        dying: how the machine stops at its next commit: "before" or "after" it is kept; empty = it does not.
        on_kept: told of every version that is kept.
    """

    def __init__(self, store: StoreId, epoch: Epoch, on_kept: Callable[[Entry], None]) -> None:
        self.store = store
        self.epoch = epoch
        self.rows: dict[str, tuple[str, Row]] = {}
        self.cursors: dict[str, tuple[Epoch, int]] = {}
        self.failing = 0
        self.dying = ""
        self.on_kept = on_kept

    def commit(self, changes: Sequence[Change]) -> str | None:
        """Keep all or none; why not, when it fails."""
        if self.failing:
            self.failing -= 1
            return "disk full"
        if self.dying == "before":
            raise StoppedError
        for change in changes:
            self._keep(change)
        if self.dying == "after":
            raise StoppedError
        return None

    def _keep(self, change: Change) -> None:
        match change:
            case PutRow():
                key = change.row.entry.key
                old = self.rows.get(key)
                if old is not None and old[1].entry.version > change.row.entry.version:
                    raise Violation(f"{self.store} goes back from {old[1].entry} to {change.row.entry}")
                self.rows[key] = (change.collection, change.row)
                self.on_kept(change.row.entry)
            case SetCursor():
                self.cursors[change.collection] = (change.epoch, change.cursor)
            case ClearAcks():
                for key, (collection, row) in self.rows.items():
                    if collection == change.collection:
                        self.rows[key] = (collection, Row(row.entry, row.seq))

    def image(self) -> list[Change]:
        """What rebuilds the store, rows in ascending `seq`."""
        rows = [PutRow(collection, row) for collection, row in self.rows.values()]
        rows.sort(key=lambda change: change.row.seq)
        return [*rows, *(SetCursor(path, epoch, cursor) for path, (epoch, cursor) in self.cursors.items())]

    def table(self) -> dict[str, Entry]:
        """Key -> version, tombstones included."""
        return {key: row.entry for key, (_, row) in self.rows.items()}

    def place(self, collection: str) -> tuple[Epoch, int]:
        """Where we are in our upstream's feed."""
        return self.cursors.get(collection, (NO_EPOCH, 0))


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
