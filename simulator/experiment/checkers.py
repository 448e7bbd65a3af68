"""Checkers: what must be true of every played plan, and one sentence for each way in which it is not.

Layer: simulator/experiment. A checker looks at what a run left behind and never at how members work inside.
Start at `check`.
"""

from typing import Literal, TypeAlias, final

import msgspec

from pivot.paths import matches
from simulator.experiment.history import LedgerLine
from simulator.experiment.plan import LEADER, Plan
from simulator.experiment.world import Outcome

Verdict: TypeAlias = Literal["ok", "liveness", "correctness"]


@final
class Violation(msgspec.Struct, frozen=True):
    """Something that must not be.

    Attributes:
        checker: which one saw it.
        key: the key it is about; empty = none.
        sentence: what is wrong, with numbers of operations.
    """

    checker: str
    key: str
    sentence: str


def check(plan: Plan, outcome: Outcome) -> tuple[Violation, ...]:
    """Everything that is wrong with a run, worst first."""
    return (
        *_lost_writes(outcome),
        *_invented(outcome),
        *_broken(outcome),
        *_late(outcome),
        *_diverged(plan, outcome),
        *_unsettled(outcome),
    )


def verdict(violations: tuple[Violation, ...]) -> Verdict:
    """What a run is called."""
    if any(violation.checker not in ("convergence", "settle") for violation in violations):
        return "correctness"
    return "liveness" if violations else "ok"


def _lost_writes(outcome: Outcome) -> list[Violation]:
    """An acknowledged write is there, or something greater is, or every store that held it is lost."""
    if outcome.converged_s is None:
        return []  # divergence is the finding; what the leader lacks may still be on its way
    return [
        Violation("resurrection" if line.kind == "delete" else "lost write", line.key, _lost_sentence(outcome, line))
        for line in outcome.ledger
        if line.fate == "lost"
    ]


def _lost_sentence(outcome: Outcome, line: LedgerLine) -> str:
    there = outcome.tables[LEADER].get(line.key)
    now = "nothing" if there is None else f"{there.data or 'a tombstone'} of {there.stamp}"
    return f"operation {line.id} ({line.kind} {line.key} at {line.member}, stamp {line.stamp}) was lost: there is {now}"


def _invented(outcome: Outcome) -> list[Violation]:
    """What is there was written by somebody, exactly so."""
    written = {change: None for record in outcome.records for change in record.changes.items()}
    written |= dict.fromkeys(outcome.appeared)
    unknown = [record.target for record in outcome.records if record.outcome == "info"]
    violations: list[Violation] = []
    for member, table in outcome.tables.items():
        for key, entry in table.items():
            if (key, entry.stamp) not in written and not any(matches(target, key) for target in unknown):
                sentence = f"{member} has {key} with stamp {entry.stamp}, which no acknowledged operation wrote"
                violations.append(Violation("invented", key, sentence))
    return violations


def _broken(outcome: Outcome) -> list[Violation]:
    """No member says of itself what only a bug can make true."""
    return [Violation("broken", "", sentence) for sentence in outcome.broken]


def _late(outcome: Outcome) -> list[Violation]:
    """A member that runs answers, whatever became of the others."""
    return [
        Violation(
            "availability", record.target, f"operation {record.id} ({record.kind} at {record.member}) got no answer"
        )
        for record in outcome.late
    ]


def _diverged(plan: Plan, outcome: Outcome) -> list[Violation]:
    """After the faults all members become equal, and nothing waits to be sent."""
    if outcome.converged_s is not None:
        return []
    leader = outcome.tables.get(LEADER, {})
    for member, table in outcome.tables.items():
        for key in dict.fromkeys((*leader, *table)):
            ours, theirs = leader.get(key), table.get(key)
            a = None if ours is None or ours.deleted else ours.version
            b = None if theirs is None or theirs.deleted else theirs.version
            if a != b:
                sentence = f"{plan.liveness_s:g} s after the faults {member} has {key} = {b}, {LEADER} has {a}"
                return [Violation("convergence", key, sentence)]
    missing = [member for member in plan.members if member not in outcome.tables]
    what = f"{', '.join(missing)} do not run" if missing else "some node still has something to offer"
    return [Violation("convergence", "", f"{plan.liveness_s:g} s after the faults {what}")]


def _unsettled(outcome: Outcome) -> list[Violation]:
    """The plan says when members must be equal before it goes on."""
    if outcome.settled:
        return []
    return [Violation("settle", "", "members did not become equal in time where the plan waits for it")]
