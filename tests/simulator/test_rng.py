from collections import Counter
from collections.abc import Callable
from math import e, log, sqrt
from statistics import fmean, median, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.world.rng import Name, Stream, Streams, exponential_quantile, normal_quantile, pareto_quantile

KNOWN_BITS = ["bb02121ab8c0aad4", "f2c9f6bfec98954f", "99d9df7e0b96ce82", "e7bd86a235c45278"]
KNOWN_UNIT = 0.7305003466833592
KNOWN_FORK = 14864082293392468684

names = st.lists(st.one_of(st.text(max_size=8), st.integers()), max_size=4)


def draws(stream: Stream, number: int = 20) -> list[int]:
    return [stream.bits() for _ in range(number)]


def test_draws_are_pinned_so_that_saved_plans_replay_with_later_versions() -> None:
    stream = Streams(7).stream("link", "n1", "leader")
    assert [f"{stream.bits():016x}" for _ in range(4)] == KNOWN_BITS
    assert Streams(7).stream("link", "n1", "leader").unit() == KNOWN_UNIT
    assert Streams(7).stream("link").fork("n1").bits() == KNOWN_FORK


def test_splitmix64_gives_its_published_values() -> None:
    # First outputs of the reference implementation (Vigna, splitmix64.c) for state 1234567.
    assert draws(Stream(1234567), 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(), names, names)
def test_streams_of_different_names_are_different(seed: int, a: list[Name], b: list[Name]) -> None:
    same = a == b
    assert (draws(Streams(seed).stream(*a)) == draws(Streams(seed).stream(*b))) == same


@pytest.mark.parametrize(
    ("a", "b"),
    [(("ab", "c"), ("a", "bc")), (("1",), (1,)), (("a:1", "b"), ("a", "1:b")), (("x", ""), ("x",)), ((12, 3), (1, 23))],
)
def test_names_never_run_together(a: tuple[Name, ...], b: tuple[Name, ...]) -> None:
    assert draws(Streams(1).stream(*a)) != draws(Streams(1).stream(*b))


def test_draws_of_one_stream_leave_all_others_alone() -> None:
    streams = Streams(3)
    alone = draws(streams.stream("link", "a", "b"))
    other, mine = streams.stream("link", "b", "a"), streams.stream("link", "a", "b")
    mixed: list[int] = []
    for _ in range(20):
        other.normal(0, 1)
        mixed.append(mine.bits())
        other.shuffle([1, 2, 3])
    assert mixed == alone


def test_a_fork_neither_moves_its_parent_nor_is_moved_by_it() -> None:
    parent = Streams(3).stream("nemesis")
    early = draws(parent.fork("flap", 1))
    parent.bits()
    assert parent.ordinal == 1
    assert draws(parent.fork("flap", 1)) == early


EVERY_DRAW: dict[str, Callable[[Stream], object]] = {
    "bits": lambda s: s.bits(3),
    "unit": lambda s: s.unit(),
    "uniform": lambda s: s.uniform(1, 2),
    "chance": lambda s: s.chance(0.0),
    "below": lambda s: s.below(1),
    "choice": lambda s: s.choice("abc"),
    "exponential": lambda s: s.exponential(2.0),
    "normal": lambda s: s.normal(0, 1),
    "lognormal": lambda s: s.lognormal(0, 1),
    "pareto": lambda s: s.pareto(2),
}


@pytest.mark.parametrize("verb", list(EVERY_DRAW))
def test_every_draw_costs_one_ordinal_whatever_its_arguments(verb: str) -> None:
    stream = Streams(1).stream("x")
    EVERY_DRAW[verb](stream)
    assert stream.ordinal == 1
    assert stream.bits() == Streams(1).stream("x").bits_at(1)


def test_any_ordinal_can_be_reached_without_moving_the_stream() -> None:
    stream = Streams(1).stream("x")
    ahead = [stream.unit_at(ordinal) for ordinal in range(10)]
    assert ahead == [stream.unit() for _ in range(10)]


def test_numbers_below_n_are_uniform() -> None:
    stream, number = Streams(11).stream("dice"), 60_000
    counts = Counter(stream.below(6) for _ in range(number))
    chi_square = sum((counts[face] - number / 6) ** 2 / (number / 6) for face in range(6))
    assert chi_square < 20.5  # 99.9 % of fair dice with 5 degrees of freedom


@pytest.mark.parametrize("bit", range(64))
def test_every_bit_is_fair(bit: int) -> None:
    stream, number = Streams(12).stream("bits"), 4_000
    ones = sum(stream.bits() >> bit & 1 for _ in range(number))
    assert abs(ones - number / 2) < 4.5 * sqrt(number) / 2


def test_neighbouring_streams_are_uncorrelated() -> None:
    a, b = Streams(1).stream("link", 1), Streams(1).stream("link", 2)
    number = 20_000
    covariance = fmean((a.unit() - 0.5) * (b.unit() - 0.5) for _ in range(number))
    assert abs(covariance * 12) < 4.5 / sqrt(number)


def test_distributions_have_the_shape_they_are_asked_for() -> None:
    stream, number = Streams(13).stream("shapes"), 40_000

    def many(draw: Callable[[], float]) -> list[float]:
        return [draw() for _ in range(number)]

    assert fmean(many(lambda: stream.uniform(2, 4))) == pytest.approx(3, rel=0.01)
    assert fmean(many(lambda: stream.chance(0.3))) == pytest.approx(0.3, rel=0.05)
    waits = many(lambda: stream.exponential(5.0))
    assert fmean(waits) == pytest.approx(5, rel=0.03)
    assert median(waits) == pytest.approx(5 * log(2), rel=0.03)
    errors = many(lambda: stream.normal(3, 2))
    assert (fmean(errors), stdev(errors)) == pytest.approx((3, 2), rel=0.03)
    assert median(many(lambda: stream.lognormal(1, 0.5))) == pytest.approx(e, rel=0.03)
    tails = many(lambda: stream.pareto(3, 2.0))
    assert min(tails) >= 2
    assert fmean(tails) == pytest.approx(3, rel=0.03)


@given(st.integers(), st.integers(1, 2**70))
def test_numbers_below_n_are_at_least_0_and_less_than_n(seed: int, n: int) -> None:
    assert all(0 <= Streams(seed).stream("x").below(n) < n for _ in range(5))


@given(st.integers(), st.lists(st.integers(), max_size=30))
def test_shuffling_keeps_every_item(seed: int, items: list[int]) -> None:
    shuffled, stream = list(items), Streams(seed).stream("x")
    stream.shuffle(shuffled)
    assert sorted(shuffled) == sorted(items)
    assert stream.ordinal == max(0, len(items) - 1)


def test_shuffling_reaches_every_order_about_equally_often() -> None:
    stream, counts = Streams(5).stream("x"), Counter[tuple[int, ...]]()
    for _ in range(6_000):
        items = [1, 2, 3]
        stream.shuffle(items)
        counts[tuple(items)] += 1
    assert len(counts) == 6
    assert all(abs(count - 1000) < 150 for count in counts.values())


def test_extreme_units_stay_finite() -> None:
    for unit in (0.0, 1 - 2**-53):
        assert abs(normal_quantile(unit, 0, 1)) < 9
        assert 0 <= exponential_quantile(unit, 1) < 37
        assert 1 <= pareto_quantile(unit, 0.1, 1) < 1e160
