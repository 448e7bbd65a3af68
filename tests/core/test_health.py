"""HealthBehaviour: who falls silent is suspected, at a limit that fits their habits, and never for our own fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot.config import Knobs
from pivot.core.effects import Effect, SetTimer, Tell
from pivot.core.events import Changed, Enrol, Heard, PeerSilent, Started, TimerFired, Unwatch
from pivot.core.health import CHECK, HealthBehaviour
from pivot.types import Address
from tests.core.builders import at, told

KNOBS = Knobs(heartbeat_s=1.0, silence_s_min=3.0, silence_s_max=15.0)
PEER = Address("peer")


def started() -> HealthBehaviour:
    health = HealthBehaviour(watchers=("leader",), knobs=KNOBS)
    health.step(at(0), Started())
    return health


def checked(health: HealthBehaviour, until_s: float, since_s: float = 0) -> list[Effect]:
    """Punctual checks from one time to another; what was told."""
    effects: list[Effect] = []
    now_s = since_s
    while now_s < until_s:
        now_s += 0.5
        effects += [effect for effect in health.step(at(now_s), TimerFired(CHECK)) if isinstance(effect, Tell)]
    return effects


def test_at_the_start_everybody_who_has_peers_is_asked_for_them() -> None:
    health = HealthBehaviour(watchers=("leader", "node"), knobs=KNOBS)
    effects = health.step(at(0), Started())
    assert effects == [Tell("leader", Enrol()), Tell("node", Enrol()), SetTimer(CHECK, 0.5, 0.5)]


def test_a_peer_that_falls_silent_is_suspected_once_in_numbers() -> None:
    health = started()
    health.step(at(0), Heard(PEER, "node"))
    assert checked(health, 3.0) == []
    assert told(checked(health, 4.0, since_s=3.0)) == [("node", PeerSilent(PEER, 3.5, 3.0))]
    assert checked(health, 60.0, since_s=4.0) == []


def test_a_peer_that_is_heard_is_not_suspected() -> None:
    health = started()
    for second in range(60):
        health.step(at(second), Heard(PEER, "node"))
        assert checked(health, second + 1.0, since_s=second) == []


def test_a_peer_that_is_not_watched_any_more_is_not_suspected() -> None:
    health = started()
    health.step(at(0), Heard(PEER, "node"))
    health.step(at(1), Unwatch(PEER))
    health.step(at(1), Unwatch(PEER))
    assert checked(health, 60.0, since_s=1.0) == []


def test_the_limit_grows_with_irregular_habits_and_shrinks_with_regular_ones() -> None:
    health = started()
    now_s = 0.0
    health.step(at(0), Heard(PEER, "node"))
    assert health.limit_s(PEER) == KNOBS.silence_s_min
    for gap_s in (0.1, 4.0) * 5:
        now_s += gap_s
        health.step(at(now_s), Heard(PEER, "node"))
    irregular_s = health.limit_s(PEER)
    assert irregular_s > 2 * KNOBS.silence_s_min
    for _ in range(50):
        now_s += 1.0
        health.step(at(now_s), Heard(PEER, "node"))
    assert health.limit_s(PEER) == KNOBS.silence_s_min


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_the_limit_stays_between_its_bounds_whatever_the_habits(gaps_s: list[float]) -> None:
    health, now_s = started(), 0.0
    health.step(at(0), Heard(PEER, "node"))
    for gap_s in gaps_s:
        now_s += gap_s
        health.step(at(now_s), Heard(PEER, "node"))
        assert KNOBS.silence_s_min <= health.limit_s(PEER) <= KNOBS.silence_s_max


@pytest.mark.parametrize("stall_s", [1.5, 20.0, 4000.0])
def test_nobody_is_suspected_when_our_own_loop_was_late(stall_s: float) -> None:
    health = started()
    health.step(at(0), Heard(PEER, "node"))
    assert health.step(at(0.5 + stall_s), TimerFired(CHECK)) == [SetTimer(CHECK, 0.5, 0.5)]
    assert told(checked(health, stall_s + 5.0, since_s=0.5 + stall_s)) == [("node", PeerSilent(PEER, 3.5, 3.0))]


def test_other_events_mean_nothing_to_health() -> None:
    assert started().step(at(0), Changed("users/*", 1)) == []
