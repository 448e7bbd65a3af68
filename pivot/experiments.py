"""Experiments: `pivot sim`, the simulator on the command line.

Layer: edge. The only way from `pivot` to `simulator`: each command imports what it needs when it runs.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from pivot.verbs import Json

sim = App(
    name="sim", help="Experiments in the simulator: play plans, fuzz, shrink what fails.", help_format="plaintext"
)

Nodes = Annotated[int | None, Parameter(help="Nodes in each plan, besides the leader; none: 1 to 4.")]
Nemesis = Annotated[str | None, Parameter(help="Kinds of faults, comma separated; none: all.")]
Runtime = Annotated[
    Literal["kernel", "trio"], Parameter(help="What plays: the fast kernel, or the reference; the runs are the same.")
]


@sim.command
def run(
    *,
    seed: Annotated[int, Parameter(help="Draws the plan, and is the seed of all its chance.")] = 0,
    nodes: Nodes = None,
    nemesis: Nemesis = None,
    save: Annotated[Path | None, Parameter(help="Save the plan in this file.")] = None,
    runtime: Runtime = "kernel",
    as_json: Json = False,
) -> int:
    """Play the plan that a seed draws."""
    from simulator.commands.plans import run

    return run(seed=seed, nodes=nodes, nemesis=nemesis, save=save, runtime=runtime, as_json=as_json)


@sim.command
def fuzz(
    *,
    trials: Annotated[int, Parameter(help="How many plans.")] = 100,
    seed: Annotated[int, Parameter(help="Seed of the first plan; the others follow it.")] = 0,
    nodes: Nodes = None,
    nemesis: Nemesis = None,
    shrink: Annotated[bool, Parameter(help="Shrink plans that fail.")] = True,
    runs: Annotated[Path, Parameter(help="Folder for the results: a folder in it for each campaign.")] = Path("runs"),
    resume: Annotated[
        Path | None, Parameter(help="Go on with the campaign in this folder; it knows its plans.")
    ] = None,
    workers: Annotated[int | None, Parameter(help="Processes that play; none: as many as cores.")] = None,
    dask: Annotated[str | None, Parameter(help="Address of a Dask cluster that plays instead.")] = None,
    plant: Annotated[str, Parameter(help="Bug to plant, module:function; to see that it is found.")] = "",
    runtime: Runtime = "kernel",
    as_json: Json = False,
) -> int:
    """Play drawn plans and check each; those that fail are shrunk and saved."""
    from simulator.commands.fuzz import FuzzOptions, fuzz

    options = FuzzOptions(
        trials=trials,
        seed=seed,
        nodes=nodes,
        nemesis=nemesis,
        runtime=runtime,
        bug=plant,
        shrink=shrink,
        runs=runs,
        resume=resume,
        workers=workers,
        dask=dask,
        as_json=as_json,
    )
    return fuzz(options)


@sim.command
def replay(
    file: Path,
    /,
    *,
    mutant: Annotated[str, Parameter(help="Mutant to plant; none: none.")] = "",
    runtime: Runtime = "kernel",
    as_json: Json = False,
) -> int:
    """Play the plan in a file."""
    from simulator.commands.plans import replay

    return replay(file, mutant=mutant, runtime=runtime, as_json=as_json)


@sim.command
def shrink(
    file: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Where the small plan goes; none: FILE with .shrunk.json.")] = None,
    tries: Annotated[int, Parameter(help="Most plans that are played.")] = 400,
    seconds: Annotated[float, Parameter(help="Longest it may take.")] = 20.0,
    runtime: Runtime = "kernel",
    as_json: Json = False,
) -> int:
    """Make the plan in a file as small as it can be and still fail in the same way; say what each part contributes."""
    from simulator.commands.plans import shrink

    return shrink(file, out=out, tries=tries, seconds=seconds, runtime=runtime, as_json=as_json)


@sim.command
def report(
    folder: Path = Path("runs/latest"),
    /,
    *,
    form: Annotated[Literal["html", "markdown"], Parameter(help="What to write.")] = "html",
    out: Annotated[Path | None, Parameter(help="Where it goes; none: into the folder.")] = None,
    as_json: Json = False,
) -> int:
    """Write a page about a campaign: verdicts, what was reached, what faults did, failures."""
    from simulator.commands.reporting import report

    return report(folder, form=form, out=out, as_json=as_json)


@sim.command
def matrix(
    *,
    seeds: Annotated[int, Parameter(help="How many plans in each column.")] = 400,
    mutant: Annotated[str | None, Parameter(help="Mutants, comma separated; none: all.")] = None,
    column: Annotated[
        str | None, Parameter(help="Of partitions, network and everything, comma separated; none: all.")
    ] = None,
    runs: Annotated[Path, Parameter(help="Folder for the results: a folder in it for each matrix.")] = Path("runs"),
    resume: Annotated[Path | None, Parameter(help="Go on with the matrix in this folder.")] = None,
    workers: Annotated[int | None, Parameter(help="Processes that play; none: as many as cores.")] = None,
    markdown: Annotated[bool, Parameter(help="Print a Markdown table.")] = False,
    as_json: Json = False,
) -> int:
    """Plant known bugs, one at a time, and see which checker notices in which plans, and how soon."""
    from simulator.commands.matrix import MatrixOptions, matrix

    options = MatrixOptions(
        seeds=seeds,
        mutants=mutant,
        columns=column,
        runs=runs,
        resume=resume,
        workers=workers,
        markdown=markdown,
        as_json=as_json,
    )
    return matrix(options)


@sim.command
def explore(
    *,
    nodes: Annotated[int, Parameter(help="Nodes besides the leader, 1 or 2.")] = 1,
    operations: Annotated[int, Parameter(help="Most writes and deletions in a plan, 1 to 3.")] = 1,
    delays: Annotated[int, Parameter(help="Most delays in a schedule.")] = 1,
    faults: Annotated[int, Parameter(help="Most faults in a schedule.")] = 1,
    schedules: Annotated[int, Parameter(help="Most schedules of one plan.")] = 10_000_000,
    mutant: Annotated[str, Parameter(help="Mutant to plant; to see that it is found.")] = "",
    runs: Annotated[Path, Parameter(help="Folder for schedules that violate something.")] = Path("runs"),
    workers: Annotated[int | None, Parameter(help="Processes that explore; none: as many as cores.")] = None,
    as_json: Json = False,
) -> int:
    """Play all schedules of all small plans, within bounds; whatever none of them violates is proved for these."""
    from simulator.commands.exploring import ExploreOptions, explore

    options = ExploreOptions(
        nodes=nodes,
        operations=operations,
        delays=delays,
        faults=faults,
        schedules=schedules,
        mutant=mutant,
        runs=runs,
        workers=workers,
        as_json=as_json,
    )
    return explore(options)


@sim.command
def determinism(
    *,
    seeds: Annotated[int, Parameter(help="How many seeds.")] = 100,
    seed: Annotated[int, Parameter(help="The first of them.")] = 0,
    nodes: Nodes = None,
    nemesis: Nemesis = None,
    plant: Annotated[str, Parameter(help="Leak to plant, module:function; to see that it is named.")] = "",
    runtime: Runtime = "kernel",
    as_json: Json = False,
) -> int:
    """Play each seed again, in other processes, under other hash seeds, with noise on the heap; all must be equal."""
    from simulator.commands.checking import determinism

    return determinism(
        seeds=seeds, seed=seed, nodes=nodes, nemesis=nemesis, runtime=runtime, bug=plant, as_json=as_json
    )


@sim.command
def draw(seed: int, /, *, nodes: Nodes = None) -> None:
    """Print the plan that a seed draws."""
    from simulator.experiment.draw import draw

    sys.stdout.write(draw(seed, nodes=nodes).to_json().decode() + "\n")
