"""Plans: commands about a single plan: play one that a seed draws or a file holds, shrink one that fails.

Layer: simulator (edge). Data goes to stdout, talk to stderr. Exit codes: 0 nothing found, 1 something found.
"""

import json
import sys
from functools import partial
from pathlib import Path

from simulator.commands.fuzz import nemeses_of
from simulator.errors import BadPlanError
from simulator.experiment.draw import draw
from simulator.experiment.examination import examine
from simulator.experiment.explanation import shrink_and_explain
from simulator.experiment.mutants.catalogue import planted_mutant
from simulator.experiment.plan import Plan
from simulator.experiment.recipe import card, notebook_cell, pytest_line, replay_command
from simulator.experiment.shrink import Bounds
from simulator.experiment.simulation import Run
from simulator.runtimes.base import RuntimeName


def run(
    *, seed: int, nodes: int | None, nemesis: str | None, save: Path | None, runtime: RuntimeName, as_json: bool
) -> int:
    """Play the plan that a seed draws and say how it went.

    Raises:
        BadPlanError: a number or a kind of fault cannot be, or the plan cannot be saved.
    """
    plan = draw(seed, nodes=nodes, nemeses=nemeses_of(nemesis))
    if save is not None:
        _save(plan, save)
    return _play(plan, runtime=runtime, as_json=as_json)


def replay(file: Path, *, mutant: str, runtime: RuntimeName, as_json: bool) -> int:
    """Play the plan in a file and say how it went; with a mutant planted, if one is named.

    Raises:
        BadPlanError: it is no plan.
        UnknownBugError: there is no such mutant.
    """
    with planted_mutant(mutant):
        return _play(Plan.load(file), runtime=runtime, as_json=as_json)


def shrink(file: Path, *, out: Path | None, tries: int, seconds: float, runtime: RuntimeName, as_json: bool) -> int:
    """Make the failing plan in a file as small as it can be, save it and say what it shows.

    Raises:
        BadPlanError: it is no plan, or the small one cannot be saved.
    """
    if tries < 1 or not seconds > 0:
        raise BadPlanError("bounds", f"are {tries} tries and {seconds:g} s, both must be more than 0")
    plan = Plan.load(file)
    examining = partial(examine, runtime=runtime)
    found = examining(plan)
    if not found.violations:
        if as_json:
            print(json.dumps({"seed": plan.seed, "hash": found.hash, "verdict": found.verdict}))
        else:
            print(f"verdict {found.verdict}: nothing to shrink")
        return 0
    shrunk = shrink_and_explain(plan, found, Bounds(tries=tries, seconds=seconds), examining=examining)
    out = out or file.with_suffix(".shrunk.json")
    _save(shrunk.plan, out)
    if not as_json:
        sys.stdout.write("\n".join(card(shrunk, out)) + "\n")
        return 1
    print(
        json.dumps(
            {
                "seed": plan.seed,
                "checker": shrunk.symptom.checker,
                "key": shrunk.symptom.key,
                "what": shrunk.sentence,
                "plan": str(out),
                "events": {"before": shrunk.steps_before, "after": len(shrunk.plan.steps)},
                "entries": [{"what": entry.what, "without": entry.without} for entry in shrunk.entries],
                "inevitable_s": shrunk.inevitable_s,
                "tries": shrunk.tries,
                "seconds": round(shrunk.seconds, 3),
                "replay": replay_command(out),
                "pytest": pytest_line(out),
                "notebook": notebook_cell(shrunk.plan),
            }
        )
    )
    return 1


def _play(plan: Plan, *, runtime: RuntimeName, as_json: bool) -> int:
    run = Run.of(plan, runtime=runtime)
    if as_json:
        sentences = [violation.sentence for violation in run.violations]
        print(json.dumps({"seed": run.seed, "hash": run.hash, "verdict": run.verdict, "violations": sentences}))
    else:
        sys.stdout.write(f"{run!r}\n")
    return 1 if run.violations else 0


def _save(plan: Plan, file: Path) -> None:
    try:
        file.write_bytes(plan.to_json())
    except OSError as error:
        raise BadPlanError(str(file), f"cannot be written: {error.strerror}") from None
