"""Quiescence: traffic stops when there is nothing to say.

Layer: simulator/experiment/checkers. Theory: once all is equal and confirmed, no message can change anything, so none
has to be sent but those by which members show that they live: heartbeats and repeated acknowledgements. The world waits
for a stretch of silence after convergence; that there was none in time is an echo that feeds itself.
"""

from typing import Final

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation

NOISE_S: Final = 15.0
"""How long members may go on to talk after convergence, beside the slowest retry of one who was away."""


def quiescence(evidence: Evidence) -> list[Violation]:
    """There was silence once, soon enough after convergence."""
    outcome = evidence.outcome
    seen = outcome.observations
    since_s = seen.equal_s
    if since_s is None or outcome.crashes:
        return []
    end_s = outcome.ended_s if seen.silent_s is None else seen.silent_s
    if end_s - since_s <= evidence.plan.knobs.retry_s_max + NOISE_S:
        return []
    said = ", ".join(f"{count} {label}" for label, count in sorted(seen.talk.items()) if count)
    sentence = f"members went on talking for {end_s - since_s:.1f} s after all was equal: {said}"
    return [Violation("quiescence", "", sentence)]
