"""Chance and clocks of a simulated member: its `Entropy` and its `WallClock`, both functions of the seed and the plan.

Layer: simulator/world.
"""

from typing import Final, final

from simulator.world.heap import EventHeap
from simulator.world.rng import Stream

START_NS: Final = 1_700_000_000_000_000_000
"""Wall time at which every simulation starts, ns since the Unix epoch (14 November 2023)."""


@final
class SimulatedEntropy:
    """Chance from one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def new_id(self) -> str:
        """See `Entropy.new_id`."""
        return format(self._stream.bits(), "016x")

    def uniform(self, least: float, most: float) -> float:
        """See `Entropy.uniform`."""
        return self._stream.uniform(least, most)


@final
class SkewedClock:
    """A wall clock that is off by a settable amount.

    Attributes:
        offset_ns: how far it is ahead of true time.
    """

    def __init__(self, heap: EventHeap) -> None:
        self.offset_ns = 0
        self._heap = heap

    def __call__(self) -> int:
        """The wall time it shows, ns since the Unix epoch."""
        return START_NS + self._heap.now_ns + self.offset_ns
