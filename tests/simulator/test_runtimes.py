"""Two runtimes, one meaning: what a plan does on Trio it does on the kernel, message by message."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import get_args

import pytest

from pivot.actors.switchboard import Switchboard
from pivot.core.effects import Effect, Tell
from pivot.core.events import Changed, Event
from pivot.core.leading import Leading
from pivot.core.node import NodeBehaviour
from pivot.core.storage import StorageBehaviour
from pivot.types import Now
from simulator import Plan, Run, Simulation, crash, draw, pause, restart, resume, write
from simulator.errors import SimulationDeadlockError, TooManyEventsError
from simulator.experiment.operations import Write
from simulator.experiment.plan import Step
from simulator.experiment.world import Outcome, at_once_max, play
from simulator.runtimes import kernel
from simulator.runtimes.base import Runtime, RuntimeName
from simulator.world.divergence import first_divergence
from simulator.world.heap import EventHeap

SEEDS = 20
SEEDS_LONG = 1000
BLOCK = 20
on_both = pytest.mark.parametrize("runtime", get_args(RuntimeName))


def assert_alike(plan: Plan) -> Outcome:
    """Hash, final tables, ledger, history: all that a run leaves behind."""
    ours, reference = play(plan, runtime="kernel"), play(plan, runtime="trio")
    if ours != reference:
        divergence = first_divergence(
            play(plan, runtime="kernel", keep_trace=True).trace, play(plan, runtime="trio", keep_trace=True).trace
        )
        where = ["not in the trace"] if divergence is None else divergence.lines("kernel", "trio")
        pytest.fail("\n".join((f"seed {plan.seed}:", *where)))
    return ours


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_a_drawn_plan_is_played_alike_by_both(first: int) -> None:
    assert len({assert_alike(draw(seed)).hash for seed in range(first, first + BLOCK)}) == BLOCK


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(SEEDS, SEEDS_LONG, BLOCK))
def test_many_drawn_plans_are_played_alike_by_both(first: int) -> None:
    assert len({assert_alike(draw(seed)).hash for seed in range(first, first + BLOCK)}) == BLOCK


def test_a_crash_in_the_middle_of_a_commit_or_while_stopped_is_played_alike() -> None:
    simulation = Simulation(nodes=2, seed=5, durability="normal")
    for number in range(20):
        at_s = 1.0 + number
        simulation.at(at_s, write("leader", "settings", number), write("n1", "users/a", number))
        simulation.at(at_s + 0.0005, crash("leader"), pause("n1"))
        simulation.at(at_s + 0.1, restart("leader"), crash("n1") if number % 2 else resume("n1"))
        simulation.at(at_s + 0.2, restart("n1"))
    outcome = assert_alike(simulation.plan(until=25))
    assert outcome.reached["commits unanswered"]
    assert outcome.reached["events held by stopped processes"]


# Actors that crash ---------------------------------------------------------------------------------------------------


def crashing(times: int) -> Callable[[Leading, Now], list[Effect]]:
    original, left = Leading.heartbeat, [KeyError("a bug")] * times

    def heartbeat(leading: Leading, now: Now) -> list[Effect]:
        if left:
            raise left.pop()
        return original(leading, now)

    return heartbeat


def test_an_actor_that_crashes_is_restarted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Simulation(nodes=2, seed=1).at(1, write("n1", "settings", 1)).at(2, write("leader", "settings", 2)).plan(5)
    outcomes: list[Outcome] = []
    for runtime in get_args(RuntimeName):
        monkeypatch.setattr(Leading, "heartbeat", crashing(2))
        outcomes.append(play(plan, runtime=runtime))
        monkeypatch.undo()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].crashes == ("leader of leader crashed: KeyError('a bug')",) * 2
    assert outcomes[0].hash != play(plan).hash


@on_both
def test_an_actor_that_crashes_too_often_ends_the_run_with_its_name(
    runtime: RuntimeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Leading, "heartbeat", crashing(1000))
    assert re.search(r"'leader' crashed .*a bug", play(draw(1), runtime=runtime).crashes[-1])


@on_both
def test_a_crash_of_storage_ends_the_run_with_its_error(runtime: RuntimeName, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash_(*_: object) -> list[object]:
        raise KeyError("a bug in storage")

    monkeypatch.setattr(StorageBehaviour, "_read", crash_)
    (said,) = play(draw(1), runtime=runtime).crashes
    assert re.search(r"KeyError\('a bug in storage'\).* in crash_", said)


# The kernel alone ----------------------------------------------------------------------------------------------------


def test_a_run_in_which_nothing_is_left_to_happen_is_a_deadlock() -> None:
    def begin(runtime: Runtime) -> None:
        runtime.heap.post_at(5, lambda: None)

    with pytest.raises(SimulationDeadlockError, match=r"at 0.000000005 s"):
        kernel.run(begin)


def test_a_run_that_never_ends_is_stopped() -> None:
    def begin(runtime: Runtime) -> None:
        again(runtime.heap)

    def again(heap: EventHeap) -> None:
        heap.call_soon(partial(again, heap))

    with pytest.raises(TooManyEventsError, match=r"events number 1001 .* limit is 1000"):
        kernel.run(begin, max_events=1000)


@on_both
def test_members_that_keep_each_other_busy_at_one_instant_end_the_run_with_that_as_its_outcome(
    runtime: RuntimeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = NodeBehaviour.step

    def echo(node: NodeBehaviour, now: Now, event: Event) -> list[Effect]:
        again = [Tell("node", event)] if isinstance(event, Changed) else []
        return [*step(node, now, event), *again]

    monkeypatch.setattr(NodeBehaviour, "step", echo)
    plan = Plan(seed=1, nodes=1, steps=(Step(1.0, Write("n1", "settings", 1)),), safety_s=5.0)
    run = Run.of(plan, runtime=runtime)
    limit = at_once_max(plan)
    assert run.verdict == "crash"
    assert f"events at one instant number {limit + 1} at 1.0" in run.violations[0].sentence
    assert f"the limit is {limit}" in run.violations[0].sentence


def test_many_events_at_one_instant_are_not_taken_for_a_standstill_when_time_goes_on() -> None:
    heap, seen = EventHeap(at_once_max=10), list[int]()
    for number in range(95):
        heap.post_at(number // 9, partial(seen.append, number))
    while heap.run_next():
        pass
    assert seen == list(range(95))


def test_a_plan_is_played_without_importing_trio() -> None:
    code = "import sys; from simulator import Run, draw; Run.of(draw(1)); print('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


# Where two runs part -------------------------------------------------------------------------------------------------


def test_equal_traces_do_not_part() -> None:
    one, other = (play(draw(3), keep_trace=True).trace for _ in range(2))
    assert first_divergence(one, other) is None


def test_the_first_difference_is_named_with_what_came_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = play(draw(3), keep_trace=True).trace
    original, calls = Switchboard.now, [0]

    def now_with_a_leak(board: Switchboard) -> Now:
        calls[0] += 1
        now = original(board)
        return Now(now.wall_ns + 1024 * (calls[0] > 200), now.monotonic_s)

    monkeypatch.setattr(Switchboard, "now", now_with_a_leak)
    leaky = play(draw(3), keep_trace=True).trace
    divergence = first_divergence(reference, leaky)
    assert divergence is not None
    assert reference[: divergence.seq] == leaky[: divergence.seq]
    assert divergence.fields == ("payload",)
    text = "\n".join(divergence.lines("kernel", "leaky"))
    assert f"event #{divergence.seq} is the first that differs in payload" in text
    assert "payloads part at byte" in text


def test_a_trace_that_ends_early_parts_where_it_ends() -> None:
    trace = play(draw(3), keep_trace=True).trace
    divergence = first_divergence(trace, trace[:7])
    assert divergence is not None
    assert (divergence.seq, divergence.other) == (7, None)
    assert divergence.lines()[-1] == "  other  has ended"
    assert "is only in one of them" in divergence.lines()[0]
