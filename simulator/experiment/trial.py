"""Trial: one seed of a campaign, from drawing its plan to shrinking it; what a worker does, wherever it runs.

Layer: simulator/experiment. Everything here is plain data that crosses processes and machines. Start at `try_seed`.
"""

from functools import partial
from typing import Final, final

import msgspec

from simulator.experiment.draw import NEMESES, draw
from simulator.experiment.examination import Examination, Symptom, examine
from simulator.experiment.explanation import Shrunk, shrink_and_explain
from simulator.experiment.plan import Plan
from simulator.experiment.planting import planted
from simulator.experiment.shrink import Bounds
from simulator.experiment.simulation import Run
from simulator.runtimes.base import RuntimeName
from simulator.world.divergence import first_divergence

NO_BOUNDS: Final = Bounds()


@final
class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is tried with every seed.

    Attributes:
        nodes: how many nodes a plan has; None = 1 to 4.
        nemeses: kinds of faults that may be in it.
        shrinking: what shrinking one failure may cost; no tries = failures are not shrunk.
        runtime: what plans are played on.
        bug: name of a bug that is planted meanwhile (see `planting`); empty = none.
    """

    nodes: int | None = None
    nemeses: tuple[str, ...] = NEMESES
    shrinking: Bounds = NO_BOUNDS
    runtime: RuntimeName = "kernel"
    bug: str = ""

    def plan(self, seed: int) -> Plan:
        """The plan of a seed."""
        return draw(seed, nodes=self.nodes, nemeses=self.nemeses)


@final
class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one seed.

    Attributes:
        seed: which.
        verdict: of its run; `crash` also when the worker died; `nondeterminism` when a second run was another one.
        hash: of its run; empty when it has none.
        events: how many it had.
        kinds: how often the plan has each kind of operation.
        reached: how often what happened.
        potency: kind of fault that was played -> how much it has touched.
        symptom: of the worst that was found; None = nothing was.
        sentence: that, in words.
        plan: the plan, when something was found and there is one.
        shrunk: the plan shrunk and explained, when that was asked for.
    """

    seed: int
    verdict: str
    hash: str = ""
    events: int = 0
    kinds: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    reached: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    potency: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    symptom: Symptom | None = None
    sentence: str = ""
    plan: Plan | None = None
    shrunk: Shrunk | None = None

    @property
    def failed(self) -> bool:
        """Whether something was found."""
        return self.symptom is not None

    @staticmethod
    def died(seed: int, reason: str) -> "Trial":
        """The trial of a seed whose worker did not come to an end."""
        return Trial(seed=seed, verdict="crash", symptom=Symptom("worker", ""), sentence=reason)


def try_seed(task: Task, seed: int) -> Trial:
    """Draw the plan of a seed, play and judge it; when something is found, play it again, then shrink it."""
    with planted(task.bug):
        plan = task.plan(seed)
        found = examine(plan, runtime=task.runtime)
        if not found.violations:
            return _trial(seed, plan, found)
        again = examine(plan, runtime=task.runtime)
        if again.hash != found.hash:
            traces = [Run.of(plan, keep_trace=True, runtime=task.runtime).trace for _ in range(2)]
            apart = first_divergence(*traces)
            where = "the two runs after those were equal" if apart is None else apart.sentence
            return Trial(
                seed=seed,
                verdict="nondeterminism",
                hash=found.hash,
                events=found.events,
                kinds=kinds_of(plan),
                reached=found.reached,
                potency=found.potency,
                symptom=Symptom("nondeterminism", ""),
                sentence=f"two runs of the plan differ: {where}",
                plan=plan,
            )
        if not task.shrinking.tries:
            return _trial(seed, plan, found)
        examining = partial(examine, runtime=task.runtime)
        return _trial(seed, plan, found, shrink_and_explain(plan, found, task.shrinking, examining=examining))


def kinds_of(plan: Plan) -> dict[str, int]:
    """How often a plan has each kind of operation."""
    kinds: dict[str, int] = {}
    for step in plan.steps:
        kind = str(step.operation.__struct_config__.tag)
        kinds[kind] = kinds.get(kind, 0) + 1
    return dict(sorted(kinds.items()))


def _trial(seed: int, plan: Plan, found: Examination, shrunk: Shrunk | None = None) -> Trial:
    failed = bool(found.violations)
    return Trial(
        seed=seed,
        verdict=found.verdict,
        hash=found.hash,
        events=found.events,
        kinds=kinds_of(plan),
        reached=found.reached,
        potency=found.potency,
        symptom=found.symptoms[0] if failed else None,
        sentence=found.violations[0].sentence if failed else "",
        plan=plan if failed else None,
        shrunk=shrunk,
    )
