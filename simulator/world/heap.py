"""The one heap of a simulated world: everything that happens, ordered by (time, sequence).

Layer: simulator/world (Trio-free; both runtimes drive it). Start at `EventHeap.run_next`.

Sequence is the order of scheduling, so calls of equal time run in the order they were scheduled, in every run. A
cancelled timer stays in the heap as a dead entry until it surfaces; when more than half are dead, they are swept.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias, final

import msgspec

from simulator.errors import TooManyEventsError

AT_ONE_INSTANT_MAX: Final = 1_000_000
"""Default limit of calls at one instant: whatever makes more of them makes them for ever."""
_SWEEP_ENTRIES_MIN: Final = 64
"""Smaller heaps are not worth sweeping."""
_NEVER: Final = 2**63


@final
class HeapStatistics(msgspec.Struct, frozen=True, gc=False):
    """What the heap holds and did.

    Attributes:
        now_ns: virtual time.
        pending: calls that will run.
        dead: cancelled ones not yet swept.
        executed: calls that ran.
    """

    now_ns: int
    pending: int
    dead: int
    executed: int


@final
class HeapTimer:
    """A scheduled call that can be taken back; `EventHeap.call_at` and `call_later` return it."""

    __slots__ = ("_heap", "pending")

    def __init__(self, heap: "EventHeap") -> None:
        self._heap = heap
        self.pending = True
        """Whether the call will still run. Read only: set by the heap."""

    def cancel(self) -> None:
        """Make the call not happen; does nothing when it already did or was cancelled."""
        if self.pending:
            self.pending = False
            self._heap.note_dead()


_Entry: TypeAlias = tuple[int, int, Callable[[], None], HeapTimer | None]


@final
class EventHeap:
    """Virtual time and all that is scheduled in it; a `pivot.actors.timeline.Timeline`.

    Attributes (read only for others):
        now_ns: virtual time in ns, 0 at the start; moves only in `run_next` and `advance_to`.
        executed: how many calls ran so far.
    """

    __slots__ = (
        "_at_once_max", "_dead", "_entries", "_interrupt_at", "_interruption", "_look_at", "_looked_at", "_looked_ns",
        "_sequence", "executed", "now_ns",
    )  # fmt: skip

    def __init__(self, *, at_once_max: int = AT_ONE_INSTANT_MAX) -> None:
        """Begin at 0 with nothing scheduled.

        Args:
            at_once_max: limit of calls at one instant; a run in which time stands still ends with an error instead.
        """
        self.now_ns = 0
        self.executed = 0
        self._entries: list[_Entry] = []
        self._sequence = 0
        self._dead = 0
        self._at_once_max = at_once_max
        self._looked_ns = -1  # where time was when we last looked whether it stands still
        self._looked_at = 0
        self._interrupt_at = _NEVER
        self._interruption: Callable[[], None] | None = None
        self._look_at = 0  # when `executed` gets there, there is something to do before the next call

    def __len__(self) -> int:
        """Calls that will run."""
        return len(self._entries) - self._dead

    def monotonic_s(self) -> float:
        """Virtual time in seconds."""
        return self.now_ns / 1e9

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run `call` at this instant, after everything scheduled earlier for it."""
        self._sequence = sequence = self._sequence + 1
        heappush(self._entries, (self.now_ns, sequence, call, None))

    def post_at(self, time_ns: int, call: Callable[[], None]) -> None:
        """Run `call` at `time_ns` (a past time counts as now). Cannot be taken back, hence cheaper than `call_at`."""
        self._sequence = sequence = self._sequence + 1
        now_ns = self.now_ns
        heappush(self._entries, (time_ns if time_ns > now_ns else now_ns, sequence, call, None))

    def call_at(self, time_ns: int, call: Callable[[], None]) -> HeapTimer:
        """Run `call` once at `time_ns` (a past time counts as now)."""
        self._sequence = sequence = self._sequence + 1
        timer = HeapTimer(self)
        heappush(self._entries, (max(time_ns, self.now_ns), sequence, call, timer))
        return timer

    def call_later(self, delay_s: float, call: Callable[[], None]) -> HeapTimer:
        """Run `call` once, `delay_s` seconds from now, rounded to ns (negative counts as 0)."""
        return self.call_at(self.now_ns + round(delay_s * 1e9), call)

    def next_time_ns(self) -> int | None:
        """When the next call runs; None when nothing is scheduled."""
        entries = self._entries
        while entries:
            time_ns, _, _, timer = entries[0]
            if timer is None or timer.pending:
                return time_ns
            heappop(entries)
            self._dead -= 1
        return None

    def run_next(self) -> bool:
        """Move to the time of the next call and run it, or do what `interrupt` said; False when nothing is scheduled.

        What the call raises passes through; the call counts as executed.

        Raises:
            TooManyEventsError: time stands still.
        """
        if self.executed == self._look_at and self._look():
            return True
        entries = self._entries
        while entries:
            time_ns, _, call, timer = heappop(entries)
            if timer is not None:
                if not timer.pending:
                    self._dead -= 1
                    continue
                timer.pending = False
            self.now_ns = time_ns
            self.executed += 1
            call()
            return True
        return False

    def interrupt(self, executed: int, call: Callable[[], None]) -> None:
        """Run `call` between two others, as soon as this many have run; it is no event. It replaces one such before."""
        self._interrupt_at, self._interruption = max(executed, self.executed), call
        self._look_at = min(self._interrupt_at, self._looked_at + self._at_once_max)

    def next_call(self) -> Callable[[], None] | None:
        """What runs next; None when nothing is scheduled."""
        return None if self.next_time_ns() is None else self._entries[0][2]

    def take_next(self) -> None:
        """Let what would run next not happen."""
        taken = self.next_time_ns()
        assert taken is not None, "there is a next call"
        timer = heappop(self._entries)[3]
        if timer is not None:
            timer.pending = False

    def postpone_next(self, by_ns: int) -> None:
        """Let what would run next run so much later, after everything scheduled for then so far."""
        assert self.next_time_ns() is not None, "there is a next call"
        time_ns, _, call, timer = heappop(self._entries)
        self._sequence = sequence = self._sequence + 1
        heappush(self._entries, (time_ns + by_ns, sequence, call, timer))

    def pending(self) -> list[tuple[int, Callable[[], None]]]:
        """Time and call of all that will run, in order."""
        return [
            (entry[0], entry[2]) for entry in sorted(self._entries, key=_place) if entry[3] is None or entry[3].pending
        ]

    def _look(self) -> bool:
        """See to what is due between two calls; whether anything was done."""
        if self.executed == self._interrupt_at:
            call, self._interruption, self._interrupt_at = self._interruption, None, _NEVER
            self._look_at = max(self._looked_at + self._at_once_max, self.executed)
            if call is not None:
                call()
                return True
        stood_still = self.now_ns == self._looked_ns
        self._looked_ns, self._looked_at = self.now_ns, self.executed
        self._look_at = min(self._interrupt_at, self.executed + self._at_once_max)
        if stood_still:
            raise TooManyEventsError("events at one instant", limit=self._at_once_max, time_ns=self.now_ns)
        return False

    def advance_to(self, time_ns: int) -> None:
        """Let time pass without running anything, for a runtime that has deadlines of its own.

        An earlier time than now does nothing; passing over a scheduled call is our bug.
        """
        next_ns = self.next_time_ns()
        assert next_ns is None or time_ns <= next_ns, f"{time_ns} ns would pass over the call at {next_ns} ns"
        self.now_ns = max(time_ns, self.now_ns)

    def statistics(self) -> HeapStatistics:
        """Return what the heap holds and did."""
        return HeapStatistics(self.now_ns, len(self), self._dead, self.executed)

    def note_dead(self) -> None:
        """Count one more dead entry (timers call this) and sweep when more than half are."""
        self._dead += 1
        entries = self._entries
        if self._dead * 2 > len(entries) >= _SWEEP_ENTRIES_MIN:
            # In place, and a heap of unique (time, sequence) pairs has one order however it was built.
            entries[:] = [entry for entry in entries if entry[3] is None or entry[3].pending]
            heapify(entries)
            self._dead = 0


def _place(entry: _Entry) -> tuple[int, int]:
    return entry[:2]
