"""Shrinking: what is left fails in the same way, is small, and is explained."""

import re
from pathlib import Path

import pytest

from simulator import Plan, Run, backup, crash, draw, heal, isolate, push, restart, restore, write
from simulator.experiment import examination
from simulator.experiment.checkers import Violation
from simulator.experiment.examination import Examination, Symptom, examine
from simulator.experiment.explanation import point_of_no_return, repaired, shrink_and_explain
from simulator.experiment.operations import Heal, Isolate, Operation, Write
from simulator.experiment.plan import Step
from simulator.experiment.planting import planted
from simulator.experiment.recipe import card, notebook_cell, pytest_line, replay_command
from simulator.experiment.shrink import Bounds, Trying, minimized, shrink
from simulator.world.latency import ExponentialLatency
from simulator.world.link import Conditions

SYMPTOM = Symptom("convergence", "settings")
FINE = Examination("ok", "", 0, {}, {}, (), ())
ROOT = Path(__file__).parents[2]


def found(checker: str = "convergence", key: str = "settings") -> Examination:
    violation = Violation(checker, key, f"{key} is wrong")
    return Examination("liveness", "", 0, {}, {}, (violation,), (Symptom(checker, key),))


def written_while_isolated(plan: Plan) -> bool:
    """Some node writes `settings` after it was isolated and before a heal."""
    isolated = ""
    for step in sorted(plan.steps, key=lambda step: step.at_s):
        match step.operation:
            case Isolate(member):
                isolated = member
            case Heal():
                isolated = ""
            case Write(member, "settings") if member == isolated and member != "leader":
                return True
            case _:
                pass
    return False


def steps(*timed: tuple[float, Operation]) -> tuple[Step, ...]:
    return tuple(Step(at_s, operation) for at_s, operation in timed)


def big_plan_that_fails() -> Plan:
    """A lot goes on; n3 writes `settings` while it is cut off."""
    noise: list[tuple[float, Operation]] = []
    for number in range(20):
        member = ("leader", "n1", "n2", "n3", "n4")[number % 5]
        noise.append((0.137 * number + 0.5, push(member, "users/*", {"n": number})))
        noise.append((0.731 * number + 0.7, write(member, "users/a", [number])))
    faults = [(2.3, crash("n1")), (4.1, restart("n1")), (5.5, isolate("n3")), (9.9, heal()), (12.0, crash("leader"))]
    culprit = (8.25, write("n3", "settings", {"n": 20}))
    timed = sorted([*noise, *faults, culprit], key=lambda step: step[0])
    foul = Conditions(latency=ExponentialLatency(base_s=0.001, mean_s=0.05), loss=0.02)
    return Plan(seed=7, nodes=4, durability="normal", weather=foul, steps=steps(*timed), safety_s=30.0)


@pytest.mark.parametrize("culprits", [(), (0,), (39,), (3, 17, 30), tuple(range(0, 40, 7)), tuple(range(40))])
def test_delta_debugging_leaves_exactly_what_is_needed(culprits: tuple[int, ...]) -> None:
    assert minimized(range(40), lambda some: all(each in some for each in culprits)) == list(culprits)


def test_a_big_plan_shrinks_to_what_its_failure_needs() -> None:
    plan = big_plan_that_fails()
    trying = Trying(SYMPTOM, Bounds(tries=2000), examining=lambda p: found() if written_while_isolated(p) else FINE)
    small = shrink(plan, trying)
    assert small.steps == steps((1.0, isolate("n1")), (2.0, write("n1", "settings", 1)))
    assert (small.nodes, small.safety_s, small.liveness_s) == (1, 3.0, plan.liveness_s)
    plain = Plan(seed=0, nodes=1, safety_s=0.0)
    assert (small.keys, small.weather, small.knobs) == (("settings",), plain.weather, plain.knobs)


def test_a_plan_that_fails_in_another_way_is_not_taken_for_the_same() -> None:
    plan = big_plan_that_fails()

    def another_way_when_small(candidate: Plan) -> Examination:
        if len(candidate.steps) > 20:
            return found()
        return found(checker="lost write") if candidate.nodes > 1 else found(key="users/*")

    small = shrink(plan, Trying(SYMPTOM, Bounds(tries=500), examining=another_way_when_small))
    assert len(small.steps) == 21


def test_no_more_plans_are_played_than_allowed_and_none_twice() -> None:
    played: list[bytes] = []

    def examining(plan: Plan) -> Examination:
        played.append(plan.to_json())
        return found() if written_while_isolated(plan) else FINE

    trying = Trying(SYMPTOM, Bounds(tries=15), examining=examining)
    small = shrink(big_plan_that_fails(), trying)
    assert written_while_isolated(small)
    assert len(played) == trying.tries == 15
    assert len(set(played)) == 15


def test_no_time_means_the_plan_as_it_is() -> None:
    plan = big_plan_that_fails()
    assert shrink(plan, Trying(SYMPTOM, Bounds(seconds=0.0), examining=lambda _: found())) == plan


@pytest.mark.parametrize("inevitable_s", [0.0, 2.0, 5.25, 7.5])
def test_the_point_of_no_return_is_where_repairing_begins_to_come_too_late(inevitable_s: float) -> None:
    plan = Plan(seed=1, nodes=1, steps=steps((2.0, isolate("n1")), (7.5, write("n1", "settings", 1))), safety_s=9.0)

    def examining(candidate: Plan) -> Examination:
        repaired_s = next(step.at_s for step in candidate.steps if isinstance(step.operation, Heal))
        return found() if repaired_s >= inevitable_s else FINE

    point_s = point_of_no_return(plan, Trying(SYMPTOM, Bounds(), examining=examining))
    assert point_s == pytest.approx(inevitable_s, abs=0.0015)
    assert point_of_no_return(plan, Trying(SYMPTOM, Bounds(), examining=lambda _: FINE)) is None


def test_repairing_keeps_what_clients_do_and_what_was_broken_before() -> None:
    plan = Plan(
        seed=1,
        nodes=1,
        steps=steps((1.0, crash("n1")), (3.0, isolate("n1")), (4.0, write("leader", "settings", 1))),
        safety_s=9.0,
    )
    kept = [step.operation for step in repaired(plan, 2.0).steps]
    assert kept[0] == crash("n1")
    assert kept[-1] == write("leader", "settings", 1)
    assert heal() in kept
    assert restart("n1") in kept
    assert isolate("n1") not in kept


def test_a_step_that_another_one_needs_is_not_left_out_alone() -> None:
    timed = steps((1.0, backup("n1")), (2.0, crash("n1")), (3.0, restore("n1")), (4.0, write("n1", "settings", 1)))
    plan = Plan(seed=1, nodes=1, durability="full", steps=timed, safety_s=9.0)

    def examining(candidate: Plan) -> Examination:
        return found() if any(step.operation == restore("n1") for step in candidate.steps) else FINE

    small = shrink(plan, Trying(SYMPTOM, Bounds(), examining=examining))
    assert [step.operation for step in small.steps] == [backup("n1"), restore("n1")]
    shown = shrink_and_explain(plan, found(), Bounds(tries=1)).entries
    assert [entry.without for entry in shown if "backup" in entry.what] == ["the plan cannot be played"]


def test_a_planted_bug_is_shrunk_to_a_handful_of_lines_that_replay() -> None:
    with planted("tests.simulator.bugs:a_reset_is_ignored"):
        plan = draw(3, nodes=2, nemeses=("crash",))
        first = examine(plan)
        assert first.violations
        shrunk = shrink_and_explain(plan, first, Bounds(tries=60, seconds=60.0))
        assert len(shrunk.plan.steps) <= 5 < len(plan.steps)
        again = Run.of(Plan.from_json(shrunk.plan.to_json()))
        assert any(violation.checker == shrunk.symptom.checker for violation in again.violations)
        assert len(shrunk.entries) >= len(shrunk.plan.steps)
        assert all(entry.without for entry in shrunk.entries)
        assert shrunk.inevitable_s is not None
    assert Run.of(shrunk.plan).verdict == "ok"
    text = "\n".join(card(shrunk, "runs/x/fail-000003.json"))
    assert f"shrunk {len(plan.steps)} -> {len(shrunk.plan.steps)} events" in text
    assert "pivot sim replay runs/x/fail-000003.json" in text


@pytest.mark.parametrize("seed", range(12))
def test_the_notebook_cell_of_a_plan_builds_that_plan(seed: int) -> None:
    plan = draw(seed)
    names: dict[str, object] = {}
    building, _, last = notebook_cell(plan).partition("\nrun = ")
    exec(building, names)
    assert last == f"simulation.run(until={plan.safety_s!r})\nrun"
    assert eval(f"simulation.plan(until={plan.safety_s!r})", names) == plan


def test_the_pytest_line_names_a_test_that_is_there() -> None:
    line = pytest_line("runs/my run/fail-000417.json")
    match = re.search(r"(tests/scenarios/\w+\.py)::(\w+)\[fail-000417\]", line)
    assert match
    assert f"def {match[2]}(" in (ROOT / match[1]).read_text()
    assert "cp 'runs/my run/fail-000417.json' tests/scenarios/plans/" in line
    assert replay_command("a b.json") == "pivot sim replay 'a b.json'"


@pytest.mark.parametrize(
    ("operation", "key", "known_as"),
    [
        (write("leader", "users/a", 1), "users/a", "users/a"),
        (push("leader", "users/*", 1), "users/18eafdb0cbf02476", "users/*"),
        (push("leader", "users/*", 1), "", ""),
    ],
)
def test_a_key_that_a_run_makes_up_is_known_by_its_collection(operation: Operation, key: str, known_as: str) -> None:
    plan = Plan(seed=1, nodes=1, steps=steps((1.0, operation)), safety_s=2.0)
    assert Symptom.of(plan, Violation("lost write", key, "")) == Symptom("lost write", known_as)


def test_a_run_that_raises_is_a_crash_known_by_its_error_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(_: Plan, **__: object) -> Run:
        raise ExceptionGroup("several", [ValueError("no such thing")])

    monkeypatch.setattr(examination.Run, "of", of)
    crashed = examine(draw(0))
    assert (crashed.verdict, crashed.hash) == ("crash", "")
    assert crashed.symptoms[0].checker == "crash"
    assert crashed.violations[0].sentence.startswith("ValueError at ")
