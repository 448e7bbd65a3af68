"""Checkers: what must be true of every played plan, and one sentence for each way in which it is not.

Each looks at an `Evidence` and never at how members work inside. Start at `judging.check`, which lists them.
"""

from simulator.experiment.checkers.judging import Verdict, check, verdict
from simulator.experiment.checkers.violation import Violation

__all__ = ["Verdict", "Violation", "check", "verdict"]
