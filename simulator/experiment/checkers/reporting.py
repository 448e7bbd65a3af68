"""Reporting: when a version replaces one that its writer had not seen, the member where they meet says so.

Layer: simulator/experiment/checkers. Theory: last-write-wins loses one of two concurrent writes by design; that it is
never silent is what makes the loss bearable. A version names the stamp that its writer overwrote (`prev`), so a member
that shows it right after a later one than that has seen a lost update. What a store was opened with, and what it
forgot, met nobody; so a deletion counts only where no tombstone was ever collected. Linear in what members showed.
"""

from itertools import pairwise

from pivot.core.entry import overwrote_unseen
from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.outcome import LostUpdate


def unreported_losses(evidence: Evidence) -> list[Violation]:
    """Every lost update that shows at a member is reported there."""
    reported = frozenset(evidence.outcome.conflicts)
    collected = evidence.outcome.reached.get("tombstones collected", 0) > 0
    violations: list[Violation] = []
    for (member, key), sightings in evidence.sightings_of.items():
        for before, after in pairwise(sightings):
            loser, winner = before.entry, after.entry
            if before.life != after.life or before.withdrawn or after.withdrawn or winner.version < loser.version:
                continue
            if collected and loser.deleted:
                continue
            stamps = (winner.stamp, loser.stamp)
            if not overwrote_unseen(winner, loser) or LostUpdate(member, key, *stamps) in reported:
                continue
            sentence = (
                f"{member} replaced {evidence.name(key, loser.stamp)} of {key} by {evidence.name(key, winner.stamp)}, "
                f"whose writer had seen nothing later than stamp {winner.prev}, and reported no conflict"
            )
            violations.append(Violation("unreported loss", key, sentence, evidence.ids(key, *stamps), stamps))
            break
    return violations
