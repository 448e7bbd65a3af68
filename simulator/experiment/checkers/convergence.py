"""Convergence: after the faults all members become equal, in time, and nothing waits to be sent.

Layer: simulator/experiment/checkers. Theory: strong eventual consistency (G1) promises that replicas which received the
same writes are equal; together with delivery, which the liveness phase grants, all of them must become so. Equality is
that of what users see: a tombstone and absence are the same. Linear in the number of rows.
"""

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.losses import Version


def convergence(evidence: Evidence) -> list[Violation]:
    """All members run and show the same; else the first key in which one differs from the leader."""
    plan, outcome = evidence.plan, evidence.outcome
    if outcome.converged_s is not None or outcome.crashes:
        return []
    after = f"{plan.liveness_s:g} s after the faults"
    missing = [member for member in plan.members if member not in outcome.tables]
    if missing:
        return [Violation("convergence", "", f"{after} {', '.join(missing)} do not run")]
    leader = _shown(evidence, outcome.leader)
    for member in plan.members:
        table = _shown(evidence, member)
        for key in dict.fromkeys((*leader, *table)):
            ours, theirs = leader.get(key), table.get(key)
            if ours != theirs:
                stamps = tuple(version[0] for version in (theirs, ours) if version is not None)
                at_member, at_leader = _name(evidence, key, theirs), _name(evidence, key, ours)
                sentence = f"{after} {member} has {key} = {at_member}, {outcome.leader} has {at_leader}"
                return [Violation("convergence", key, sentence, evidence.ids(key, *stamps), stamps)]
    return []


def outbox(evidence: Evidence) -> list[Violation]:
    """Whatever a node has to offer, its leader has confirmed in the end."""
    outcome = evidence.outcome
    if outcome.converged_s is not None or outcome.crashes or convergence(evidence):
        return []
    waiting = {member: count for member, count in outcome.outboxes.items() if count}
    if not waiting:
        return [Violation("convergence", "", f"{outcome.leader} does not know of deletions that its nodes know")]
    return [
        Violation("outbox", "", f"{member} still has {count} versions to offer that {outcome.leader} has not confirmed")
        for member, count in waiting.items()
    ]


def settle(evidence: Evidence) -> list[Violation]:
    """The plan says when members must be equal before it goes on."""
    if evidence.outcome.settled:
        return []
    return [Violation("settle", "", "members did not become equal in time where the plan waits for it")]


def _shown(evidence: Evidence, member: str) -> dict[str, Version]:
    return {key: entry.version for key, entry in evidence.outcome.tables[member].items() if not entry.deleted}


def _name(evidence: Evidence, key: str, version: Version | None) -> str:
    return "nothing" if version is None else f"{version[3][:60]} ({evidence.name(key, version[0])})"
