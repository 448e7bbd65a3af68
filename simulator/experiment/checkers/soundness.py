"""Soundness: our own code neither crashes nor says of itself what only a bug can make true.

Layer: simulator/experiment/checkers. An actor that crashed and was restarted counts, also if nothing else came of it:
the supervisor is there for bugs that we do not know, not for those that a plan shows.
"""

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation


def crashes(evidence: Evidence) -> list[Violation]:
    """No actor crashed, and the run had an end."""
    return [Violation("crash", "", sentence) for sentence in evidence.outcome.crashes]


def broken(evidence: Evidence) -> list[Violation]:
    """No member says of itself what only a bug can make true."""
    return [Violation("broken", "", sentence) for sentence in evidence.outcome.broken]
