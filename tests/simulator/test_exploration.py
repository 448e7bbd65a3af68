"""Exploring: a schedule is a plan, states are known again only if nothing that matters differs, and bugs are found."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pivot.__main__ import run as pivot
from simulator import Plan, Run
from simulator.errors import BadPlanError, ExplorationError
from simulator.experiment.deviation import Deviation, LoseNext, Postpone, RepeatNext, Twist
from simulator.experiment.mutants.catalogue import MUTANTS, planted_mutant
from simulator.experiment.operations import Crash, Isolate, Wipe
from simulator.experiment.recipe import notebook_cell
from simulator.experiment.world import World
from simulator.exploration.cases import cases
from simulator.exploration.explorer import Bounds, Case, explore
from simulator.exploration.fingerprint import AGING, EVERYTHING, LEFT_OUT, TIMES, fingerprint
from simulator.runtimes import kernel
from simulator.runtimes.base import Runtime

AT_NODE = cases(1, 1)[1]
"""A node writes once."""
TWISTS: tuple[Twist, ...] = (
    Postpone(0.015),
    Postpone(1.6),
    LoseNext(),
    RepeatNext(0.015),
    Crash("n1", for_s=0.05),
    Wipe("leader", for_s=0.05),
    Isolate("n1", for_s=3.0),
)


def turns(plan: Plan) -> list[tuple[int, bytes]]:
    """How many events came before each turn after the last deviation, and the state there."""
    seen: list[tuple[int, bytes]] = []

    def begin(runtime: Runtime) -> World:
        def look() -> None:
            seen.append((runtime.heap.executed, fingerprint(world)))

        world = World(plan, runtime, keep_trace=False, watcher=look)
        world.begin()
        return world

    kernel.run(begin)
    return seen


# Schedules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twist", TWISTS, ids=lambda twist: f"{type(twist).__name__}")
def test_a_schedule_is_a_plan_that_both_runtimes_play_alike(twist: Twist) -> None:
    plan = replace(AT_NODE, deviations=(Deviation(turns(AT_NODE)[-8][0], twist), Deviation(70, Postpone(0.015))))
    plan = Plan.from_json(plan.to_json())
    run = Run.of(plan)
    assert run.verdict == "ok", run
    assert run.hash != Run.of(AT_NODE).hash
    assert Run.of(plan, runtime="trio").hash == run.hash


def test_the_notebook_cell_of_a_schedule_builds_it() -> None:
    plan = replace(AT_NODE, deviations=(Deviation(30, LoseNext()), Deviation(40, Crash("n1", for_s=0.5))))
    building = notebook_cell(plan).partition("\nrun = ")[0]
    names: dict[str, Any] = {}
    exec(building, names)
    assert replace(names["simulation"].plan(until=plan.safety_s), liveness_s=plan.liveness_s) == plan


def the_push(plan: Plan) -> int:
    """How many events come before the node's write arrives at its leader."""
    arrivals: list[int] = []

    def begin(runtime: Runtime) -> World:
        def look() -> None:
            if world.course.is_arrival() and world.time_s > 0.5:
                arrivals.append(runtime.heap.executed)

        world = World(plan, runtime, keep_trace=False, watcher=look)
        world.begin()
        return world

    kernel.run(begin)
    return arrivals[0]


def test_a_postponed_message_is_overtaken_and_a_lost_one_is_counted() -> None:
    after = the_push(AT_NODE)
    late = Run.of(replace(AT_NODE, deviations=(Deviation(after, Postpone(1.6)),)), keep_trace=True)
    lost = Run.of(replace(AT_NODE, deviations=(Deviation(after, LoseNext()),)))
    sent = [event.message for event in late.trace if event.kind == "delivered"]
    assert sent != sorted(sent)
    assert lost.outcome.network.lost == {"loss": 1}
    assert lost.outcome.potency == {"lose_next": 1}


def test_nothing_deviates_after_the_safety_phase() -> None:
    plan = replace(AT_NODE, deviations=(Deviation(10**6, Wipe("leader")),))
    assert Run.of(plan).hash == Run.of(AT_NODE).hash


@pytest.mark.parametrize(
    ("path", "deviations"),
    [
        ("deviations[1].after", (Deviation(5, LoseNext()), Deviation(4, LoseNext()))),
        ("deviations[0].what.by_s", (Deviation(5, Postpone(0.0)),)),
        ("deviations[0].what", (Deviation(5, Crash("n9")),)),
    ],
)
def test_a_deviation_that_cannot_be_is_refused(path: str, deviations: tuple[Deviation, ...]) -> None:
    with pytest.raises(BadPlanError) as caught:
        replace(AT_NODE, deviations=deviations)
    assert caught.value.path == path


# States --------------------------------------------------------------------------------------------------------------


def test_two_runs_of_one_plan_have_the_same_states_and_no_state_twice() -> None:
    one, other = turns(AT_NODE), turns(AT_NODE)
    assert one == other
    assert len({state for _, state in one}) == len(one)


def test_a_message_that_comes_late_without_consequence_leads_back_to_a_known_state() -> None:
    known = {state for _, state in turns(AT_NODE)}
    after = the_push(AT_NODE)
    states = [state for _, state in turns(replace(AT_NODE, deviations=(Deviation(after, Postpone(0.015)),)))]
    assert states[0] not in known
    assert states[-1] in known


@pytest.mark.parametrize("twist", [Crash("n1", for_s=0.05), Wipe("leader", for_s=0.05)], ids=["crash", "wipe"])
def test_a_fault_with_consequences_leads_to_states_of_its_own(twist: Twist) -> None:
    known = {state for _, state in turns(AT_NODE)}
    assert not known & {state for _, state in turns(replace(AT_NODE, deviations=(Deviation(40, twist),)))}


@pytest.mark.parametrize("table", [LEFT_OUT, TIMES, AGING], ids=["left out", "times", "aging"])
def test_what_is_treated_in_its_own_way_exists(table: dict[str, tuple[str, ...]]) -> None:
    for path, names in table.items():
        module, _, name = path.rpartition(".")
        source = Path(str(import_module(module).__file__)).read_text()
        assert f"class {name}" in source, path
        for attribute in () if names == EVERYTHING else names:
            assert attribute in source, (path, attribute)


def test_what_nobody_knows_how_to_walk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    init = World.begin

    def begin(world: World) -> None:
        vars(world)["strange"] = {1, 2}
        init(world)

    monkeypatch.setattr(World, "begin", begin)
    with pytest.raises(ExplorationError, match=r"builtins\.set"):
        explore(Case(AT_NODE, Bounds(1, 0, 10)))


# Proofs --------------------------------------------------------------------------------------------------------------


def test_every_schedule_with_one_delay_or_one_fault_is_right() -> None:
    for bounds in (Bounds(1, 0, 1000), Bounds(0, 1, 1000)):
        explored = explore(Case(AT_NODE, bounds))
        assert explored.found is None, explored.found
        assert explored.complete
        assert 10 < explored.pruned < explored.schedules < explored.states


def test_exploring_that_was_cut_short_proves_nothing() -> None:
    explored = explore(Case(AT_NODE, Bounds(1, 1, 5)))
    assert (explored.schedules, explored.complete) == (5, False)


KILLS = {
    "a_reset_is_ignored": 0,
    "poke_one_shot": 1,
    "ack_before_fsync": 1,
    "health_never_rechecks": 1,
    "nothing_is_offered_again_to_a_new_life": 1,
}
"""Mutant -> how many deviations it takes."""
NAMED = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", KILLS)
def test_a_mutant_is_found_and_its_schedule_plays_again(mutant: str) -> None:
    found = explore(Case(AT_NODE, Bounds(0, 1, 200), mutant)).found
    assert found is not None
    assert NAMED[mutant].is_seen_in(found.violations)
    assert len(found.plan.deviations) == KILLS[mutant]
    plan = Plan.from_json(found.plan.to_json())
    with planted_mutant(mutant):
        again = Run.of(plan)
    assert (again.hash, again.violations) == (found.hash, found.violations)
    assert Run.of(plan).violations == ()


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_says_what_was_proved(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bounds = ["--delays", "1", "--faults", "0", "--workers", "1", "--runs", str(tmp_path)]
    assert pivot(["sim", "explore", *bounds]) == 0
    said = capfd.readouterr().out
    assert "1 leader, 1 nodes, up to 1 operations: 2 plans" in said
    assert "nothing was violated within these bounds: at most 1 delays and 0 faults" in said
    assert list(tmp_path.iterdir()) == []


def test_the_command_saves_a_schedule_that_replays(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bounds = ["--delays", "0", "--faults", "1", "--workers", "1", "--runs", str(tmp_path)]
    assert pivot(["sim", "explore", *bounds, "--mutant", "a_reset_is_ignored", "--json"]) == 1
    violation = json.loads(capfd.readouterr().out)["violations"][0]
    assert violation["checker"] == "convergence"
    assert pivot([*violation["replay"].split()[1:], "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["hash"] == violation["hash"]


@pytest.mark.parametrize("option", [["--nodes", "3"], ["--delays", "-1"], ["--mutant", "no_such_bug"]])
def test_the_command_refuses_what_cannot_be(option: list[str]) -> None:
    assert pivot(["sim", "explore", *option]) == 2


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("nodes", [1, 2])
def test_every_schedule_with_two_deviations_of_up_to_two_operations_is_right(nodes: int) -> None:
    for plan in cases(nodes, 2):
        for bounds in (Bounds(2, 0, 10**6), Bounds(1, 1, 10**6)):
            explored = explore(Case(plan, bounds))
            assert explored.found is None, explored.found
            assert explored.complete
