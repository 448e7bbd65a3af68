from statistics import fmean, median

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import BadConditionsError
from simulator.world.latency import (
    LATENCY_S_MAX,
    ConstantLatency,
    ExponentialLatency,
    Latency,
    LogNormalLatency,
    NormalLatency,
    ParetoLatency,
    UniformLatency,
)
from simulator.world.link import Conditions, Deliver, Dropped, Fate, Link
from simulator.world.rng import Streams

MODELS: list[Latency] = [
    ConstantLatency(base_s=0.02),
    UniformLatency(base_s=0.01, spread_s=0.05),
    ExponentialLatency(base_s=0.01, mean_s=0.02),
    NormalLatency(base_s=0.01, mean_s=0.02, sigma_s=0.01),
    LogNormalLatency(base_s=0.01, median_s=0.02, sigma=1.0),
    ParetoLatency(base_s=0.01, scale_s=0.01, alpha=1.5),
]


def link(conditions: Conditions, seed: int = 1) -> Link:
    return Link("a", "b", conditions, Streams(seed).stream("link", "a", "b"))


def fates(conditions: Conditions, number: int = 2_000) -> list[Fate]:
    asked = link(conditions)
    return [asked.fate(0) for _ in range(number)]


def test_a_constant_latency_is_exact() -> None:
    assert link(Conditions(latency=ConstantLatency(base_s=0.02))).fate(5) == Deliver(20_000_005)


@pytest.mark.parametrize("model", MODELS)
def test_no_message_is_faster_than_the_base(model: Latency) -> None:
    times = [fate.at_ns for fate in fates(Conditions(latency=model)) if isinstance(fate, Deliver)]
    assert len(times) == 2_000
    assert min(times) >= model.base_s * 1e9


@pytest.mark.parametrize("model", MODELS)
@given(units=st.lists(st.floats(0, 1 - 2**-53), min_size=2, max_size=2))
def test_a_larger_draw_is_never_a_faster_message(model: Latency, units: list[float]) -> None:
    low, high = sorted(units)
    assert model.sample_ns(low) <= model.sample_ns(high) <= LATENCY_S_MAX * 1e9


def test_jitter_has_the_size_it_is_asked_for() -> None:
    def jitter_ms(model: Latency) -> list[float]:
        sampled = fates(Conditions(latency=model), 20_000)
        return [fate.at_ns / 1e6 - 10 for fate in sampled if isinstance(fate, Deliver)]

    assert fmean(jitter_ms(MODELS[1])) == pytest.approx(25, rel=0.03)
    assert fmean(jitter_ms(MODELS[2])) == pytest.approx(20, rel=0.03)
    assert fmean(jitter_ms(MODELS[3])) == pytest.approx(20, rel=0.03)
    assert median(jitter_ms(MODELS[4])) == pytest.approx(20, rel=0.03)
    assert fmean(jitter_ms(MODELS[5])) == pytest.approx(30, rel=0.1)


def test_wild_tails_end_at_the_longest_latency() -> None:
    wild: list[Latency] = [
        ParetoLatency(scale_s=1, alpha=0.1),
        LogNormalLatency(median_s=1, sigma=1000),
        ExponentialLatency(mean_s=LATENCY_S_MAX),
    ]
    for model in wild:
        assert model.sample_ns(1 - 2**-53) == LATENCY_S_MAX * 1e9


def test_jitter_reorders_messages_that_follow_each_other_closely() -> None:
    jittery = link(Conditions(latency=UniformLatency(spread_s=0.05)))
    times = [fate.at_ns for fate in (jittery.fate(now_ns) for now_ns in range(50)) if isinstance(fate, Deliver)]
    assert times != sorted(times)


def test_loss_and_duplication_happen_as_often_as_they_should() -> None:
    sampled = fates(Conditions(loss=0.2, duplication=0.5), 20_000)
    delivered = [fate for fate in sampled if isinstance(fate, Deliver)]
    assert len(delivered) == pytest.approx(16_000, rel=0.02)
    assert sum(len(fate.copies_at_ns) for fate in delivered) == pytest.approx(8_000, rel=0.04)
    assert set(fates(Conditions(loss=1.0))) == {Dropped("loss")}


def test_one_kind_of_weather_does_not_change_another() -> None:
    latency = UniformLatency(spread_s=0.05)
    dry = fates(Conditions(latency=latency))
    wet = fates(Conditions(latency=latency, loss=0.3))
    doubled = fates(Conditions(latency=latency, duplication=0.3))
    assert all(then == now for then, now in zip(dry, wet, strict=True) if isinstance(now, Deliver))
    assert [fate.at_ns for fate in doubled if isinstance(fate, Deliver)] == [
        fate.at_ns for fate in dry if isinstance(fate, Deliver)
    ]
    wetter = fates(Conditions(latency=latency, loss=0.6))
    assert all(isinstance(later, Dropped) for now, later in zip(wet, wetter, strict=True) if isinstance(now, Dropped))


def test_a_cut_takes_only_its_own_messages_and_leaves_later_weather_alone() -> None:
    conditions = Conditions(latency=UniformLatency(spread_s=0.05), loss=0.3)
    asked = link(conditions)
    with_cut: list[Fate] = []
    for number in range(100):
        if number == 10:
            asked.cut("partition")
        if number == 30:
            asked.heal("partition")
        with_cut.append(asked.fate(0))
    without = fates(conditions, 100)
    assert with_cut[10:30] == [Dropped("cut")] * 20
    assert (with_cut[:10], with_cut[30:]) == (without[:10], without[30:])


def test_conditions_may_change_while_the_link_lives() -> None:
    changed = link(Conditions())
    changed.fate(0)
    changed.conditions = Conditions(latency=UniformLatency(spread_s=0.05))
    assert changed.fate(0) == fates(changed.conditions, 2)[1]


def test_overlapping_cuts_heal_individually() -> None:
    one = link(Conditions())
    one.cut("partition")
    one.cut("isolate")
    one.cut("isolate")
    assert one.causes == ("partition", "isolate")
    one.heal("partition")
    one.heal("partition")
    one.heal("isolate")
    assert one.is_cut
    one.heal("isolate")
    assert not one.is_cut


def test_conditions_are_plain_data() -> None:
    for model in MODELS:
        conditions = Conditions(latency=model, loss=0.1)
        assert msgspec.json.decode(msgspec.json.encode(conditions), type=Conditions) == conditions
    assert b'"type":"uniform"' in msgspec.json.encode(MODELS[1])


def test_conditions_that_cannot_be_are_refused_with_their_limits() -> None:
    with pytest.raises(BadConditionsError, match=r"loss is 1\.5, allowed: 0 to 1"):
        Conditions(loss=1.5)
    with pytest.raises(BadConditionsError, match=r"UniformLatency\.spread_s is -1, allowed: 0 to 3600"):
        UniformLatency(spread_s=-1)
    with pytest.raises(BadConditionsError, match=r"ParetoLatency\.alpha is 0\.01, allowed: 0\.1 to 3600"):
        ParetoLatency(scale_s=1, alpha=0.01)
    with pytest.raises(BadConditionsError, match="duplication is nan"):
        Conditions(duplication=float("nan"))
    with pytest.raises(msgspec.ValidationError, match="alpha"):
        msgspec.json.decode(b'{"type":"pareto","scale_s":1,"alpha":-1}', type=Latency)
