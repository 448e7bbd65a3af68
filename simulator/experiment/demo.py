"""Demo: "the leader goes away", by real processes over HTTP and then in the simulator.

Layer: simulator/experiment; the story behind `pivot demo`. Start at `run_demo`.
"""

import json
import signal
from collections import Counter
from typing import Final

import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pivot.printing import Out
from pivot.types import JsonValue
from simulator.experiment.history import LedgerLine
from simulator.experiment.operations import Delete, Operation, Write
from simulator.experiment.plan import LEADER, Plan, Step
from simulator.experiment.simulation import Run
from simulator.experiment.verbs import crash, delete, restart, settle, write
from simulator.live.cluster import live_cluster
from simulator.live.player import LiveOutcome, play_live

WITHIN_S: Final = 15.0
"""How long convergence may take."""
_ENDINGS: Final = (signal.SIGTERM, signal.SIGHUP)
State = dict[str, dict[str, JsonValue]]


def story(seed: int) -> Plan:
    """The leader dies with everything it had in memory; its nodes go on, then rebuild it."""
    steps: list[tuple[float, Operation]] = [
        (0.6, write(LEADER, "settings", "light")),
        (0.8, write(LEADER, "users/ann", {"age": 41})),
        (1.0, write("n1", "users/bob", {"age": 30})),
        (1.2, write("n2", "users/eve", {"age": 25})),
        (1.4, write(LEADER, "motd", "hello")),
        (1.6, settle()),
        (1.8, crash(LEADER)),
        (2.3, write("n1", "settings", "dark")),
        (2.6, write("n2", "settings", "blue")),
        (2.9, delete("n1", "users/ann")),
        (3.2, write("n2", "users/eve", {"age": 26})),
        (3.5, write("n1", "users/dan", {"age": 52})),
        (3.8, delete("n2", "motd")),
        (4.1, write("n2", "users/fay", {"age": 19})),
        (4.4, restart(LEADER)),
    ]
    return Plan(
        seed=seed,
        nodes=2,
        keys=("settings", "motd", "users/*"),
        steps=tuple(Step(at_s, operation) for at_s, operation in steps),
        safety_s=5.0,
    )


def run_demo(*, seed: int, as_json: bool) -> int:
    """Tell the story twice and compare; returns the exit code: 0 equal and nothing lost, 1 not.

    Args:
        seed: of the simulated half.
        as_json: print one JSON object instead of pictures.

    Raises:
        LiveClusterError: a process did not come up, or members did not become equal when they had to.
    """
    plan = story(seed)
    talk = Out(stderr=True)
    live = trio.run(_play, plan, talk)
    talk.print("the same plan in the simulator")
    run = Run.of(plan)
    problems = _problems(live, run)
    if as_json:
        print(json.dumps(_as_json(live, run, problems)))  # noqa: T201 - data goes to stdout
    else:
        _show(plan, live, run, problems)
    return 1 if problems else 0


async def _play(plan: Plan, talk: Console) -> LiveOutcome:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk) as progress:
        task = progress.add_task("start a leader and two nodes", total=len(plan.steps) + 1)
        async with trio.open_nursery() as nursery:
            await nursery.start(_end_when_terminated)
            async with live_cluster(plan) as cluster:
                addresses = ", ".join(f"{name} {cluster.url(name)}" for name in plan.members)
                talk.print(f"real processes, talking HTTP: {addresses}", soft_wrap=True)
                outcome = await play_live(cluster, within_s=WITHIN_S, tell=lambda step: _tell(progress, task, step))
            progress.update(task, advance=1, description="the live half is done")
            nursery.cancel_scope.cancel()
        return outcome


async def _end_when_terminated(*, task_status: trio.TaskStatus[None]) -> None:
    """Unwind on SIGTERM, and on SIGHUP unless `nohup` ignores it, as on Ctrl-C: no member's process outlives us."""
    hears = [number for number in _ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]
    with trio.open_signal_receiver(*hears) as signals:
        task_status.started()
        async for number in signals:
            raise SystemExit(128 + number)


def _tell(progress: Progress, task: TaskID, operation: Operation | None) -> None:
    line = "wait until all members are equal" if operation is None else describe(operation)
    if operation is not None:
        progress.advance(task)
    progress.update(task, description="leader goes away")
    progress.console.print(f"  {line}", markup=False, soft_wrap=True)


def describe(operation: Operation) -> str:
    """An operation of the story in a sentence."""
    match operation:
        case Write():
            return f"write at {operation.member}: {operation.key} = {json.dumps(operation.value)}"
        case Delete():
            return f"delete at {operation.member}: {operation.pattern}"
        case _ if operation == settle():
            return "wait until both nodes have everything the leader has, its own writes too"
        case _ if operation == crash(LEADER):
            return "kill the leader's process (SIGKILL): its state was in memory, and is gone"
        case _ if operation == restart(LEADER):
            return "start the leader again: empty, a new epoch; its nodes rebuild it"
        case _:
            raise AssertionError(operation)


def _problems(live: LiveOutcome, run: Run) -> list[str]:
    """Everything that is not as it must be, one line each."""
    problems = [f"simulator: {violation.sentence}" for violation in run.violations]
    if live.converged_s is None:
        problems.append(f"the live members were not equal after {WITHIN_S:g} s")
    problems += [f"{name} refused an operation: {why}" for name, why in _refused(live)]
    for where, ledger in (("live", live.ledger), ("simulator", run.ledger)):
        problems += [
            f"{where}: {line.kind} {line.key} at {line.member} was lost" for line in ledger if line.fate == "lost"
        ]
    expected = live.state.get(LEADER, {})
    for where, state in (("live", live.state), ("simulator", run.state)):
        for member, table in state.items():
            for key in sorted(dict.fromkeys((*expected, *table))):
                if expected.get(key) != table.get(key):
                    problems.append(
                        f"{where}: {member} has {key} = {json.dumps(table.get(key))}, "
                        f"the live leader has {json.dumps(expected.get(key))}"
                    )
    return problems


def _refused(live: LiveOutcome) -> list[tuple[str, str]]:
    return [(record.member, record.reason) for record in live.records if record.outcome != "ok"]


def _fates(ledger: tuple[LedgerLine, ...]) -> dict[str, int]:
    counts = Counter(line.fate for line in ledger)
    return {"acknowledged": len(ledger), **{fate: counts[fate] for fate in ("won", "superseded", "gone", "lost")}}


def _as_json(live: LiveOutcome, run: Run, problems: list[str]) -> dict[str, object]:
    return {
        "live": {"converged_s": live.converged_s, "state": live.state, "ledger": _fates(live.ledger)},
        "simulator": {
            "seed": run.seed,
            "hash": run.hash,
            "converged_s": run.outcome.converged_s,
            "state": run.state,
            "ledger": _fates(run.ledger),
        },
        "problems": problems,
    }


def _account(live: LiveOutcome) -> Table:
    """What became of every write that a member acknowledged."""
    values = {record.id: json.dumps(record.value) for record in live.records if record.kind != "delete"}
    table = Table(
        title="What was written, and what became of it (the last write wins)", title_justify="left", box=SIMPLE_HEAD
    )
    for column in ("#", "asked", "change", "outcome"):
        table.add_column(column)
    for line in live.ledger:
        change = f"{line.key} = {values[line.id]}" if line.id in values else f"delete {line.key}"
        outcome = f"superseded by #{line.by}" if line.fate == "superseded" else line.fate
        table.add_row(str(line.id), line.member, escape(change), outcome)
    return table


def _show(plan: Plan, live: LiveOutcome, run: Run, problems: list[str]) -> None:
    out = Out()
    columns = {f"{name}": live.state[name] for name in plan.members}
    columns["simulator"] = run.state[LEADER]
    table = Table(title="What every member has at the end", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("key")
    for name in columns:
        table.add_column(name)
    written = [record.target for record in live.records]
    for key in sorted(dict.fromkeys(written)):
        cells = [escape(json.dumps(state[key])) if key in state else "deleted" for state in columns.values()]
        table.add_row(key, *(cell if cell == cells[0] else f"[red]{cell}[/red]" for cell in cells))
    out.print(table)
    out.print(_account(live))
    fates = _fates(live.ledger)
    took = "never" if live.converged_s is None else f"{live.converged_s:.2f} s after the leader was back"
    counted = ", ".join(f"{name} {count}" for name, count in fates.items())
    out.print(f"live: converged {took}; {counted}", soft_wrap=True)
    out.print(
        f"simulator: seed {run.seed}, hash {run.hash}, {run.outcome.events} events; "
        + ", ".join(f"{name} {count}" for name, count in _fates(run.ledger).items()),
        soft_wrap=True,
    )
    for problem in problems:
        out.print(f"[red]DIFFERS[/red] {escape(problem)}")
    if not problems:
        out.print("same final state in both worlds; lost: 0")
