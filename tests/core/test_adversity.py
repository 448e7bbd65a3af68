"""The law that matters: whatever the network, disks and clocks do, afterwards all are equal and nothing told is lost.

Schedules are drawn twice: by a seed, many and quick, also with a bug planted to show that they would find it; and by
Hypothesis, which shrinks what it finds.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from pivot.actors.core import ActorCore
from pivot.core.collection import Collection
from pivot.core.entry import Entry
from pivot.core.events import MergePage, ReplyTo
from pivot.core.following import Following
from pivot.core.leader import LeaderBehaviour
from pivot.core.messages import Page
from pivot.core.storage import StorageBehaviour
from pivot.types import Now
from tests.core.adversary import Cluster, Machine, adversity

SEEDS = 1000
PLANTED_SEEDS = 400

Plant = Callable[[pytest.MonkeyPatch], None]


def ends_well(seed: int) -> bool:
    cluster = adversity(seed)
    cluster.heal()
    try:
        cluster.assert_safe()
    except AssertionError:
        return False
    return True


def test_every_drawn_schedule_ends_with_equal_members_and_nothing_lost() -> None:
    assert [seed for seed in range(SEEDS) if not ends_well(seed)] == []


# Planted bugs --------------------------------------------------------------------------------------------------------


def last_arrival_wins(patch: pytest.MonkeyPatch) -> None:
    def differs(entry: Entry, other: Entry) -> bool:
        return entry.version != other.version

    patch.setattr("pivot.core.storage.supersedes", differs)


def page_beyond_the_cursor_is_applied(patch: pytest.MonkeyPatch) -> None:
    def merge(storage: StorageBehaviour, now: Now, to: ReplyTo, question: MergePage) -> Any:
        _, cursor = storage.store[question.collection].peek_cursor()
        return merge_page(storage, now, to, replace(question, since=cursor))

    def take(following: Following, now: Now, body: Page) -> Any:
        return page(following, now, replace(body, since=min(body.since, following.expected)))

    merge_page, page = StorageBehaviour._merge_page, Following.page
    patch.setattr(StorageBehaviour, "_merge_page", merge)
    patch.setattr(Following, "page", take)


def answer_confirms_a_row_rewritten_meanwhile(patch: pytest.MonkeyPatch) -> None:
    def same(_: Entry) -> str:
        return "any"

    patch.setattr("pivot.core.storage.fingerprint", same)


def reset_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def ignore(*_: object) -> list[Any]:
        return []

    patch.setattr(Following, "reset", ignore)


def nothing_is_offered_again_to_a_new_life(patch: pytest.MonkeyPatch) -> None:
    def keep(_: object) -> None:
        pass

    patch.setattr(Collection, "_clear_acks", keep)


def lost_pushes_are_not_repeated(patch: pytest.MonkeyPatch) -> None:
    def alive(following: Following, _: Now) -> Any:
        return following._ack()

    patch.setattr(Following, "alive", alive)


def members_tell_before_they_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Machine, "tells_first", True)


def failed_commit_is_told_as_kept(patch: pytest.MonkeyPatch) -> None:
    def finish(core: ActorCore, now: Now, _: str | None = None) -> Any:
        return original(core, now)

    original = ActorCore.finish
    patch.setattr(ActorCore, "finish", finish)


def subscription_starts_at_the_end(patch: pytest.MonkeyPatch) -> None:
    def subscribe(leader: LeaderBehaviour, sender: Any, peer: Any, collection: str, _: int) -> Any:
        return original(leader, sender, peer, collection, leader._heads[collection])

    original = LeaderBehaviour._subscribe
    patch.setattr(LeaderBehaviour, "_subscribe", subscribe)


PLANTED: list[Plant] = [
    last_arrival_wins,
    page_beyond_the_cursor_is_applied,
    answer_confirms_a_row_rewritten_meanwhile,
    reset_is_ignored,
    nothing_is_offered_again_to_a_new_life,
    lost_pushes_are_not_repeated,
    members_tell_before_they_commit,
    failed_commit_is_told_as_kept,
    subscription_starts_at_the_end,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert not all(ends_well(seed) for seed in range(PLANTED_SEEDS))


# The same by Hypothesis ----------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["settings", "users/a", "users/b"])
WHO = st.integers(0, 3)


class Schedules(RuleBasedStateMachine):
    """Rules are what can happen; at the end everything heals and must be safe."""

    cluster: Cluster

    @initialize(nodes=st.integers(1, 3))
    def begin(self, nodes: int) -> None:
        self.cluster = Cluster(nodes)

    def machine(self, who: int) -> Machine:
        machines = list(self.cluster.machines.values())
        return machines[who % len(machines)]

    @rule(who=WHO, key=KEYS, value=st.integers(0, 9))
    def write(self, who: int, key: str, value: int) -> None:
        self.cluster.write(self.machine(who).name, key, value)

    @rule(who=WHO, value=st.integers(0, 9))
    def push(self, who: int, value: int) -> None:
        self.cluster.push(self.machine(who).name, value)

    @rule(who=WHO, pattern=st.sampled_from(["settings", "users/a", "users/*"]))
    def delete(self, who: int, pattern: str) -> None:
        self.cluster.delete(self.machine(who).name, pattern)

    @rule(who=WHO, actor=st.integers(0, 2), most=st.sampled_from([1, 100]), disk_fails=st.booleans())
    def run_actor(self, who: int, actor: int, most: int, disk_fails: bool) -> None:
        machine = self.machine(who)
        machine.run(list(machine.cores)[actor], most=most, disk_fails=disk_fails)

    @rule()
    def run_everybody(self) -> None:
        for machine in self.cluster.machines.values():
            for actor in machine.cores:
                machine.run(actor)

    @rule(who=WHO, actor=st.integers(0, 2), after=st.integers(0, 3))
    def crash_within_a_batch(self, who: int, actor: int, after: int) -> None:
        machine = self.machine(who)
        machine.run(list(machine.cores)[actor], crash_after=after)

    @precondition(lambda self: self.cluster.under_way)
    @rule(place=st.integers(0, 99), keep=st.booleans())
    def deliver(self, place: int, keep: bool) -> None:
        self.cluster.deliver(place % len(self.cluster.under_way), keep=keep)

    @precondition(lambda self: self.cluster.under_way)
    @rule(place=st.integers(0, 99))
    def drop(self, place: int) -> None:
        self.cluster.drop(place % len(self.cluster.under_way))

    @rule(seconds=st.sampled_from([0.01, 1.0, 10.0]))
    def advance(self, seconds: float) -> None:
        self.cluster.advance(seconds)

    @rule(who=WHO, wiped=st.booleans())
    def crash_or_start(self, who: int, wiped: bool) -> None:
        machine = self.machine(who)
        if machine.up:
            machine.crash(wiped=wiped)
        else:
            machine.start()

    @rule(who=WHO, hours=st.sampled_from([-1, 0]))
    def step_wall_clock(self, who: int, hours: int) -> None:
        self.machine(who).wall_offset_ns = hours * 3600 * 10**9

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.heal()
            self.cluster.assert_safe()


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
