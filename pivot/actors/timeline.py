"""Timeline: the one ordering point through which everything reaches a mailbox, and the only way to wait.

Layer: actors. On a real member a timeline is Trio's clock (`TrioTimeline`); in the simulator it is one heap ordered by
(time, sequence), so that the same deliveries happen in the same order in every run.
"""

import heapq
import math
from collections.abc import Callable
from typing import NoReturn, Protocol, final

import trio


class Timer(Protocol):
    """A call that was scheduled and can be taken back."""

    def cancel(self) -> None:
        """Make the call not happen; does nothing when it already did."""
        ...


class Timeline(Protocol):
    """Runs calls one after another, each at its time; calls of equal time in the order they were scheduled."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never steps back."""
        ...

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run `call` now or at the next turn, after everything scheduled earlier for this instant."""
        ...

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Run `call` once, `delay_s` seconds from now (negative counts as 0)."""
        ...


@final
class _Call:
    """One entry of the heap."""

    __slots__ = ("at_s", "call", "number")

    def __init__(self, at_s: float, number: int, call: Callable[[], None]) -> None:
        self.at_s = at_s
        self.number = number
        self.call: Callable[[], None] | None = call

    def __lt__(self, other: "_Call") -> bool:
        return (self.at_s, self.number) < (other.at_s, other.number)

    def cancel(self) -> None:
        self.call = None


@final
class TrioTimeline:
    """A timeline on Trio's clock. Timers run while `run` runs."""

    def __init__(self) -> None:
        self._heap: list[_Call] = []
        self._number = 0
        self._earlier = trio.Event()

    def monotonic_s(self) -> float:
        """Trio's time, s."""
        return trio.current_time()

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run `call` at once: on a real member the order of arrival is the order."""
        call()

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """See `Timeline.call_later`."""
        self._number += 1
        timer = _Call(trio.current_time() + max(0.0, delay_s), self._number, call)
        heapq.heappush(self._heap, timer)
        if self._heap[0] is timer:
            self._earlier.set()
        return timer

    async def run(self) -> NoReturn:
        """Run the calls that are due, for ever."""
        while True:
            self._earlier = trio.Event()
            with trio.move_on_at(self._heap[0].at_s if self._heap else math.inf):
                await self._earlier.wait()
            while self._heap and (self._heap[0].call is None or self._heap[0].at_s <= trio.current_time()):
                call = heapq.heappop(self._heap).call
                if call is not None:
                    call()
