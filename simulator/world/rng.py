"""Keyed randomness: the one place in the simulator where chance comes from.

Layer: simulator/world. Start at `Streams.stream`.

Each draw is a function of (seed, names of the stream, ordinal) and of nothing else. So a draw more or less in one
stream leaves all other streams alone: the same weather falls on another configuration, and shrinking a plan does not
roll all dice anew. A stream's key is blake2b over seed and names; a draw is splitmix64 (Steele, Lea, Flood: Fast
splittable pseudorandom number generators, OOPSLA 2014) of key and ordinal. Everything but `shuffle` costs exactly one
ordinal, whatever its arguments. `unit_at` and `bits_at` reach any ordinal without moving the stream.
"""

from collections.abc import MutableSequence, Sequence
from hashlib import blake2b
from math import exp, log1p
from statistics import NormalDist
from typing import Final, TypeAlias, TypeVar, final

T = TypeVar("T")
Name: TypeAlias = str | int
"""One part of a stream's name; "1" and 1 are different names."""

_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
_UNIT: Final = 2.0**-53
_NORMAL: Final = NormalDist()


@final
class Stream:
    """One stream of draws.

    Attributes:
        ordinal: number of the next draw.
    """

    __slots__ = ("_key", "ordinal")

    def __init__(self, key: int) -> None:
        self._key = key
        self.ordinal = 0

    def bits_at(self, ordinal: int) -> int:
        """Return the 64 bits of draw `ordinal`, without moving the stream."""
        mixed = (self._key + (ordinal + 1) * _GOLDEN) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
        return mixed ^ (mixed >> 31)

    def unit_at(self, ordinal: int) -> float:
        """Return draw `ordinal` as a number in [0, 1), without moving the stream."""
        return (self.bits_at(ordinal) >> 11) * _UNIT

    def bits(self, n: int = 64) -> int:
        """Draw `n` random bits, 1 to 64 of them."""
        assert 1 <= n <= 64, f"{n} bits asked for, 1 to 64 make one draw"
        ordinal = self.ordinal
        self.ordinal = ordinal + 1
        return self.bits_at(ordinal) >> (64 - n)

    def unit(self) -> float:
        """Draw from [0, 1)."""
        return self.bits(53) * _UNIT

    def uniform(self, lo: float, hi: float) -> float:
        """Draw from [lo, hi)."""
        return lo + (hi - lo) * self.unit()

    def chance(self, p: float) -> bool:
        """Draw True with probability `p`; 0 is never, 1 is always."""
        if p <= 0.0:  # it costs its ordinal all the same
            self.ordinal += 1
            return False
        return self.unit() < p

    def below(self, n: int) -> int:
        """Draw an integer from 0 to n - 1 (uneven by at most n / 2**64: one draw matters more here)."""
        assert n > 0, f"nothing lies below {n}"
        return (self.bits() * n) >> 64

    def choice(self, items: Sequence[T]) -> T:
        """Draw one of `items`, which must not be empty."""
        return items[self.below(len(items))]

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Put `items` into random order, in place; costs one draw for each item but the first."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def exponential(self, mean: float) -> float:
        """Draw a waiting time with this mean."""
        return exponential_quantile(self.unit(), mean)

    def normal(self, mu: float, sigma: float) -> float:
        """Draw from the normal distribution with mean `mu` and standard deviation `sigma`."""
        return normal_quantile(self.unit(), mu, sigma)

    def lognormal(self, mu: float, sigma: float) -> float:
        """Draw what has a logarithm with mean `mu` and standard deviation `sigma`; the median is e**mu."""
        return exp(normal_quantile(self.unit(), mu, sigma))

    def pareto(self, alpha: float, minimum: float = 1.0) -> float:
        """Draw from the Pareto distribution: at least `minimum`, the smaller `alpha` the heavier the tail."""
        return pareto_quantile(self.unit(), alpha, minimum)

    def fork(self, *names: Name) -> "Stream":
        """Return the stream of these names below this one, from its start; this one does not move."""
        return Stream(_key(self._key, names))


@final
class Streams:
    """All streams of one seed."""

    __slots__ = ("seed",)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, *names: Name) -> Stream:
        """Return the stream of these names, from its start: keep it, for asking again repeats the same draws."""
        return Stream(_key(self.seed, names))


def exponential_quantile(unit: float, mean: float) -> float:
    """Map `unit` in [0, 1) to the exponential distribution; monotonic, so more `unit` is more waiting."""
    return -mean * log1p(-unit)


def normal_quantile(unit: float, mu: float, sigma: float) -> float:
    """Map `unit` in [0, 1) to the normal distribution; monotonic."""
    # Half a step up: a quantile at exactly 0 would be minus infinity.
    return mu + sigma * _NORMAL.inv_cdf(unit * (1 - _UNIT) + _UNIT / 2)


def correlated(unit: float, before: float, correlation: float) -> float:
    """A number in [0, 1) as evenly spread as `unit`, and so much alike the one before (0 = not at all, 1 = the same).

    A Gaussian copula: both are taken to the normal distribution, where a weighted sum is again normal.
    """
    step = normal_quantile(unit, 0.0, 1.0) * (1.0 - correlation * correlation) ** 0.5
    return min(_NORMAL.cdf(correlation * normal_quantile(before, 0.0, 1.0) + step), 1.0 - _UNIT)


def pareto_quantile(unit: float, alpha: float, minimum: float) -> float:
    """Map `unit` in [0, 1) to the Pareto distribution; monotonic."""
    return float(minimum * (1 - unit) ** (-1 / alpha))


def _key(root: int, names: tuple[Name, ...]) -> int:
    """Hash seed (or parent's key) and names into 64 bits; each part with its type and length, so none run together."""
    parts = [f"{type(part).__name__}:{len(str(part))}:{part};" for part in (root, *names)]
    return int.from_bytes(blake2b("".join(parts).encode(), digest_size=8, person=b"pivot-sim").digest(), "little")
