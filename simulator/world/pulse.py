"""Pulse: whether a member's process runs, slowly or not, or is stopped (SIGSTOP), and the timeline it lives on.

Layer: simulator/world. Whatever would happen to a stopped process (a message, a timer, the end of a commit) is held and
happens, in the order in which it came, when the process goes on. Its clocks go on meanwhile.
Start at `Pulse.deliver`.
"""

from collections.abc import Callable
from functools import partial
from typing import final

from simulator.world.heap import EventHeap


@final
class Pulse:
    """The life of one process; a `pivot.actors.timeline.Timeline`.

    Attributes:
        stops: how often it was stopped, or began to be slow.
        stopped: whether it is stopped now.
        ended: whether it is dead.
        held: how much was held back so far.
        slowed: how much happened late because the processor is slow.
    """

    def __init__(self, heap: EventHeap) -> None:
        self.stops = 0
        self.held = 0
        self.slowed = 0
        self._heap = heap
        self._burden_ns = 0
        self._busy_until_ns = 0
        self.stopped = False
        self.ended = False
        self._waiting: list[Callable[[], None]] = []

    @property
    def burdened(self) -> bool:
        """Whether its processor is slow, or still has to do what came while it was."""
        return self._burden_ns > 0 or self._busy_until_ns > self._heap.now_ns

    def burden(self, burden_ns: int) -> None:
        """Let everything that happens to it take so much longer, ns; one thing after another."""
        self.stops += burden_ns > 0
        self._burden_ns = burden_ns

    def stop(self) -> None:
        """Let nothing happen to it until it goes on."""
        self.stops += not self.stopped
        self.stopped = True

    def go_on(self) -> None:
        """Let everything happen that was held, each as an event of its own."""
        self.stopped = False
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._heap.call_soon(partial(self.deliver, call))

    def end(self) -> None:
        """The process is dead: nothing happens to it any more."""
        self.ended = True
        self._waiting.clear()

    def deliver(self, call: Callable[[], None]) -> None:
        """Let something happen to it now, or when it goes on."""
        if self.ended:
            return
        if self.stopped:
            self.held += 1
            self._waiting.append(call)
        elif (self._burden_ns or self._busy_until_ns) and self.burdened:  # most processors never are
            self.slowed += 1
            self._busy_until_ns = max(self._busy_until_ns, self._heap.now_ns) + self._burden_ns
            self._heap.post_at(self._busy_until_ns, partial(self._worked, call))
        else:
            call()

    def _worked(self, call: Callable[[], None]) -> None:
        """The slow processor has come to it."""
        if self.stopped:
            self._waiting.append(call)
        elif not self.ended:
            call()

    # Timeline ----------------------------------------------------------------------------------------------------

    def monotonic_s(self) -> float:
        """See `Timeline.monotonic_s`."""
        return self._heap.now_ns / 1e9

    def call_soon(self, call: Callable[[], None]) -> None:
        """See `Timeline.call_soon`."""
        self._heap.call_soon(partial(self.deliver, call))

    def call_later(self, delay_s: float, call: Callable[[], None]) -> "PulseTimer":
        """See `Timeline.call_later`."""
        return PulseTimer(self, self._heap, delay_s, call)


@final
class PulseTimer:
    """A call that was scheduled for a process and can be taken back, also while it is held."""

    __slots__ = ("_call", "_pulse", "_timer")

    def __init__(self, pulse: Pulse, heap: EventHeap, delay_s: float, call: Callable[[], None]) -> None:
        self._pulse = pulse
        self._call: Callable[[], None] | None = call
        self._timer = heap.call_later(delay_s, self._due)

    def cancel(self) -> None:
        """See `Timer.cancel`."""
        self._call = None
        self._timer.cancel()

    def _due(self) -> None:
        self._pulse.deliver(self._fire)

    def _fire(self) -> None:
        if self._call is not None:
            self._call()
