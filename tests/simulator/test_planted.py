"""Planted bugs are seen by the checkers that are there for them, in plans that are fine without them."""

import pytest
from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.events import Event
from pivot.core.leader import LeaderBehaviour
from pivot.core.storage import StorageBehaviour
from pivot.types import Now
from simulator import Run, Simulation, crash, draw, isolate, read, restart, skew, write
from simulator.experiment.mutants.catalogue import RING
from simulator.experiment.mutants.mutant import Mutant

MUTANTS = {mutant.name: mutant for mutant in RING}
SEEDS = {
    "tie_by_arrival": 1,
    "blind_overwrite": 1,
    "delete_always_wins": 0,
    "update_beats_tombstone": 0,
    "wall_clock_only": 2,
    "leader_restamps": 0,
    "tombstone_dropped": 0,
    "tombstone_gc_early": 9,
}
"""Mutant -> a seed whose plan, drawn with the faults that the mutant takes, kills it."""


def killed(mutant: Mutant, seed: int) -> bool:
    plan = replace(draw(seed, nemeses=mutant.nemeses), liveness_s=70.0)
    with mutant.planted() as mark:
        violations = Run.of(plan).violations
    return mark.count > 0 and mutant.is_seen_in(violations) and not Run.of(plan).violations


@pytest.mark.parametrize("name", SEEDS)
def test_a_mutant_is_killed_by_a_plan_that_is_fine_without_it(name: str) -> None:
    assert killed(MUTANTS[name], SEEDS[name])


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_echo_that_feeds_itself_is_no_silence() -> None:
    plan = Simulation(nodes=1, seed=1, knobs=Knobs(retry_s_max=1.0)).at(0.5, write("n1", "settings", 1)).plan(until=1)
    assert Run.of(plan).verdict == "ok"
    with MUTANTS["echo_loop"].planted() as mark:
        run = Run.of(replace(plan, liveness_s=25.0))
    assert mark.count > 100
    assert "quiescence" in {violation.checker for violation in run.violations}


def test_everything_is_as_it_was_after_a_mutant() -> None:
    before = Run.of(draw(5)).hash
    for mutant in RING:
        with mutant.planted():
            pass
    assert Run.of(draw(5)).hash == before


@pytest.mark.parametrize("behaviour", [StorageBehaviour, LeaderBehaviour])
def test_a_crash_of_our_code_is_a_verdict_and_not_an_exception(
    behaviour: type[StorageBehaviour] | type[LeaderBehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: object, now: Now, event: Event) -> list[object]:
        raise ZeroDivisionError(f"planted in {type(self).__name__}")

    monkeypatch.setattr(behaviour, "step", step)
    run = Simulation(nodes=1, seed=1).at(0.5, write("leader", "settings", 1)).run(until=2)
    assert run.verdict == "crash"
    assert "ZeroDivisionError('planted in " in run.violations[0].sentence


def test_a_fault_that_touches_nothing_proves_nothing() -> None:
    run = Simulation(nodes=1, seed=1).at(0.5, skew("n1", 5.0)).run(until=1)
    assert run.violations == ()
    assert run.verdict == "unknown"


def test_a_violation_names_the_messages_that_carried_it() -> None:
    mutant = MUTANTS["leader_restamps"]
    plan = draw(SEEDS["leader_restamps"], nemeses=())
    with mutant.planted():
        run = Run.of(plan).explained()
    violation = next(each for each in run.violations if each.checker == "invented")
    assert "carried by #" in violation.sentence
    carriers = [run.trace[number] for number in violation.messages]
    assert carriers
    assert {event.kind for event in carriers} == {"sent"}


def test_a_second_run_that_differs_is_the_finding() -> None:
    plan = draw(3, nemeses=())
    run = Run.of(plan)
    with MUTANTS["leader_restamps"].planted():  # as good as any leak: another run of the same plan
        again = run.explained()
    assert again.verdict == "nondeterminism"


def test_clients_with_a_name_have_sessions_of_their_own() -> None:
    run = (
        Simulation(nodes=1, seed=2, durability="full")
        .at(0.5, isolate("n1"))
        .at(1.0, write("n1", "settings", 1, client="ann"))
        .at(2.0, read("leader", "settings", client="ann"))  # another member need not have it
        .at(2.5, crash("n1"), read("n1", "settings", client="bob"))
        .at(3.0, restart("n1"))
        .at(3.5, read("n1", "settings", client="ann"))
        .run(until=4)
    )
    assert run.verdict == "ok", run
    assert [(record.client, record.value) for record in run.outcome.records if record.kind == "read"] == [
        ("ann", None),
        ("bob", None),
        ("ann", 1),
    ]
