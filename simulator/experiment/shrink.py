"""Shrink: a plan that fails, made as small as it can be and still fail in the same way.

Layer: simulator/experiment. In the same way = same checker, same key (`Symptom`). Passes, each kept only while the plan
still fails, again and again until none of them helps or a bound is reached: fewer members, whole faults, plainer
settings, single steps, shorter windows, times on a grid, simpler operations. Faults and steps are left out by delta
debugging (Zeller, Hildebrandt: Simplifying and isolating failure-inducing input, TSE 2002). Weather is keyed, so a step
less leaves the rest of it alone. `liveness_s` stays: with less time, what is slow would look like what never ends.
Start at `shrink`.

Why delta debugging is written here: of the libraries, `picire` (last released in 2021) cannot be bounded, and
`shrinkray` works on files and bytes; the algorithm is `minimized`, twenty lines.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil
from typing import Final, TypeVar, final

import msgspec
from msgspec.structs import replace

from pivot.errors import PivotError
from simulator.experiment.examination import Examination, Symptom, examine
from simulator.experiment.plan import Plan, Step
from simulator.experiment.simpler import blocks, changed, fewer_members, is_fault, simpler_operations, simpler_settings
from simulator.stopwatch import Stopwatch

T = TypeVar("T")

TRIES_MAX: Final = 400
SECONDS_MAX: Final = 20.0
_GRIDS_S: Final = (1.0, 0.5, 0.1)
_ROUNDS_MAX: Final = 5


@final
class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much shrinking may cost.

    Attributes:
        tries: most plans that are played.
        seconds: longest it may take, s; one play more may begin just before.
    """

    tries: int = TRIES_MAX
    seconds: float = SECONDS_MAX


@final
class Trying:
    """Plays candidates, never one of them twice, until its bounds are reached.

    Attributes:
        symptom: how a candidate has to fail.
        tries: how many were played.
    """

    def __init__(self, symptom: Symptom, bounds: Bounds, *, examining: Callable[[Plan], Examination] = examine) -> None:
        self.symptom = symptom
        self.tries = 0
        self._bounds = bounds
        self._examining = examining
        self._stopwatch = Stopwatch()
        self._known: dict[bytes, Examination] = {}

    @property
    def seconds(self) -> float:
        """How long it has taken so far, s."""
        return self._stopwatch.seconds

    @property
    def exhausted(self) -> bool:
        """Whether nothing more will be played."""
        return self.tries >= self._bounds.tries or self.seconds >= self._bounds.seconds

    def examine(self, plan: Plan) -> Examination | None:
        """What comes of a plan; None when that is not known and the bounds are reached."""
        text = msgspec.json.encode(plan)
        known = self._known.get(text)
        if known is None and not self.exhausted:
            self.tries += 1
            known = self._known[text] = self._examining(plan)
        return known

    def fails(self, plan: Plan) -> bool:
        """Whether a plan is known to fail in the same way."""
        found = self.examine(plan)
        return found is not None and self.symptom in found.symptoms


def shrink(plan: Plan, trying: Trying) -> Plan:
    """Make a plan that fails as small as the bounds of `trying` allow."""
    for _ in range(_ROUNDS_MAX):
        before = plan
        for smaller in (_members, _faults, _settings, _steps, _times, _operations):
            plan = smaller(plan, trying)
        if plan == before or trying.exhausted:
            break
    return plan


def minimized(items: Sequence[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """A part of `items` from which no single one can be left out (`ddmin`); all of them must fail.

    Args:
        items: what may be left out.
        fails: whether the rest still fails.
    """
    left, pieces = list(items), 2
    if left and fails([]):
        return []
    while len(left) >= 2:
        size = ceil(len(left) / pieces)
        places = range(0, len(left), size)
        without = next((rest for place in places if fails(rest := left[:place] + left[place + size :])), None)
        if without is not None:
            left, pieces = without, max(pieces - 1, 2)
        elif size > 1:
            pieces = min(pieces * 2, len(left))
        else:
            break
    return left


def _first(plan: Plan, candidates: Iterable[Plan], trying: Trying) -> Plan:
    """The first candidate that fails in the same way, else the plan itself."""
    return next((candidate for candidate in candidates if candidate != plan and trying.fails(candidate)), plan)


def _repeatedly(plan: Plan, candidates: Callable[[Plan], Iterable[Plan]], trying: Trying) -> Plan:
    """The plan from which no candidate fails any more, but those that it came from."""
    seen = {msgspec.json.encode(plan): None}
    while True:
        new = (other for other in candidates(plan) if msgspec.json.encode(other) not in seen)
        simpler = _first(plan, new, trying)
        if simpler == plan:
            return plan
        plan = simpler
        seen[msgspec.json.encode(plan)] = None


def _members(plan: Plan, trying: Trying) -> Plan:
    return _repeatedly(plan, fewer_members, trying)


def _faults(plan: Plan, trying: Trying) -> Plan:
    """Leave out whole faults, each with what ends it."""
    steps = tuple(sorted(plan.steps, key=lambda step: step.at_s))
    found = blocks(steps)
    faults = [block for block in found if is_fault(steps[block[0]].operation)]
    others = [block for block in found if not is_fault(steps[block[0]].operation)]

    def steps_of(some: Sequence[tuple[int, ...]]) -> tuple[Step, ...]:
        return tuple(steps[place] for place in sorted(place for block in some for place in block))

    faults = minimized(faults, lambda some: _fails_with(plan, steps_of([*some, *others]), trying))
    return replace(plan, steps=steps_of([*faults, *others]))


def _steps(plan: Plan, trying: Trying) -> Plan:
    steps = minimized(plan.steps, lambda some: _fails_with(plan, tuple(some), trying))
    return replace(plan, steps=tuple(steps))


def _fails_with(plan: Plan, steps: tuple[Step, ...], trying: Trying) -> bool:
    """Whether the plan can be, and fails in the same way, with these steps."""
    return any(trying.fails(other) for other in changed(plan, "steps", steps))


def _settings(plan: Plan, trying: Trying) -> Plan:
    return _repeatedly(plan, simpler_settings, trying)


def _times(plan: Plan, trying: Trying) -> Plan:
    """Shorter windows: everything one second apart, or gaps closed one by one; then times on a grid."""
    steps = plan.steps
    even = tuple(Step(float(place + 1), step.operation) for place, step in enumerate(steps))
    short = _first(plan, _ended(plan, [even]), trying)
    if short == plan:
        short = _repeatedly(plan, _closed_gaps, trying)
        for grid_s in _GRIDS_S:
            on_grid = tuple(Step(_snapped(step.at_s, grid_s), step.operation) for step in short.steps)
            short = _first(short, _ended(short, [on_grid]), trying)
            short = _repeatedly(short, partial(_one_on_grid, grid_s=grid_s), trying)
    return _first(short, _ended(short, [short.steps]), trying)


def _ended(plan: Plan, alternatives: Iterable[tuple[Step, ...]]) -> Iterable[Plan]:
    """The plan with other times, its faults ending a second after its last step, or when they did."""
    for steps in alternatives:
        last_s = max((step.at_s for step in steps), default=0.0)
        for safety_s in (float(ceil(last_s)) + 1.0, plan.safety_s):
            if last_s <= safety_s <= plan.safety_s:
                try:
                    yield replace(plan, steps=steps, safety_s=safety_s)
                except PivotError:
                    continue  # some step needs another to come before it


def _closed_gaps(plan: Plan) -> Iterable[Plan]:
    """Each gap of more than a second closed to one, the longest effect first: everything behind it moves up."""
    before_s = 0.0
    for place, step in enumerate(plan.steps):
        gap_s = step.at_s - before_s
        if gap_s > 1.0:
            moved = (Step(round(late.at_s - gap_s + 1.0, 9), late.operation) for late in plan.steps[place:])
            yield from _ended(plan, [(*plan.steps[:place], *moved)])
        before_s = step.at_s


def _one_on_grid(plan: Plan, *, grid_s: float) -> Iterable[Plan]:
    for place, step in enumerate(plan.steps):
        at_s = _snapped(step.at_s, grid_s)
        if at_s != step.at_s and not _on_coarser_grid(step.at_s, grid_s):
            yield from _ended(plan, [(*plan.steps[:place], Step(at_s, step.operation), *plan.steps[place + 1 :])])


def _snapped(at_s: float, grid_s: float) -> float:
    return round(round(at_s / grid_s) * grid_s, 9)


def _on_coarser_grid(at_s: float, grid_s: float) -> bool:
    return any(coarse_s >= grid_s and _snapped(at_s, coarse_s) == at_s for coarse_s in _GRIDS_S)


def _operations(plan: Plan, trying: Trying) -> Plan:
    return _repeatedly(plan, _simpler_steps, trying)


def _simpler_steps(plan: Plan) -> Iterable[Plan]:
    for place, step in enumerate(plan.steps):
        for operation in simpler_operations(step.operation):
            steps = (*plan.steps[:place], Step(step.at_s, operation), *plan.steps[place + 1 :])
            yield from changed(plan, "steps", steps)
