"""Clock: stamps rise whatever wall time does, and a peer's wrong clock does not become ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot.core.clock import HybridClock
from pivot.errors import ClockAheadError

WALLS = st.integers(0, 100)
STEPS = st.lists(st.tuples(st.booleans(), WALLS, st.integers(0, 140)), max_size=40)


@given(STEPS)
def test_stamps_strictly_rise_although_wall_time_steps_back_and_peers_are_heard(
    steps: list[tuple[bool, int, int]],
) -> None:
    clock = HybridClock(ahead_ns_max=30)
    latest = 0
    for ours, wall_ns, remote in steps:
        before = clock.last
        if ours:
            stamp = clock.tick(wall_ns=wall_ns)
            assert stamp > latest
            assert stamp >= wall_ns
            latest = stamp
        elif remote <= max(wall_ns, before) + 30:
            clock.observe(remote, wall_ns=wall_ns)
            latest = max(latest, remote)
        else:
            with pytest.raises(ClockAheadError):
                clock.observe(remote, wall_ns=wall_ns)
        assert clock.last >= before


def test_a_write_is_later_than_what_it_overwrites_without_dragging_the_clock_along() -> None:
    clock = HybridClock(last=10, ahead_ns_max=30)
    assert clock.tick(wall_ns=50, above=1000) == 1001
    assert clock.last == 50
    assert clock.tick(wall_ns=50) == 51


def test_a_stamp_too_far_ahead_is_refused_in_numbers_and_changes_nothing() -> None:
    clock = HybridClock(last=10, ahead_ns_max=2_000_000_000)
    with pytest.raises(ClockAheadError, match=r"clock_ahead: stamp 5000000000 leads our clock 0 by 5\.0 s, .* 2\.0 s"):
        clock.observe(5_000_000_000, wall_ns=0)
    assert clock.last == 10


@pytest.mark.parametrize("wall_ns", [0, 100])
def test_a_stamp_is_taken_up_to_the_limit_above_the_later_of_wall_and_clock(wall_ns: int) -> None:
    clock = HybridClock(last=50, ahead_ns_max=30)
    limit = max(50, wall_ns) + 30
    with pytest.raises(ClockAheadError):
        clock.observe(limit + 1, wall_ns=wall_ns)
    clock.observe(limit, wall_ns=wall_ns)
    assert clock.last == limit
