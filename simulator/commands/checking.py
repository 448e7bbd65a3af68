"""Checking: the simulator's check of itself, on the terminal.

Layer: simulator (edge). Data goes to stdout, talk to stderr. Exit codes: 0 all runs are equal, 1 some are not.
"""

import json

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulator.commands.fuzz import nemeses_of
from simulator.errors import BadPlanError
from simulator.experiment.determinism import OTHERS, PLAIN, check
from simulator.experiment.trial import Task
from simulator.runtimes.base import RuntimeName

_SHOWN_MAX = 20


def determinism(
    *, seeds: int, seed: int, nodes: int | None, nemesis: str | None, runtime: RuntimeName, bug: str, as_json: bool
) -> int:
    """Play seeds `seed` to `seed + seeds - 1` under several circumstances; name those that differ, and where.

    Raises:
        BadPlanError: a number or a kind of fault cannot be.
        SimulationError: a process failed.
    """
    if seeds < 1:
        raise BadPlanError("seeds", f"is {seeds}, it must be at least 1")
    task = Task(nodes=nodes, nemeses=nemeses_of(nemesis), runtime=runtime, bug=bug)
    task.plan(seed)  # refuses what cannot be before anything is begun
    talk = Console(stderr=True)
    columns = (TextColumn("determinism"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk) as progress:
        bar = progress.add_task("", total=seeds)
        found = check(range(seed, seed + seeds), task, on_block=lambda count: progress.advance(bar, count))
    plays = 2 + len(OTHERS)
    if as_json:
        objects = [
            {
                "seed": each.seed,
                "where": each.where,
                "event": each.event,
                "file": None if each.place is None else each.place.file,
                "line": None if each.place is None else each.place.line,
            }
            for each in found
        ]
        print(json.dumps({"seeds": seeds, "seed": seed, "plays": plays, "differences": objects}))
        return 1 if found else 0
    for each in found[:_SHOWN_MAX]:
        talk.print(f"DIFFERS {each.sentence}", markup=False, highlight=False, soft_wrap=True)
    print(f"{seeds} seeds from {seed} on, {plays} plays each: {len(found)} differences")
    talk.print(f"played twice in {PLAIN.sentence}", highlight=False)
    for circumstances in OTHERS:
        talk.print(f"and once in {circumstances.sentence}", highlight=False)
    return 1 if found else 0
