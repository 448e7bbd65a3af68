"""TrioTimeline: the timeline of a real member, on Trio's clock.

Layer: actors.
"""

import heapq
import math
from collections.abc import Callable
from typing import NoReturn, final

import trio

from pivot.actors.timeline import Timer


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
