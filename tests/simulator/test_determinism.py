"""Same seed, same hash: again, in fresh processes, under other hash seeds, with heap noise; else a line is named."""

import linecache
from pathlib import Path

import pytest

from simulator import Run, draw
from simulator.experiment.determinism import AGAIN, OTHERS, Difference, check, explain
from simulator.experiment.trial import Task
from tests.e2e.processes import pivot

SEEDS = 24
LEAKS = Path(__file__).with_name("leaks.py")


@pytest.mark.parametrize(
    "seeds",
    [SEEDS, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(8 * 3600)])],
)
def test_a_run_is_the_same_again_and_in_fresh_processes_under_other_circumstances(seeds: int) -> None:
    done: list[int] = []
    assert check(range(seeds), Task(), on_block=done.append) == []
    assert sum(done) == seeds


def test_different_seeds_give_different_runs() -> None:
    hashes = [Run.of(draw(seed)).hash for seed in range(20)]
    assert len(dict.fromkeys(hashes)) == 20


def test_keeping_the_trace_does_not_change_the_hash() -> None:
    plan = draw(11)
    assert Run.of(plan, keep_trace=True).hash == Run.of(plan).hash


@pytest.mark.parametrize("leak", ["clock", "chance", "set_order", "identity", "thread"])
def test_a_leak_is_named_with_file_and_line(leak: str) -> None:
    task = Task(nodes=1, nemeses=(), bug=f"tests.simulator.leaks:{leak}")
    where = f"in {OTHERS[1].sentence}" if leak == "set_order" else AGAIN
    found = explain(Difference(0, where, "", None), task)
    assert found.event.startswith("event ")
    assert found.place is not None
    assert found.place.file == str(LEAKS)
    assert found.place.function.startswith(leak)
    assert linecache.getline(found.place.file, found.place.line).endswith("# leak\n")


def test_a_leak_is_found_by_the_command_and_exits_with_1() -> None:
    environment = {"PYTHONPATH": str(LEAKS.parents[2])}
    arguments = ("--seeds", "1", "--nodes", "1", "--nemesis", "crash", "--plant", "tests.simulator.leaks:clock")
    code, out, err = pivot("sim", "determinism", *arguments, environment=environment)
    assert code == 1, err
    assert out == "1 seeds from 0 on, 4 plays each: 1 differences\n"
    assert "leaks.py" in err
