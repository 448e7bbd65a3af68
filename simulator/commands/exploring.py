"""Exploring: a proof within bounds on the terminal.

Layer: simulator (edge). Data goes to stdout, talk to stderr. Exit codes: 0 everything within the bounds was explored
and nothing is violated, 1 something is, or there was too much to explore. Start at `explore`.
"""

import json
from pathlib import Path
from typing import Final, final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulator.errors import BadPlanError
from simulator.experiment.crew import Processes, spread
from simulator.experiment.mutants.catalogue import planted_mutant
from simulator.experiment.recipe import replay_command
from simulator.exploration import explorer
from simulator.exploration.cases import NODES_MAX, OPERATIONS_MAX, cases
from simulator.exploration.explorer import Bounds, Case, Explored, Found
from simulator.stopwatch import date_and_time

_DEVIATIONS_MAX: Final = 4


@final
class ExploreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says.

    Attributes:
        nodes: how many nodes each plan has.
        operations: most operations of a plan.
        delays: most delays of a schedule.
        faults: most faults of a schedule.
        schedules: most schedules of one plan.
        mutant: name of one to plant; empty = none.
        runs: folder for schedules that violate something.
        workers: how many processes; None = as many as cores.
        as_json: whether to print for machines.
    """

    nodes: int
    operations: int
    delays: int
    faults: int
    schedules: int
    mutant: str
    runs: Path
    workers: int | None
    as_json: bool


def explore(options: ExploreOptions) -> int:
    """Explore all schedules of all small plans within bounds, and say what that proves.

    Raises:
        BadPlanError: a number cannot be, or a plan cannot be saved.
        UnknownBugError: there is no such mutant.
        CrewError: a worker died.
        KeyboardInterrupt: Ctrl-C.
    """
    _check(options)
    bounds = Bounds(options.delays, options.faults, options.schedules)
    wanted = [Case(plan, bounds, options.mutant) for plan in cases(options.nodes, options.operations)]
    explored: dict[Case, Explored] = {}
    columns = (TextColumn("explore"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn())
    said = TextColumn("{task.description}")
    with Progress(*columns, said, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(wanted))

        def show(case: Case, one: Explored) -> None:
            explored[case] = one
            schedules = sum(each.schedules for each in explored.values())
            violations = sum(each.found is not None for each in explored.values())
            progress.update(bar, advance=1, description=f"{schedules:,} schedules, {violations} violations")

        spread(Processes(options.workers), explorer.explore, wanted, show)
    done = [explored[case] for case in wanted]
    return _say(options, done, _save(options, [each.found for each in done if each.found is not None]))


def _check(options: ExploreOptions) -> None:
    limits = (
        ("nodes", options.nodes, 1, NODES_MAX),
        ("operations", options.operations, 1, OPERATIONS_MAX),
        ("delays", options.delays, 0, _DEVIATIONS_MAX),
        ("faults", options.faults, 0, _DEVIATIONS_MAX),
        ("schedules", options.schedules, 1, 10**9),
        ("workers", options.workers or 1, 1, 10**3),
    )
    for name, value, least, most in limits:
        if not least <= value <= most:
            raise BadPlanError(name, f"is {value}, allowed is {least} to {most}")
    with planted_mutant(options.mutant):
        pass


def _save(options: ExploreOptions, found: list[Found]) -> list[tuple[Found, Path]]:
    folder = options.runs / f"explore-{date_and_time()}"
    saved = [(each, folder / f"schedule-{number}.json") for number, each in enumerate(found, 1)]
    try:
        for each, file in saved:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(each.plan.to_json())
    except OSError as error:
        raise BadPlanError(str(folder), f"cannot be written: {error.strerror}") from None
    return saved


def _say(options: ExploreOptions, done: list[Explored], saved: list[tuple[Found, Path]]) -> int:
    schedules, pruned, states = (sum(getattr(e, name) for e in done) for name in ("schedules", "pruned", "states"))
    complete = all(each.complete for each in done)
    planted = f" --mutant {options.mutant}" if options.mutant else ""
    if options.as_json:
        violations = [
            {
                "checker": found.violations[0].checker,
                "what": found.violations[0].sentence,
                "deviations": msgspec.to_builtins(found.plan.deviations),
                "hash": found.hash,
                "plan": str(file),
                "replay": replay_command(file) + planted,
            }
            for found, file in saved
        ]
        numbers = {name: getattr(options, name) for name in ("nodes", "operations", "delays", "faults")}
        counts = {"plans": len(done), "schedules": schedules, "pruned": pruned, "states": states}
        print(json.dumps(numbers | counts | {"complete": complete, "violations": violations}))
        return 0 if complete and not saved else 1
    for found, file in saved:
        worst = found.violations[0]
        print(f"VIOLATION {worst.checker}: {worst.sentence}")
        for step in found.plan.steps:
            print(f"  at {step.at_s:g} s: {step.operation}")
        for deviation in found.plan.deviations:
            print(f"  after {deviation.after} events: {deviation.what}")
        print(f"  reproduce:  {replay_command(file)}{planted}")
    print(
        f"1 leader, {options.nodes} nodes, up to {options.operations} operations: {len(done)} plans, {schedules:,} "
        f"schedules ({pruned:,} ended at a known state), {states:,} states"
    )
    bounds = f"at most {options.delays} delays and {options.faults} faults"
    if saved:
        print(f"{len(saved)} plans violate something within these bounds: {bounds}")
    elif complete:
        print(f"nothing was violated within these bounds: {bounds}")
    else:
        print(f"nothing was found, and not everything was explored: a plan has more than {options.schedules} schedules")
    return 0 if complete and not saved else 1
