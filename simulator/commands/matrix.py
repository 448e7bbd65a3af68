"""Matrix: the kill matrix on the terminal, or as Markdown for a page.

Layer: simulator (edge). Data goes to stdout, talk to stderr. Exit codes: 0 all mutants were killed and no plan failed
without them, 1 some survived or some plan did. Start at `matrix`.
"""

import json
from pathlib import Path
from typing import Final, final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from simulator.errors import BadPlanError
from simulator.experiment.crew import Processes, spread
from simulator.experiment.matrix import COLUMNS, DIRECTED, Cell, Folder, Line, Played, cells, play
from simulator.experiment.mutants.catalogue import MUTANTS
from simulator.stopwatch import date_and_time

_WIDTH: Final = 150


@final
class MatrixOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says.

    Attributes:
        seeds: how many plans in each column.
        mutants: names, comma separated; None = all.
        columns: names, comma separated; None = all.
        runs: folder for the results.
        resume: folder of a matrix to go on with; None = a new one.
        workers: how many processes; None = as many as cores.
        markdown: whether to print a Markdown table.
        as_json: whether to print for machines.
    """

    seeds: int
    mutants: str | None
    columns: str | None
    runs: Path
    resume: Path | None
    workers: int | None
    markdown: bool
    as_json: bool


def matrix(options: MatrixOptions) -> int:
    """Play every plan as it is and with each mutant; say which mutants are killed, by whom, and what that takes.

    Raises:
        BadPlanError: a number, a mutant or a column cannot be.
        NoCampaignError: the results cannot be read or written.
        CrewError: a worker died.
        KeyboardInterrupt: Ctrl-C; what was played is kept.
    """
    if options.seeds < 1:
        raise BadPlanError("seeds", f"is {options.seeds}, it must be at least 1")
    if options.workers is not None and options.workers < 1:
        raise BadPlanError("workers", f"is {options.workers}, it must be at least 1")
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    mutants = tuple(by_name[name] for name in _names("mutant", options.mutants, tuple(by_name)))
    columns = _names("column", options.columns, tuple(COLUMNS))
    wanted = cells(mutants, columns, options.seeds)
    folder = Folder(options.resume or options.runs / f"matrix-{date_and_time()}")
    played: dict[Cell, Played] = {each.cell: each for each in folder.played()}
    _play(folder, [cell for cell in wanted if cell not in played], played, options)
    lines = [Line.of(mutant, (played[cell] for cell in wanted)) for mutant in mutants]
    alarms = [played[cell] for cell in wanted if played[cell].alarms]
    _print(options, columns, lines, alarms)
    return 0 if all(line.killed for line in lines) and not alarms else 1


def _names(what: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    names = known if text is None else tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in known:
            raise BadPlanError(what, f"is {name!r}, known are {', '.join(known)}")
    return tuple(dict.fromkeys(names))


def _play(folder: Folder, missing: list[Cell], played: dict[Cell, Played], options: MatrixOptions) -> None:
    console = Console(stderr=True)
    said = TextColumn("{task.description}")
    columns = (TextColumn("matrix"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), said)
    kills = sum(shot.killed for each in played.values() for shot in each.shots)
    with Progress(*columns, console=console) as progress:
        total = len(played) + len(missing)
        bar = progress.add_task(f"{kills} kills", total=total, completed=len(played))

        def show(_: Cell, each: Played) -> None:
            nonlocal kills
            folder.add(each)
            played[each.cell] = each
            kills += sum(shot.killed for shot in each.shots)
            progress.update(bar, advance=1, description=f"{kills} kills")

        try:
            spread(Processes(options.workers), play, missing, show)
        except KeyboardInterrupt:
            console.print(f"interrupted; go on:  pivot sim matrix --resume {folder.path}", markup=False, soft_wrap=True)
            raise


def _print(options: MatrixOptions, columns: tuple[str, ...], lines: list[Line], alarms: list[Played]) -> None:
    shown = tuple(column for column in (*columns, DIRECTED) if any(column in line.kills for line in lines))
    survivors = [line.mutant for line in lines if not line.killed]
    if options.as_json:
        found = {
            "seeds": options.seeds,
            "lines": [msgspec.to_builtins(line) for line in lines],
            "survivors": survivors,
            "alarms": [msgspec.to_builtins(each.cell) | {"checkers": each.alarms} for each in alarms],
        }
        print(json.dumps(found))
        return
    heads = ["mutant", "what is wrong", "breaks", *shown, "marked", "checker", "fault needed"]
    rows = [_row(line, shown) for line in lines]
    if options.markdown:
        print("\n".join(_markdown(row) for row in (heads, ["---"] * len(heads), *rows)))
    else:
        table = Table(*heads, title=f"kills of {options.seeds} plans (first seed that kills)")
        for row in rows:
            table.add_row(*row)
        console = Console()
        (console if console.is_terminal else Console(width=_WIDTH)).print(table)
    print(f"{len(lines) - len(survivors)} of {len(lines)} mutants killed; survivors: {', '.join(survivors) or 'none'}")
    for each in alarms:
        print(f"ALARM {each.cell.column} seed {each.cell.seed} without any mutant: {', '.join(each.alarms)}")


def _row(line: Line, columns: tuple[str, ...]) -> list[str]:
    counts = [_count(line, column) for column in columns]
    checker = next(iter(line.checkers), "none")
    return [line.mutant, line.wrong, line.breaks, *counts, str(line.marked), checker, ", ".join(line.takes) or "none"]


def _count(line: Line, column: str) -> str:
    """How many plans kill it, and which is the first."""
    kills = line.kills.get(column)
    if kills is None:
        return ""
    return f"{kills} ({line.first[column]})" if kills else "0"


def _markdown(cells_: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells_) + " |"
