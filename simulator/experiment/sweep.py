"""Sweep: one experiment with two of its numbers varied: how long members take to become equal, in the same weather.

Layer: simulator/experiment. Every cell is played with the same seeds, and all chance is keyed by seed, link and
ordinal: cells differ in what was varied and in nothing else. Start at `sweep`.

How sure a quantile is, is read off the samples in their order (a binomial count of how many lie below it), without any
assumption about how they are distributed. With few samples a high quantile has no upper limit; `Quantile.open` says so.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from math import ceil, comb
from typing import Final, TypeAlias, final

import msgspec

from simulator.errors import BadPlanError
from simulator.experiment.plan import Plan
from simulator.experiment.world import play

CONFIDENCE: Final = 0.95
PLAYS_MAX: Final = 100_000
Making: TypeAlias = Callable[[float, float, int], Plan]
"""Makes the plan of a cell: (x, y, seed) -> plan; faults end when the plan's safety phase does."""


@final
class Axis(msgspec.Struct, frozen=True):
    """What is varied.

    Attributes:
        name: what it is, with its unit.
        values: in the order in which they are shown.
    """

    name: str
    values: tuple[float, ...]


@final
class Quantile(msgspec.Struct, frozen=True):
    """How long it took at most, in a share of the runs.

    Attributes:
        value_s: s.
        low_s: it is more than this with `CONFIDENCE`, s.
        high_s: it is less than this with `CONFIDENCE`, s; the greatest sample when `open`.
        open: whether there are too few samples for an upper limit.
    """

    value_s: float
    low_s: float
    high_s: float
    open: bool

    @staticmethod
    def of(samples: Sequence[float], share: float) -> "Quantile":
        """A quantile of samples, s; at least one."""
        ordered, count = sorted(samples), len(samples)
        below = [comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]  # P(k lie below)
        tail = (1 - CONFIDENCE) / 2
        low = next(k for k in range(count + 1) if sum(below[: k + 1]) > tail)
        high = next(k for k in range(count, -1, -1) if sum(below[k:]) > tail)
        value = ordered[min(count - 1, max(0, ceil(share * count) - 1))]
        return Quantile(value, ordered[max(0, low - 1)], ordered[min(count - 1, high)], high >= count)


@final
class Cell(msgspec.Struct, frozen=True):
    """One pair of values.

    Attributes:
        x: of the first axis.
        y: of the second axis.
        times_s: seed by seed, how long after the faults members became equal, s; None = not in time.
    """

    x: float
    y: float
    times_s: tuple[float | None, ...]

    @property
    def known_s(self) -> list[float]:
        """The times of those that became equal, s."""
        return [time_s for time_s in self.times_s if time_s is not None]


@final
class Sweep(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        x: the first axis.
        y: the second axis.
        seeds: every cell was played with these.
        cells: x by x, in each y by y.
        hash: over the hashes of all runs.
        worst: plan of the run that took longest.
    """

    x: Axis
    y: Axis
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    hash: str
    worst: Plan

    @property
    def late(self) -> int:
        """How many runs did not become equal in time."""
        return sum(time_s is None for cell in self.cells for time_s in cell.times_s)

    def cell(self, x: float, y: float) -> Cell:
        """The cell of two values of the axes."""
        return self.cells[self.x.values.index(x) * len(self.y.values) + self.y.values.index(y)]


def sweep(make: Making, *, x: Axis, y: Axis, seeds: Iterable[int]) -> Sweep:
    """Play every pair of values with every seed.

    Raises:
        BadPlanError: there is nothing to play, or too much, or a plan cannot be.
    """
    numbers = tuple(seeds)
    plays = len(x.values) * len(y.values) * len(numbers)
    if not 1 <= plays <= PLAYS_MAX:
        raise BadPlanError("sweep", f"has {plays} runs, allowed is 1 to {PLAYS_MAX}")
    rolling = blake2b(digest_size=16)
    cells: list[Cell] = []
    worst: tuple[float, Plan] | None = None
    for one in x.values:
        for other in y.values:
            times_s: list[float | None] = []
            for seed in numbers:
                plan = make(one, other, seed)
                outcome = play(plan)
                rolling.update(outcome.hash.encode())
                end_s = outcome.converged_s
                times_s.append(None if end_s is None else max(0.0, end_s - plan.safety_s))
                took_s = plan.liveness_s if end_s is None else end_s - plan.safety_s
                if worst is None or took_s > worst[0]:
                    worst = (took_s, plan)
            cells.append(Cell(one, other, tuple(times_s)))
    assert worst is not None, "at least one was played"
    return Sweep(x, y, numbers, tuple(cells), rolling.hexdigest(), worst[1])
