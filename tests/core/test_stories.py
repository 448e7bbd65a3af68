"""Stories: schedules too rare to be drawn often, told step by step; each with the bug that it would find."""

from collections.abc import Callable

import pytest

from pivot.core.questions import Put
from tests.core.harness import Cluster
from tests.core.host import LEADER
from tests.core.planted import (
    Plant,
    a_repeated_push_is_confirmed_though_the_commit_of_the_first_failed,
    an_answer_of_an_earlier_life_confirms,
)
from tests.core.world import Violation

NODE = "node-0"


def connected() -> Cluster:
    cluster = Cluster(1)
    cluster.heal()
    cluster.bag.lines.clear()
    return cluster


def everybody_works(cluster: Cluster) -> None:
    for _ in range(4):
        for name in cluster.hosts:
            cluster.work(name)


def first(cluster: Cluster, kind: str) -> int:
    """Place of the oldest envelope of a kind."""
    return next(place for place, line in enumerate(cluster.bag.lines) if f'"type":"{kind}"'.encode() in line)


def all_but_pushes_arrive(cluster: Cluster) -> None:
    everybody_works(cluster)
    while cluster.bag.lines:
        if b'"type":"push"' in cluster.bag.lines[0]:
            cluster.drop(0)
        else:
            cluster.deliver(0)
        everybody_works(cluster)


def answer_of_an_earlier_life_arrives_late() -> Cluster:
    cluster = connected()
    cluster.ask(NODE, Put("settings", "1"))
    everybody_works(cluster)
    cluster.deliver(first(cluster, "push"))
    everybody_works(cluster)
    late = cluster.bag.lines.pop(first(cluster, "push_ack"))
    cluster.crash(LEADER, wiped=True)
    leader, node = cluster.hosts[LEADER].disk, cluster.hosts[NODE].disk
    while node.place("settings").epoch != leader.epoch:
        cluster.wait(0.5)
        all_but_pushes_arrive(cluster)
    assert leader.table() == {}
    cluster.bag.lines.append(late)
    cluster.deliver(len(cluster.bag.lines) - 1)
    everybody_works(cluster)
    cluster.check()
    return cluster


def push_arrives_twice_while_the_disk_is_full() -> Cluster:
    cluster = connected()
    cluster.ask(NODE, Put("settings", "1"))
    everybody_works(cluster)
    cluster.deliver(first(cluster, "push"), again=True)
    cluster.deliver(first(cluster, "push"))
    cluster.work(LEADER, "leader")
    cluster.hosts[LEADER].disk.failing = 1
    cluster.work(LEADER, "storage")
    all_but_pushes_arrive(cluster)
    cluster.check()
    return cluster


def test_an_answer_of_an_earlier_life_confirms_nothing() -> None:
    cluster = answer_of_an_earlier_life_arrives_late()
    cluster.heal()
    assert cluster.hosts[LEADER].disk.table().keys() == {"settings"}


def test_a_push_that_arrives_twice_is_not_confirmed_while_the_disk_is_full() -> None:
    cluster = push_arrives_twice_while_the_disk_is_full()
    assert cluster.hosts[LEADER].disk.table() == {}
    cluster.heal()
    assert cluster.hosts[LEADER].disk.table().keys() == {"settings"}


@pytest.mark.parametrize(
    ("story", "plant"),
    [
        (answer_of_an_earlier_life_arrives_late, an_answer_of_an_earlier_life_confirms),
        (
            push_arrives_twice_while_the_disk_is_full,
            a_repeated_push_is_confirmed_though_the_commit_of_the_first_failed,
        ),
    ],
    ids=lambda part: part.__name__,
)
def test_the_story_finds_the_bug(story: Callable[[], Cluster], plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation, match="believes that"):
        story()
