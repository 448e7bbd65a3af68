"""Judging: all checkers over one run, and what the run is called.

Layer: simulator/experiment/checkers. Verdicts, worst first:

    nondeterminism   the same plan ran differently a second time; nothing else it showed counts
    crash            our own code crashed
    correctness      something that must never be
    liveness         something that must be in time, and was not
    unknown          nothing was found, and nothing was shown: no fault of the plan touched anything
    ok

Start at `check`.
"""

from typing import Final, Literal, TypeAlias

from simulator.experiment.checkers.availability import availability
from simulator.experiment.checkers.bounds import bounded_memory
from simulator.experiment.checkers.convergence import convergence, outbox, settle
from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.legality import invented, legality, uniqueness
from simulator.experiment.checkers.quiescence import quiescence
from simulator.experiment.checkers.replicas import monotonicity
from simulator.experiment.checkers.reporting import unreported_losses
from simulator.experiment.checkers.sessions import sessions
from simulator.experiment.checkers.soundness import broken, crashes
from simulator.experiment.checkers.staleness import staleness
from simulator.experiment.checkers.survival import durability, lost_writes, resurrections
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.outcome import Outcome
from simulator.experiment.plan import Plan

Verdict: TypeAlias = Literal["ok", "unknown", "liveness", "correctness", "crash", "nondeterminism"]
LIVENESS: Final = ("convergence", "settle", "outbox", "quiescence", "staleness")
"""Checkers that say that something came too late."""


def check(plan: Plan, outcome: Outcome) -> tuple[Violation, ...]:
    """Everything that is wrong with a run, worst first; of one kind the first in time first."""
    evidence = Evidence(plan, outcome)
    return (
        *crashes(evidence),
        *lost_writes(evidence),
        *resurrections(evidence),
        *durability(evidence),
        *legality(evidence),
        *uniqueness(evidence),
        *invented(evidence),
        *monotonicity(evidence),
        *sessions(evidence),
        *unreported_losses(evidence),
        *broken(evidence),
        *availability(evidence),
        *bounded_memory(evidence),
        *convergence(evidence),
        *outbox(evidence),
        *quiescence(evidence),
        *staleness(evidence),
        *settle(evidence),
    )


def verdict(outcome: Outcome, violations: tuple[Violation, ...]) -> Verdict:
    """What a run is called."""
    found = {violation.checker: violation for violation in violations}
    if "determinism" in found:
        return "nondeterminism"
    if "crash" in found:
        return "crash"
    if any(checker not in LIVENESS for checker in found):
        return "correctness"
    if found:
        return "liveness"
    return "ok" if not outcome.potency or any(outcome.potency.values()) else "unknown"
