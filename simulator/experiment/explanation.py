"""Explanation: what a failing plan shows: what each entry contributes, and from when on nothing could save it.

Layer: simulator/experiment. Start at `explain`.

The *point of no return* is the earliest moment such that the failure comes although everything is repaired right then
and no later fault happens (clients go on), and so for each later moment that was tried: the times of the steps first,
the latest first, then by bisection, to a millisecond, between the last that fails and the one before it.
"""

from collections.abc import Callable, Iterator
from typing import Final, final

import msgspec
from msgspec.structs import replace

from simulator.experiment.examination import Examination, Symptom, examine
from simulator.experiment.plan import Plan, Step
from simulator.experiment.shrink import Bounds, Trying, shrink
from simulator.experiment.simpler import changed, is_fault, repairs
from simulator.experiment.wording import as_json, describe

_ENTRIES_MAX: Final = 30
_RESOLUTION_S: Final = 0.001
_EXPLAINING: Final = Bounds(tries=100, seconds=30.0)


@final
class Entry(msgspec.Struct, frozen=True):
    """One line of a plan.

    Attributes:
        what: what it says.
        without: what happens when it is gone; empty = not tried.
    """

    what: str
    without: str


@final
class Shrunk(msgspec.Struct, frozen=True, kw_only=True):
    """A failing plan, small and explained.

    Attributes:
        plan: the small plan.
        symptom: how it fails.
        sentence: what goes wrong.
        entries: its lines: settings that are not the default ones, then its steps.
        inevitable_s: point of no return, s from the start (0 = no fault is needed); None = not found within the bounds.
        steps_before: how many steps there were.
        tries: how many plans were played.
        seconds: how long it took, s.
        hash: of the run of the small plan; empty when playing it raises.
    """

    plan: Plan
    symptom: Symptom
    sentence: str
    entries: tuple[Entry, ...]
    inevitable_s: float | None
    steps_before: int
    tries: int
    seconds: float
    hash: str = ""


def shrink_and_explain(
    plan: Plan, found: Examination, bounds: Bounds, *, examining: Callable[[Plan], Examination] = examine
) -> Shrunk:
    """Shrink a plan by the worst of what was found in its run, and explain what is left.

    Args:
        plan: what fails.
        found: how.
        bounds: what shrinking may cost.
        examining: says what comes of a plan.
    """
    symptom = found.symptoms[0]
    trying = Trying(symptom, bounds, examining=examining)
    small = shrink(plan, trying)
    explaining = Trying(symptom, _EXPLAINING, examining=examining)
    again = explaining.examine(small)
    assert again is not None, "nothing was played yet"
    sentences = [v.sentence for v, s in zip(again.violations, again.symptoms, strict=True) if s == symptom]
    return Shrunk(
        plan=small,
        symptom=symptom,
        sentence=sentences[0] if sentences else found.violations[0].sentence,
        entries=tuple(_entries(small, explaining)),
        inevitable_s=point_of_no_return(small, explaining),
        steps_before=len(plan.steps),
        tries=trying.tries + explaining.tries,
        seconds=trying.seconds,
        hash=again.hash,
    )


def point_of_no_return(plan: Plan, trying: Trying) -> float | None:
    """See the module; None when not even repairing at the end of the plan leaves the failure."""
    moments = list(dict.fromkeys(sorted((0.0, plan.safety_s, *(step.at_s for step in plan.steps)))))
    inevitable_s: float | None = None
    avoidable_s = 0.0
    for moment in reversed(moments):
        if not trying.fails(repaired(plan, moment)):
            avoidable_s = moment
            break
        inevitable_s = moment
    if not inevitable_s or trying.exhausted:
        return inevitable_s
    while inevitable_s - avoidable_s > _RESOLUTION_S * 1.5:
        middle_s = round((inevitable_s + avoidable_s) / 2, 3)
        if trying.fails(repaired(plan, middle_s)):
            inevitable_s = middle_s
        else:
            avoidable_s = middle_s
    return inevitable_s


def repaired(plan: Plan, at_s: float) -> Plan:
    """The plan with everything repaired at a time, and without the faults behind it."""
    kept = [step for step in plan.steps if step.at_s <= at_s or not is_fault(step.operation)]
    kept += [Step(at_s, operation) for operation in repairs(plan.members)]
    return replace(plan, steps=tuple(sorted(kept, key=lambda step: step.at_s)))


def _entries(plan: Plan, trying: Trying) -> Iterator[Entry]:
    """Each line of the plan, left out once more."""
    plain = Plan(seed=0, nodes=1, safety_s=0.0)
    for name in ("durability", "weather", "links", "nodes_key", "knobs"):
        default = getattr(plain, name)
        if getattr(plan, name) != default:
            rest = changed(plan, name, default)
            without = next((_without(other, trying) for other in rest), "the plan cannot be played")
            yield Entry(f"{name}: {_difference(getattr(plan, name), default)}", without)
    for place, step in enumerate(plan.steps[:_ENTRIES_MAX]):
        rest = changed(plan, "steps", plan.steps[:place] + plan.steps[place + 1 :])
        without = next((_without(other, trying) for other in rest), "the plan cannot be played")
        yield Entry(f"{step.at_s:g} s  {describe(step.operation)}", without)
    if len(plan.steps) > _ENTRIES_MAX:
        yield Entry(f"and {len(plan.steps) - _ENTRIES_MAX} steps more", "")


def _without(plan: Plan, trying: Trying) -> str:
    found = trying.examine(plan)
    if found is None:
        return ""
    if trying.symptom in found.symptoms:
        return "the same goes wrong"
    if not found.violations:
        return "nothing goes wrong"
    return f"something else goes wrong: {found.violations[0].checker}: {found.violations[0].sentence}"


def _difference(value: object, default: object) -> str:
    if not isinstance(value, msgspec.Struct):
        return value if isinstance(value, str) else as_json(value)
    names = [name for name in value.__struct_fields__ if getattr(value, name) != getattr(default, name)]
    return ", ".join(f"{name} {as_json(getattr(value, name))}" for name in names)
