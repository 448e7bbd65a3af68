"""Availability: a member that runs answers, whatever became of the others (G7).

Layer: simulator/experiment/checkers. Theory: no read and no write waits for a peer, so an answer takes as long as the
member's own disk. A refusal is an answer only if what it blames is true: the member did not run, its disk refused a
commit meanwhile, or as many operations waited as may wait. Linear, but for counting those that wait where it says so.
"""

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.history import Record


def availability(evidence: Evidence) -> list[Violation]:
    """Operations that got no answer, or a refusal without a reason."""
    violations = [
        Violation(
            "availability",
            record.target,
            f"operation {record.id} ({record.kind} at {record.member}) got no answer in time",
            (record.id,),
        )
        for record in evidence.outcome.late
    ]
    for record in evidence.outcome.records:
        if record.outcome == "fail" and not _is_true(evidence, record):
            sentence = (
                f"operation {record.id} ({record.kind} at {record.member}) was refused without need: {record.reason}"
            )
            violations.append(Violation("availability", record.target, sentence, (record.id,)))
    return violations


def _is_true(evidence: Evidence, record: Record) -> bool:
    match record.code:
        case "storage":
            before, after = record.disk_failed
            return after > before
        case "busy":
            limit = evidence.plan.knobs.mailbox_max
            waiting = sum(
                other.member == record.member
                and other.invoked_s <= record.invoked_s
                and (other.answered_s is None or other.answered_s >= record.invoked_s)
                for other in evidence.outcome.records
            )
            return waiting >= limit
        case _:
            return record.code == "down"
