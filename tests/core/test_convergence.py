"""Convergence: whatever a network, disks and clocks do, members end equal, and nothing that was promised is lost.

Schedules are drawn twice: from seeds, many and quick, which planted bugs must not survive; and by Hypothesis, which
shrinks what it finds.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pivot.core.questions import PushItem, Put, Remove
from tests.core.harness import Cluster
from tests.core.host import KNOBS, LEADER
from tests.core.planted import FREQUENT, Plant
from tests.core.schedules import HOUR_NS, SKEW_NS_MAX, play
from tests.core.world import Violation

PLANTED_SEEDS = 200


@pytest.mark.parametrize(
    "seeds",
    [
        *(pytest.param(range(first, first + 50), id=f"from-{first}") for first in range(0, 400, 50)),
        pytest.param(range(400, 20_400), id="long", marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_members_end_equal_and_no_promise_is_broken_in_any_drawn_schedule(seeds: range) -> None:
    for seed in seeds:
        try:
            play(seed)
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")


@pytest.mark.parametrize("plant", FREQUENT, ids=lambda plant: plant.__name__)
def test_the_harness_notices_when(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def play_all() -> None:
        for seed in range(PLANTED_SEEDS):
            play(seed)

    plant(monkeypatch)
    with pytest.raises(Violation):
        play_all()


WHO = st.integers(0, 3)
KEYS = st.sampled_from(("settings", "users/a", "users/b"))


class Schedules(RuleBasedStateMachine):
    """Rules are what can happen; at the end everything heals."""

    cluster: Cluster

    @initialize(nodes=st.integers(1, 3), connected=st.booleans())
    def begin(self, nodes: int, connected: bool) -> None:
        self.cluster = Cluster(nodes)
        if connected:
            self.cluster.heal()

    def name(self, who: int) -> str:
        names = tuple(self.cluster.hosts)
        return names[who % len(names)]

    @rule(who=WHO, key=KEYS, value=st.integers(0, 2))
    def write(self, who: int, key: str, value: int) -> None:
        self.cluster.ask(self.name(who), Put(key, str(value)))

    @rule(who=WHO, pattern=st.sampled_from(("settings", "users/a", "users/*")))
    def delete(self, who: int, pattern: str) -> None:
        self.cluster.ask(self.name(who), Remove(pattern))

    @rule(who=WHO)
    def push_item(self, who: int) -> None:
        self.cluster.ask(self.name(who), PushItem("users/*", "0"))

    @rule()
    def everybody_works(self) -> None:
        for name in self.cluster.hosts:
            self.cluster.work(name)

    @rule(who=WHO, actor=st.sampled_from(("storage", "health", "")))
    def one_actor_works(self, who: int, actor: str) -> None:
        name = self.name(who)
        self.cluster.work(name, actor or self.cluster.hosts[name].role)

    @precondition(lambda self: self.cluster.bag.lines)
    @rule(place=st.integers(0, 20), again=st.booleans())
    def envelope_arrives(self, place: int, again: bool) -> None:
        self.cluster.deliver(place % len(self.cluster.bag.lines), again=again)

    @precondition(lambda self: self.cluster.bag.lines)
    @rule(place=st.integers(0, 20))
    def envelope_is_lost(self, place: int) -> None:
        self.cluster.drop(place % len(self.cluster.bag.lines))

    @rule(seconds=st.sampled_from((0.1, 0.6, 1.1, 10.0, KNOBS.member_ttl_s)))
    def time_passes(self, seconds: float) -> None:
        self.cluster.wait(seconds)

    @rule(who=WHO, wiped=st.booleans())
    def machine_stops_and_starts(self, who: int, wiped: bool) -> None:
        self.cluster.crash(self.name(who), wiped=wiped)

    @rule(who=WHO)
    def disk_is_copied(self, who: int) -> None:
        self.cluster.copy(self.name(who))

    @rule(who=WHO)
    def older_disk_is_put_back(self, who: int) -> None:
        self.cluster.put_back(self.name(who))

    @rule(who=WHO, dying=st.sampled_from(("before", "after")))
    def machine_will_stop_at_a_commit(self, who: int, dying: str) -> None:
        self.cluster.hosts[self.name(who)].disk.dying = dying

    @rule(who=WHO, actor=st.sampled_from(("storage", "")), effects=st.integers(0, 3))
    def machine_stops_between_two_effects(self, who: int, actor: str, effects: int) -> None:
        name = self.name(who)
        self.cluster.work(name, actor or self.cluster.hosts[name].role, stop_after=effects)

    @rule(who=WHO, commits=st.integers(1, 2))
    def disk_is_full_for_a_while(self, who: int, commits: int) -> None:
        self.cluster.hosts[self.name(who)].disk.failing = commits

    @rule(who=WHO, health=st.booleans())
    def actor_begins_again(self, who: int, health: bool) -> None:
        name = self.name(who)
        self.cluster.revive(name, "health" if health else self.cluster.hosts[name].role)

    @rule()
    def followers_are_complete_says_the_operator(self) -> None:
        self.cluster.confirm_followers()

    @rule(number=st.integers(0, 7))
    def follower_is_forgotten(self, number: int) -> None:
        self.cluster.expire(number)

    @rule(who=WHO, other=WHO)
    def link_is_said_to_be_lost(self, who: int, other: int) -> None:
        name = self.name(who)
        self.cluster.hint(name, self.name(other) if name == LEADER else LEADER)

    @rule(who=WHO, skew_ns=st.sampled_from((0, SKEW_NS_MAX, -SKEW_NS_MAX, HOUR_NS, -HOUR_NS)))
    def wall_clock_steps(self, who: int, skew_ns: int) -> None:
        self.cluster.hosts[self.name(who)].skew_ns = skew_ns

    @precondition(lambda self: hasattr(self, "cluster"))
    @invariant()
    def every_promise_is_kept(self) -> None:
        self.cluster.check()

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.heal()


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
