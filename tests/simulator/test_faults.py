"""Every kind of fault that a plan can have is seen to do something, and nothing else goes wrong by it."""

import pytest

from pivot.config import Knobs
from simulator import (
    Plan,
    Run,
    Simulation,
    confirm,
    crash,
    delete,
    disk,
    draw,
    isolate,
    pause,
    push,
    read,
    restart,
    resume,
    settle,
    skew,
    wipe,
    write,
)
from simulator.errors import BadPlanError
from simulator.experiment.draw import NEMESES
from simulator.experiment.operations import Operation
from simulator.experiment.plan import Step

FAULTS: dict[str, Operation] = {
    "wipe": wipe("n1"),
    "pause": pause("n1"),
    "resume": resume("n1"),
    "disk": disk("n1", slow_s=0.1, fail=0.5),
    "confirm": confirm("leader"),
    "read": read("n1", "settings"),
}
EFFECTS = {
    "partition": "messages lost: cut",
    "one_way": "messages lost: cut",
    "isolate": "messages lost: cut",
    "crash": "messages lost: down",
    "skew": "operations under a wrong clock",
    "weather": "messages duplicated",
    "wipe": "versions wiped",
    "pause": "events held by stopped processes",
    "disk": "commits failed",
    "lies": "commits lost",
    "collect": "tombstones collected",
}


@pytest.mark.parametrize("kind", NEMESES)
def test_a_drawn_fault_has_an_effect_that_is_counted_and_nothing_is_lost_by_it(kind: str) -> None:
    reached = 0
    for seed in range(20):
        run = Run.of(draw(seed, nemeses=(kind,)))
        assert run.violations == (), run  # some seeds have a fault that touches nothing
        reached += run.outcome.reached.get(EFFECTS[kind], 0)
    assert reached > 0
    calm = [Run.of(draw(seed, nemeses=())).outcome.reached for seed in range(5)]
    assert not any(EFFECTS[kind] in each for each in calm)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_plan_is_the_same_after_a_trip_through_json(kind: str) -> None:
    plan = Plan(seed=1, nodes=1, steps=(Step(1.0, FAULTS[kind]),), safety_s=2.0)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ('"do": "pause",\n    "member": "n1"', '"do": "pause",\n    "member": "n7"', "steps[0].operation"),
        ('"fail": 0.5', '"fail": 1.5', "steps[1].operation.trouble"),
        ('"full": true', '"full": 3', "steps[1].operation.trouble.full"),
        ('"confirm",\n    "member": "leader"', '"confirm",\n    "member": "n1"', "steps[2].operation.member"),
        ('"do": "read"', '"do": "reed"', "steps[3].operation.do"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_path(old: str, new: str, path: str) -> None:
    steps = (pause("n1"), disk("n1", fail=0.5, full=True), confirm("leader"), read("n1", "settings"))
    plan = Plan(seed=1, nodes=1, steps=tuple(Step(1.0, step) for step in steps), safety_s=2.0)
    text = plan.to_json().decode()
    assert old in text
    with pytest.raises(BadPlanError) as refused:
        Plan.from_json(text.replace(old, new, 1).encode())
    assert refused.value.path == path


def test_a_stopped_member_answers_when_it_goes_on_and_its_clocks_went_on() -> None:
    run = (
        Simulation(nodes=1, seed=3)
        .at(0.5, write("leader", "settings", "old"))
        .at(1.0, settle())
        .at(1.5, pause("n1"))
        .at(2.0, read("n1", "settings"), write("n1", "settings", "asked while it was stopped"))
        .at(3.0, write("leader", "settings", "meanwhile"))
        .at(5.0, resume("n1"))
        .run(until=6)
    )
    assert run.verdict == "ok", run
    first, second = (record for record in run.outcome.records if record.member == "n1")
    assert (first.value, first.answered_s) == ("old", pytest.approx(5.0, abs=0.2))
    assert second.answered_s == pytest.approx(5.0, abs=0.2)
    assert run.state["leader"]["settings"] == "asked while it was stopped"
    assert run.outcome.reached["events held by stopped processes"] > 3


def test_a_member_that_is_killed_while_it_is_stopped_starts_again() -> None:
    run = (
        Simulation(nodes=1, seed=4, durability="full")
        .at(0.5, write("n1", "settings", 1))
        .at(1.5, pause("n1"))
        .at(2.0, write("n1", "settings", 2), crash("n1"))
        .at(3.0, restart("n1"))
        .at(4.0, write("n1", "settings", 3))
        .run(until=5)
    )
    assert run.verdict == "ok", run
    assert [record.outcome for record in run.outcome.records] == ["ok", "info", "ok"]


def test_a_member_that_is_stopped_when_a_fault_ends_it_all_goes_on() -> None:
    run = Simulation(nodes=1, seed=5).at(0.5, pause("leader")).at(1.0, push("n1", "users/*", 1)).run(until=2)
    assert run.converged
    assert len(run.state["leader"]) == 1


def test_a_wiped_node_refills_and_what_only_it_had_is_gone_not_lost() -> None:
    run = (
        Simulation(nodes=1, seed=6, durability="full")
        .at(0.5, write("leader", "settings", "kept"))
        .at(1.0, settle())
        .at(1.5, isolate("n1"))
        .at(2.0, write("n1", "users/only-here", 1))
        .at(2.5, wipe("n1"))
        .at(3.0, restart("n1"))
        .run(until=4)
    )
    assert run.verdict == "ok", run
    assert [line.fate for line in run.ledger] == ["won", "gone"]
    assert run.state["n1"] == {"settings": "kept"}


def test_what_a_lying_disk_takes_is_gone_not_lost_and_only_when_it_lied() -> None:
    fates: dict[bool, list[str]] = {}
    for lies in (False, True):
        for seed in range(20):
            run = (
                Simulation(nodes=1, seed=seed, durability="full")
                .at(0.5, isolate("n1"), disk("n1", lies=lies))
                .at(1.0, write("n1", "users/a", 1), write("n1", "users/b", 2))
                .at(1.5, write("n1", "users/c", 3))
                .at(2.0, crash("n1"))
                .run(until=3)
            )
            assert run.verdict == "ok", run
            fates.setdefault(lies, []).extend(line.fate for line in run.ledger)
    assert set(fates[False]) == {"won"}
    assert set(fates[True]) == {"won", "gone"}


def test_tombstones_end_when_the_operator_says_that_all_followers_are_known() -> None:
    tables: list[int] = []
    for known in (False, True):
        simulation = Simulation(nodes=2, seed=8, durability="full", knobs=quick())
        simulation.at(0.5, write("leader", "users/a", 1)).at(2.0, delete("n1", "users/a"))
        if known:
            simulation.at(1.0, confirm("leader"))
        simulation.at(9.0, write("leader", "settings", 1))
        run = simulation.run(until=10)
        assert run.verdict == "ok", run
        tables.append(len(run.outcome.tables["leader"]))
    assert tables == [2, 1]


def quick() -> Knobs:
    return Knobs(collect_s=1.0)


def test_a_clock_an_hour_ahead_has_its_writes_written_again_when_it_is_right() -> None:
    run = (
        Simulation(nodes=1, seed=9)
        .at(0.5, skew("n1", 3600.0))
        .at(1.0, write("n1", "users/a", 1))
        .at(2.0, skew("n1", 0.0))
        .run(until=3)
    )
    assert run.verdict == "ok", run
    assert run.outcome.reached["versions rejected"] >= 1
    assert run.outcome.reached["versions written again"] == 1
    assert [line.fate for line in run.ledger] == ["won"]
