"""Examination: a plan played and judged, also when playing it raises; plain data that crosses processes.

Layer: simulator/experiment. Start at `examine`.
"""

import traceback
from pathlib import Path
from typing import Final, cast, final

import msgspec

from pivot.paths import matches
from simulator.experiment.checkers import Violation
from simulator.experiment.operations import Delete, Read, Write
from simulator.experiment.plan import Plan
from simulator.experiment.simulation import Run
from simulator.runtimes.base import RuntimeName

_SENTENCE_MAX: Final = 500


@final
class Symptom(msgspec.Struct, frozen=True):
    """By what one recognizes a failure in other runs.

    Attributes:
        checker: which checker saw it; `crash` when playing raised.
        key: the key it is about; the collection, when no operation of the plan names the key, for such keys are made up
            in each run anew; the error and its place, after a crash.
    """

    checker: str
    key: str

    @staticmethod
    def of(plan: Plan, violation: Violation) -> "Symptom":
        """The symptom that a violation is in a run of this plan."""
        key = violation.key
        if not key or violation.checker == "crash":
            return Symptom(violation.checker, key)
        for step in plan.steps:
            match step.operation:
                case Write(key=named) | Read(key=named) | Delete(pattern=named):
                    if named == key:
                        return Symptom(violation.checker, key)
                case _:
                    pass
        return Symptom(violation.checker, next((path for path in plan.keys if matches(path, key)), key))


@final
class Examination(msgspec.Struct, frozen=True):
    """What came of playing a plan.

    Attributes:
        verdict: see `Run.verdict`; `crash` when playing raised.
        hash: of the run; empty when it has none.
        events: how many it had.
        reached: how often what happened.
        potency: kind of fault that was played -> how much it has touched.
        violations: what must not be and is.
        symptoms: by what one recognizes them, in the same order.
    """

    verdict: str
    hash: str
    events: int
    reached: dict[str, int]
    potency: dict[str, int]
    violations: tuple[Violation, ...]
    symptoms: tuple[Symptom, ...]


def examine(plan: Plan, *, runtime: RuntimeName = "kernel") -> Examination:
    """Play a plan and judge the run; what playing raises is a violation, too."""
    try:
        run = Run.of(plan, runtime=runtime)
    except Exception as error:  # noqa: BLE001 - a crash is a verdict
        crash = _crash(error)
        return Examination("crash", "", 0, {}, {}, (crash,), (Symptom.of(plan, crash),))
    symptoms = tuple(Symptom.of(plan, violation) for violation in run.violations)
    outcome = run.outcome
    return Examination(
        run.verdict, run.hash, outcome.events, outcome.reached, outcome.potency, run.violations, symptoms
    )


def _crash(error: Exception) -> Violation:
    if isinstance(error, ExceptionGroup):
        return _crash(cast("ExceptionGroup[Exception]", error).exceptions[0])
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    kind = type(error).__name__
    return Violation("crash", f"{kind} at {place}", f"{kind} at {place}: {error}"[:_SENTENCE_MAX])
