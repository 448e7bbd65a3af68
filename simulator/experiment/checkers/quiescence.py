"""Quiescence: traffic stops when there is nothing to say.

Layer: simulator/experiment/checkers. Theory: once all is equal and confirmed, no message can change anything, so none
has to be sent but those by which members show that they live: heartbeats and repeated acknowledgements. The world waits
for a stretch of silence after convergence; that there was none in time is an echo that feeds itself.
It cannot be told where a latency without a limit makes members lose each other again and again.
"""

from typing import Final

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.staleness import has_small_pages, latency_s_max
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.plan import Plan

NOISE_S: Final = 15.0
"""How long members may go on to talk after convergence, beside the slowest retry of one who was away."""
GAPS: Final = 10
"""How many heartbeats more it may take where pages are small: each time that two overtake each other, one goes by."""


def quiescence(evidence: Evidence) -> list[Violation]:
    """There was silence once, soon enough after convergence."""
    outcome = evidence.outcome
    seen = outcome.observations
    since_s = seen.equal_s
    if since_s is None or outcome.crashes or not _is_steady(evidence.plan):
        return []
    end_s = outcome.ended_s if seen.silent_s is None else seen.silent_s
    if end_s - since_s <= _patience_s(evidence.plan):
        return []
    said = ", ".join(f"{count} {label}" for label, count in sorted(seen.talk.items()) if count)
    sentence = f"members went on talking for {end_s - since_s:.1f} s after all was equal: {said}"
    return [Violation("quiescence", "", sentence)]


def _patience_s(plan: Plan) -> float:
    heartbeats = GAPS if has_small_pages(plan) else 0
    return plan.knobs.retry_s_max + NOISE_S + heartbeats * plan.knobs.heartbeat_s


def _is_steady(plan: Plan) -> bool:
    """Whether the links' latency, which outlasts the faults, never makes a member look dead that is not."""
    slowest_s = latency_s_max(plan)
    return slowest_s is not None and 2 * slowest_s + plan.knobs.heartbeat_s < plan.knobs.silence_s_min
