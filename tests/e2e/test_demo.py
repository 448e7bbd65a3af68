"""`pivot demo` as a user runs it: to its end, interrupted, and when the two worlds differ."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pivot.__main__ import run
from pivot.replies import Item
from pivot.types import JsonValue
from simulator.experiment import demo
from simulator.experiment.history import LedgerLine, Record
from simulator.experiment.plan import Plan
from simulator.experiment.simulation import Run
from simulator.live.player import LiveOutcome
from tests.e2e.processes import COMMAND, WAIT_S, clean_environment, eventually


def members_of(session: int) -> list[str]:
    """Command lines of the `pivot serve` processes whose grandparent story is `session`, told by a variable of it."""
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                environment = (process / "environ").read_bytes()
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # ended meanwhile
            if f"DEMO_TEST={session}".encode() in environment.split(b"\0"):
                found.append(line)
    return found


def start_demo(folder: Path, *flags: str) -> "subprocess.Popen[str]":
    environment = {**clean_environment(), "DEMO_TEST": str(os.getpid()), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [*COMMAND, "demo", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    )


def test_the_demo_ends_with_equal_members_nothing_lost_and_nothing_left_behind(tmp_path: Path) -> None:
    with start_demo(tmp_path, "--json") as process:
        out, err = process.communicate(timeout=2 * WAIT_S)
    assert process.returncode == 0, err
    said = json.loads(out)
    assert said["problems"] == []
    assert said["live"]["state"]["n1"] == said["live"]["state"]["leader"] == said["simulator"]["state"]["n2"]
    assert said["live"]["state"]["leader"] == {
        "settings": "blue",
        "users/bob": {"age": 30},
        "users/dan": {"age": 52},
        "users/eve": {"age": 26},
        "users/fay": {"age": 19},
    }
    assert said["live"]["ledger"] == {"acknowledged": 12, "won": 7, "superseded": 5, "gone": 0, "lost": 0}
    assert len(said["simulator"]["hash"]) == 32
    assert "wait until both nodes have everything" in err
    assert list(tmp_path.iterdir()) == []
    assert members_of(os.getpid()) == []


def wait_until_all_members_run(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if "write at leader" in line:
            break
    assert len(members_of(os.getpid())) == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_demo_leaves_no_process_and_no_file(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with start_demo(tmp_path) as process:
        wait_until_all_members_run(process)
        process.send_signal(number)
        _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == code
    assert "Traceback" not in err
    assert members_of(os.getpid()) == []
    assert list(tmp_path.iterdir()) == []


def test_the_members_of_a_demo_end_by_themselves_when_it_is_killed(tmp_path: Path) -> None:
    with start_demo(tmp_path) as process:
        wait_until_all_members_run(process)
        process.kill()
    eventually(lambda: members_of(os.getpid()) == [])


STRANGE = "[red]x[/red] [/nonsense]"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The live half of the demo is one write that was not read back everywhere."""

    async def play(plan: Plan, _: object) -> LiveOutcome:
        there = {"settings": Item[JsonValue](1, 0, "settings", "settings", STRANGE)}
        return LiveOutcome(
            converged_s=0.5,
            tables={**dict.fromkeys(plan.members, there), "n1": {}},
            records=(Record(id=1, member="n2", kind="write", target="settings", value=STRANGE, invoked_s=0.0),),
            ledger=(LedgerLine(1, "n2", "write", "settings", 1, "won", 0),),
        )

    monkeypatch.setattr(demo, "_play", play)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("told")
def test_values_are_shown_letter_for_letter_also_when_they_look_like_markup(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run_demo(seed=1, as_json=False) == 1
    out = capsys.readouterr().out
    assert out.count(STRANGE) > 4  # three members, the account, and each problem
    assert f'DIFFERS live: n1 has settings = null, the live leader has "{STRANGE}"' in out


@pytest.mark.usefixtures("told")
def test_a_demo_whose_output_nobody_reads_on_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert run(["demo"]) == 0
    assert "Broken" not in capsys.readouterr().err


def test_a_state_that_differs_is_named_and_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def other(plan: Plan) -> Run:
        """The simulator plays the story without its last write."""
        steps = tuple(step for step in plan.steps if "users/fay" not in demo.describe(step.operation))
        return original(Plan(seed=plan.seed, nodes=plan.nodes, keys=plan.keys, steps=steps, safety_s=plan.safety_s))

    original = Run.of
    monkeypatch.setattr(Run, "of", other)
    assert demo.run_demo(seed=1, as_json=False) == 1
    out = capsys.readouterr().out
    assert "DIFFERS" in out
    assert 'simulator: n2 has users/fay = null, the live leader has {"age": 19}' in " ".join(out.split())
    assert "same final state" not in out
