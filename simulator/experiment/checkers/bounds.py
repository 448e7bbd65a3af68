"""Bounds: nothing that holds things ever held more than it may.

Layer: simulator/experiment/checkers. Theory: every queue has a limit and a named outcome when it is full. Watched are
mailboxes, and messages under way per link and kind, pages by the window of the streams that they belong to.
"""

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation


def bounded_memory(evidence: Evidence) -> list[Violation]:
    """No gauge ever stood above its limit, and no message was lost because too many were under way."""
    outcome = evidence.outcome
    violations = [
        Violation("bounded memory", "", f"there were {gauge.peak} in {gauge.what}, the limit is {gauge.limit}")
        for gauge in outcome.observations.gauges
        if gauge.peak > gauge.limit
    ]
    overflow = outcome.network.lost.get("overflow", 0)
    if overflow:
        peak = outcome.network.in_flight_peak
        sentence = f"{overflow} messages were lost because {peak} were under way"
        violations.append(Violation("bounded memory", "", sentence))
    return violations
