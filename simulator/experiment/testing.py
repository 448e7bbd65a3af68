"""Testing: what a test plays, and what is kept of it when the test fails: the plan, a smaller one, pictures.

Layer: simulator/experiment. The pytest plugin is a thin shell around it. A plan is made smaller by running the test
again and again with smaller plans in the place of its own: a failure is the same when the same checker fires for the
same key, or the same kind of error comes from the same line. Start at `Simulate`, then `keep`.
"""

import inspect
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

from msgspec.structs import replace

from simulator.experiment.checkers import Violation
from simulator.experiment.examination import Examination, Symptom
from simulator.experiment.explanation import shrink_and_explain
from simulator.experiment.plan import Plan
from simulator.experiment.recipe import counted, replay_command
from simulator.experiment.shrink import Bounds
from simulator.experiment.simulation import Run, Simulation

BOUNDS: Final = Bounds(tries=200, seconds=20.0)
"""What a failed test may cost."""
_NAME_MAX: Final = 100
_SENTENCE_MAX: Final = 500


class FoundError(AssertionError):
    """A checker found something in a run of a test; names it, and the operations it is about."""

    def __init__(self, run: Run) -> None:
        sentences = [f"{violation.checker}: {violation.sentence}" for violation in run.violations]
        super().__init__("\n".join([f"verdict {run.verdict}, seed {run.seed}, hash {run.hash}", *sentences]))
        self.run = run


@final
class Simulate:
    """Plays what a test asks for.

    Attributes:
        seed: of this trial.
        runs: what was played, in order.
    """

    def __init__(self, seed: int, *, instead: Plan | None = None) -> None:
        """`instead` is played whatever is asked for."""
        self.seed = seed
        self.runs: list[Run] = []
        self._instead = instead

    def __call__(self, what: Simulation | Plan, *, until: float = 60.0, check: bool = True) -> Run:
        """Play a simulation with the seed of this trial, or a plan as it is.

        Args:
            what: which.
            until: when the faults of a simulation end, s.
            check: whether anything that a checker finds fails the test.

        Raises:
            FoundError: a checker found something.
            BadPlanError: a step cannot be played; names it.
        """
        plan = what if isinstance(what, Plan) else replace(what.plan(until), seed=self.seed)
        run = Run.of(self._instead or plan, keep_trace=True)
        self.runs.append(run)
        if check and run.violations:
            raise FoundError(run)
        return run


def keep(
    simulate: Simulate, output: Path, name: str, error: BaseException, again: Callable[[Simulate], object] | None
) -> Iterator[str]:
    """Keep what a failed test has played; says, line by line, what is where.

    Args:
        simulate: the fixture of the test.
        output: below which a folder is made.
        name: of the test.
        error: what it raised.
        again: the test; None = it cannot be run again.
    """
    from simulator.figures.card import card  # noqa: PLC0415 - pictures are of runs, and so import their modules
    from simulator.figures.spacetime import space_time  # noqa: PLC0415

    if not simulate.runs:
        yield "nothing was played"
        return
    folder = output / re.sub(r"[^\w.=-]+", "-", name).strip("-")[-_NAME_MAX:]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    run = simulate.runs[-1]
    run.save(folder / "plan.json")
    space_time(run).save(folder / "run.svg")
    yield f"seed {run.seed}, hash {run.hash}, verdict {run.verdict}, {len(run.plan.steps)} events"
    yield f"replay:   {replay_command(folder / 'plan.json')}"
    yield f"picture:  {folder / 'run.svg'}"
    found = _examined(run, error)
    if again is None or len(simulate.runs) != 1 or inspect.iscoroutinefunction(again):
        yield "not made smaller: only a test that plays one plan, and can be run again, says which plans fail it"
        return
    examining = _Examining(again, simulate.seed)
    if found.symptoms[0] not in examining(run.plan).symptoms:
        yield "not made smaller: the test does not fail in the same way when it is run again"
        return
    shrunk = shrink_and_explain(run.plan, found, BOUNDS, examining=examining)
    (folder / "minimal.json").write_bytes(shrunk.plan.to_json())
    card(shrunk, folder / "minimal.json").save(folder / "minimal.svg")
    yield f"minimal:  {folder / 'minimal.json'}, {counted(shrunk)}"
    yield f"picture:  {folder / 'minimal.svg'}"
    yield from (f"  {entry.what}" for entry in shrunk.entries)


@final
class _Examining:
    """Says what comes of a plan when the test plays it instead of its own."""

    def __init__(self, again: Callable[[Simulate], object], seed: int) -> None:
        self._again = again
        self._seed = seed

    def __call__(self, plan: Plan) -> Examination:
        simulate = Simulate(self._seed, instead=plan)
        try:
            self._again(simulate)
        except Exception as error:  # noqa: BLE001 - however a test fails
            if simulate.runs:
                return _examined(simulate.runs[-1], error)
        return Examination("ok", simulate.runs[-1].hash if simulate.runs else "", 0, {}, {}, (), ())


def _examined(run: Run, error: BaseException) -> Examination:
    """How a test failed: by what a checker found, or by an assertion of its own, known by its kind and its line."""
    if isinstance(error, FoundError):
        violations = run.violations
        symptoms = tuple(Symptom.of(run.plan, violation) for violation in violations)
    else:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
        symptoms = (Symptom("test", f"{type(error).__name__} at {place}"),)
        said = " ".join(str(error).strip().splitlines()[:1])
        violations = (Violation("test", "", f"{symptoms[0].key}: {said}"[:_SENTENCE_MAX]),)
    return Examination(run.verdict, run.hash, run.outcome.events, {}, {}, violations, symptoms)
