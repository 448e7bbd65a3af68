"""Recipe: how to see a failure again: a command, a line for pytest, a notebook cell, and a card with all of them.

Layer: simulator/experiment. Start at `card`.
"""

import shlex
from pathlib import Path
from typing import Final, cast

import msgspec

from simulator.experiment.explanation import Shrunk
from simulator.experiment.plan import Plan

_FOUND: Final = "tests/scenarios/test_found.py::test_a_plan_that_failed_once_is_all_right_now"


def replay_command(file: Path | str) -> str:
    """The command that plays the plan in a file."""
    return f"pivot sim replay {shlex.quote(str(file))}"


def pytest_line(file: Path | str) -> str:
    """The line that makes the plan in a file a test of this repository, and runs it."""
    test = shlex.quote(f"{_FOUND}[{Path(file).stem}]")
    return f"cp {shlex.quote(str(file))} tests/scenarios/plans/ && pytest {test}"


def notebook_cell(plan: Plan) -> str:
    """Python that builds and plays a plan, whatever is in it; its last line shows the run."""
    plain = Plan(seed=0, nodes=1, safety_s=0.0)
    named = ("keys", "nodes_key", "durability", "weather", "links", "knobs", "deviations")
    settings = {name: getattr(plan, name) for name in named if getattr(plan, name) != getattr(plain, name)}
    arguments = "".join(f", {name}={value!r}" for name, value in settings.items())
    used: dict[type, None] = {}
    for value in (*settings.values(), *(step.operation for step in plan.steps)):
        _note_types(value, used)
    lines = ["from simulator import Simulation"]
    for module in sorted(dict.fromkeys(kind.__module__ for kind in used)):
        names = sorted(kind.__name__ for kind in used if kind.__module__ == module)
        lines.append(f"from {module} import {', '.join(names)}")
    lines += ["", f"simulation = Simulation(nodes={plan.nodes}, seed={plan.seed}{arguments})"]
    lines += [f"simulation.at({step.at_s!r}, {step.operation!r})" for step in plan.steps]
    lines += [f"run = simulation.run(until={plan.safety_s!r})", "run"]
    return "\n".join(lines)


def card(shrunk: Shrunk, file: Path | str) -> list[str]:
    """Everything there is to say about a failure, line by line."""
    plan = shrunk.plan
    lines = [
        f"{shrunk.symptom.checker}: {shrunk.sentence}",
        f"seed {plan.seed}, {', '.join(plan.members)}; {counted(shrunk)}",
    ]
    for entry in shrunk.entries:
        lines.append(f"  {entry.what}")
        lines.append(f"      without it {entry.without}" if entry.without else "      not tried without it")
    lines += [
        inevitable(shrunk),
        f"replay:   {replay_command(file)}",
        f"test:     {pytest_line(file)}",
        "notebook:",
        *(f"    {line}".rstrip() for line in notebook_cell(plan).splitlines()),
    ]
    return lines


def counted(shrunk: Shrunk) -> str:
    """How much smaller it is."""
    return (
        f"shrunk {shrunk.steps_before} -> {len(shrunk.plan.steps)} events "
        f"({shrunk.tries} plans played in {shrunk.seconds:.1f} s)"
    )


def inevitable(shrunk: Shrunk) -> str:
    """The point of no return, in a sentence."""
    at_s = shrunk.inevitable_s
    if at_s is None:
        return "point of no return: none; repairing everything, whenever it was tried, prevents it"
    if at_s == 0:
        return "point of no return: the start; it goes wrong without any fault of links, processes, disks or clocks"
    return f"point of no return: {at_s:g} s; repaired a millisecond earlier, and kept so, it does not happen"


def _note_types(value: object, used: dict[type, None]) -> None:
    if isinstance(value, msgspec.Struct):
        used[type(value)] = None
        for name in value.__struct_fields__:
            _note_types(getattr(value, name), used)
    elif isinstance(value, tuple):
        for item in cast("tuple[object, ...]", value):
            _note_types(item, used)
