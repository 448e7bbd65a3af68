"""Survival: an acknowledged write is there, or something greater is, or every store that held it had to forget it.

Layer: simulator/experiment/checkers. Theory: G2 and G3. The ledger already follows every acknowledged change through
what was written again and what was lost with stores; what it calls lost has no excuse. A lost deletion is called a
resurrection, whether it shows at the end or only for a while at one member. A store that was opened again knows all it
knew before, unless its durability, its disk or the loss of it excuses that. Linear, but for the ledger.
"""

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.history import LedgerLine
from simulator.experiment.observer import Sighting


def lost_writes(evidence: Evidence) -> list[Violation]:
    """What the ledger calls lost."""
    outcome = evidence.outcome
    if outcome.converged_s is None:
        return []  # divergence is the finding; what the leader lacks may still be on its way
    return [
        Violation(
            "resurrection" if line.kind == "delete" else "lost write",
            line.key,
            _sentence(evidence, line),
            (line.id,),
            (line.stamp,),
        )
        for line in outcome.ledger
        if line.fate == "lost"
    ]


def _sentence(evidence: Evidence, line: LedgerLine) -> str:
    there = evidence.outcome.tables[evidence.outcome.leader].get(line.key)
    now = "nothing" if there is None else f"{there.data[:60] or 'a tombstone'} of {there.stamp}"
    return f"operation {line.id} ({line.kind} {line.key} at {line.member}, stamp {line.stamp}) was lost: there is {now}"


def resurrections(evidence: Evidence) -> list[Violation]:
    """No member shows a version again that it knew to be deleted."""
    violations: list[Violation] = []
    for (member, key), sightings in evidence.sightings_of.items():
        graves: list[Sighting] = []
        for sighting in sightings:
            entry = sighting.entry
            if sighting.withdrawn:
                continue
            if entry.deleted:
                graves.append(sighting)
                continue
            grave = next((each.entry for each in graves if not _may_follow(evidence, each, sighting)), None)
            if grave is not None:
                sentence = (
                    f"at {sighting.at_ns / 1e9:.3f} s {member} shows {key} = {entry.data[:60]} "
                    f"({evidence.name(key, entry.stamp)}) again, deleted there by {evidence.name(key, grave.stamp)}"
                )
                stamps = (entry.stamp, grave.stamp)
                violations.append(Violation("resurrection", key, sentence, evidence.ids(key, *stamps), stamps))
                break
    return violations


def _may_follow(evidence: Evidence, grave: Sighting, sighting: Sighting) -> bool:
    """Whether a member may show a live version after a tombstone."""
    losses, entry, tombstone = evidence.outcome.losses, sighting.entry, grave.entry
    return (
        entry.version > tombstone.version
        or (entry.stamp != tombstone.stamp and losses.covers(entry.key, entry.stamp, tombstone.stamp))
        or losses.gone_version(entry.key, tombstone.version)
        or evidence.forgot(sighting.member, entry.key, tombstone.stamp, grave.at_ns, sighting.at_ns)
        or evidence.graves_lost(tombstone, grave.at_ns, sighting.at_ns)
    )


def durability(evidence: Evidence) -> list[Violation]:
    """A store that was opened again knows all it knew, unless there is an excuse."""
    violations: list[Violation] = []
    losses = evidence.outcome.losses
    for reopening in evidence.outcome.observations.reopenings:
        if reopening.excuse:
            continue
        for key, had in reopening.had.items():
            has = reopening.has.get(key)
            if has is not None and has.version >= had.version:
                continue
            if has is not None and has.stamp < had.stamp and losses.covers(key, has.stamp, had.stamp):
                continue
            now = "nothing" if has is None else f"{evidence.name(key, has.stamp)}"
            sentence = (
                f"at {reopening.at_ns / 1e9:.3f} s {reopening.member} started again with {now} of {key}, "
                f"though it had committed {evidence.name(key, had.stamp)}"
            )
            violations.append(Violation("durability", key, sentence, evidence.ids(key, had.stamp), (had.stamp,)))
    return violations
