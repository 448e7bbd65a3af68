"""Commands: what `pivot sim` does.

Layer: simulator (edge). Data goes to stdout, talk to stderr. Exit codes: 0 nothing found, 1 something found.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulator.errors import BadPlanError
from simulator.experiment.draw import NEMESES, draw
from simulator.experiment.plan import Plan
from simulator.experiment.simulation import Run


def fuzz(*, trials: int, seed: int, nodes: int | None, nemesis: str | None, runs: Path, as_json: bool) -> int:
    """Play the plans of seeds `seed` to `seed + trials - 1`; save and name those that fail.

    Raises:
        BadPlanError: a number or a kind of fault cannot be.
    """
    kinds = NEMESES if nemesis is None else tuple(nemesis.split(","))
    for kind in kinds:
        if kind not in NEMESES:
            raise BadPlanError("nemesis", f"is {kind!r}, known are {', '.join(NEMESES)}")
    if trials < 1:
        raise BadPlanError("trials", f"is {trials}, it must be at least 1")
    talk = Console(stderr=True)
    failed = 0
    reached: Counter[str] = Counter()
    columns = (
        TextColumn("fuzz"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=talk) as progress:
        task = progress.add_task("0 failures", total=trials)
        for number in range(seed, seed + trials):
            run = Run.of(draw(number, nodes=nodes, nemeses=kinds))
            reached.update(run.outcome.reached)
            if run.violations:
                failed += 1
                _report(run, runs, talk, as_json=as_json)
            progress.update(task, advance=1, description=f"{failed} failures")
    if as_json:
        print(json.dumps({"trials": trials, "seed": seed, "failed": failed, "reached": dict(sorted(reached.items()))}))
    else:
        talk.print("reached: " + ", ".join(f"{what} {count}" for what, count in sorted(reached.items())), markup=False)
        print(f"{trials} plans, seeds {seed} to {seed + trials - 1}: {failed} failures")
    return 1 if failed else 0


def _report(run: Run, runs: Path, talk: Console, *, as_json: bool) -> None:
    runs.mkdir(parents=True, exist_ok=True)
    file = runs / f"fail-{run.seed:06d}.json"
    run.save(file)
    violation = run.violations[0]
    if as_json:
        print(json.dumps({"seed": run.seed, "verdict": run.verdict, "what": violation.sentence, "plan": str(file)}))
    talk.print(f"FAIL seed={run.seed}  {violation.checker}: {violation.sentence}", markup=False)
    talk.print(f"  reproduce:  pivot sim replay {file}", markup=False)


def replay(file: Path, *, as_json: bool) -> int:
    """Play the plan in a file and say how it went.

    Raises:
        BadPlanError: it is no plan.
    """
    run = Run.of(Plan.load(file))
    if as_json:
        sentences = [violation.sentence for violation in run.violations]
        print(json.dumps({"seed": run.seed, "hash": run.hash, "verdict": run.verdict, "violations": sentences}))
    else:
        sys.stdout.write(f"{run!r}\n")
    return 1 if run.violations else 0
