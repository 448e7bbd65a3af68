"""Chance and clocks of a simulated member: its `Entropy` and its `WallClock`, both functions of the seed and the plan.

Layer: simulator/world.
"""

from typing import Final, final

from simulator.world.heap import EventHeap
from simulator.world.rng import Stream

START_NS: Final = 1_700_000_000_000_000_000
"""Wall time at which every simulation starts, ns since the Unix epoch (14 November 2023)."""


FROZEN_PPM: Final = -1e6
"""Drift of a clock that stands still."""


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
    """A wall clock that is off, and goes too fast or too slow.

    Attributes:
        ppm: by how many millionths it goes too fast; negative = too slow, `FROZEN_PPM` = it stands still.
    """

    def __init__(self, heap: EventHeap) -> None:
        self.ppm = 0.0
        self._heap = heap
        self._offset_ns = 0
        self._since_ns = 0  # the drift before is in the offset

    def __call__(self) -> int:
        """The wall time it shows, ns since the Unix epoch."""
        return START_NS + self._heap.now_ns + (self.offset_ns if self.ppm else self._offset_ns)

    @property
    def offset_ns(self) -> int:
        """How far it is ahead of true time now."""
        return self._offset_ns + round((self._heap.now_ns - self._since_ns) * self.ppm / 1e6)

    @property
    def is_wrong(self) -> bool:
        """Whether it is not what it should be."""
        return self.ppm != 0 or self.offset_ns != 0

    def set_offset(self, offset_ns: int) -> None:
        """Set how far it is ahead of true time."""
        self._offset_ns, self._since_ns = offset_ns, self._heap.now_ns

    def set_drift(self, ppm: float) -> None:
        """Let it go faster or slower from now on."""
        self.set_offset(self.offset_ns)
        self.ppm = ppm

    def correct(self) -> None:
        """Let it show true time from now on."""
        self.ppm = 0.0
        self.set_offset(0)
