"""Latencies: how long a message needs, as small values that a plan can hold.

Layer: simulator/world. Start at `Latency`.

Every model is a base plus a jitter, and maps one draw in [0, 1) to a time by its quantile function: one draw for each
message whatever the model, and a larger draw is a later message under all of them. A new model is one more struct.
"""

from itertools import pairwise
from math import exp
from typing import Final, TypeAlias, final

import msgspec

from simulator.errors import BadConditionsError
from simulator.world.rng import exponential_quantile, normal_quantile, pareto_quantile

LATENCY_S_MAX: Final = 3600.0
"""Where heavy tails end, so that no message flies for years; also the bound of every number below."""
_LIMITS: Final = {"alpha": (0.1, LATENCY_S_MAX), "far": (0.0, 1.0)}
"""Of what is no time."""
_SAMPLES_MAX: Final = 10_000
_EXPONENT_MAX: Final = 700.0


class _LatencyModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the models share.

    Attributes:
        base_s: shortest time a message needs.
    """

    base_s: float = 0.01

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: float | tuple[float, ...] = getattr(self, name)
            least, most = _LIMITS.get(name, (0.0, LATENCY_S_MAX))
            for each in value if isinstance(value, tuple) else (value,):
                if not least <= each <= most:
                    raise BadConditionsError(f"{type(self).__name__}.{name}", each, f"{least:g} to {most:g}")

    def jitter_s(self, unit: float) -> float:
        """Map the draw to the time beyond `base_s`."""
        raise NotImplementedError

    def sample_ns(self, unit: float) -> int:
        """Map the draw to the time a message needs, at most `LATENCY_S_MAX`."""
        return round(min(self.base_s + self.jitter_s(unit), LATENCY_S_MAX) * 1e9)


@final
class ConstantLatency(_LatencyModel, frozen=True, tag="constant"):
    """Always `base_s`."""

    def jitter_s(self, unit: float) -> float:
        """No jitter."""
        return 0.0


@final
class UniformLatency(_LatencyModel, frozen=True, kw_only=True, tag="uniform"):
    """Up to `spread_s` more, every time as likely."""

    spread_s: float

    def jitter_s(self, unit: float) -> float:
        """Uniform jitter."""
        return self.spread_s * unit


@final
class ExponentialLatency(_LatencyModel, frozen=True, kw_only=True, tag="exponential"):
    """`mean_s` more on average, without memory."""

    mean_s: float

    def jitter_s(self, unit: float) -> float:
        """Exponential jitter."""
        return exponential_quantile(unit, self.mean_s)


@final
class NormalLatency(_LatencyModel, frozen=True, kw_only=True, tag="normal"):
    """`mean_s` more on average, give or take `sigma_s`; never less than `base_s`."""

    mean_s: float
    sigma_s: float

    def jitter_s(self, unit: float) -> float:
        """Normal jitter, cut off at 0."""
        return max(normal_quantile(unit, self.mean_s, self.sigma_s), 0.0)


@final
class LogNormalLatency(_LatencyModel, frozen=True, kw_only=True, tag="lognormal"):
    """`median_s` more in the median; `sigma` is the spread of the logarithm (0.5 is mild, 2 is wild)."""

    median_s: float
    sigma: float

    def jitter_s(self, unit: float) -> float:
        """Lognormal jitter."""
        # Bounded before `exp`, which would overflow on a wild tail.
        return self.median_s * exp(min(normal_quantile(unit, 0.0, self.sigma), _EXPONENT_MAX))


@final
class ParetoLatency(_LatencyModel, frozen=True, kw_only=True, tag="pareto"):
    """At least `scale_s` more, with a heavy tail: the smaller `alpha` (at least 0.1), the heavier."""

    scale_s: float
    alpha: float

    def jitter_s(self, unit: float) -> float:
        """Pareto jitter."""
        return pareto_quantile(unit, self.alpha, self.scale_s)


@final
class BimodalLatency(_LatencyModel, frozen=True, kw_only=True, tag="bimodal"):
    """Two ways: mostly `base_s`; with probability `far` the other one, `far_s` more."""

    far_s: float
    far: float

    def jitter_s(self, unit: float) -> float:
        """None or all of it."""
        return self.far_s if unit >= 1.0 - self.far else 0.0


@final
class EmpiricalLatency(_LatencyModel, frozen=True, kw_only=True, tag="empirical"):
    """What was measured: `samples_s` in ascending order, with straight lines between them."""

    samples_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse times that cannot be, none, too many, and those out of order.

        Raises:
            BadConditionsError: names the number.
        """
        super().__post_init__()
        if not 1 <= len(self.samples_s) <= _SAMPLES_MAX:
            raise BadConditionsError("number of samples_s", len(self.samples_s), f"1 to {_SAMPLES_MAX}")
        for before, after in pairwise(self.samples_s):
            if after < before:
                raise BadConditionsError("a later one of samples_s", after, f"at least {before:g}, the one before")

    def jitter_s(self, unit: float) -> float:
        """The quantile of the samples."""
        place = unit * (len(self.samples_s) - 1)
        below = self.samples_s[int(place)]
        above = self.samples_s[min(int(place) + 1, len(self.samples_s) - 1)]
        return below + (above - below) * (place - int(place))


Latency: TypeAlias = (
    ConstantLatency
    | UniformLatency
    | ExponentialLatency
    | NormalLatency
    | LogNormalLatency
    | ParetoLatency
    | BimodalLatency
    | EmpiricalLatency
)
"""Any model; msgspec tells them apart by their tag."""
