"""Replicas: at one member the versions of a key only go up.

Layer: simulator/experiment/checkers. Theory: a replica is a join semilattice and every step is inflationary, so what it
shows of a key is an ascending chain. A step down means that something was overwritten instead of merged, or forgotten.
(A step down from a tombstone to a value is called a resurrection, see `survival`.) Quadratic in the versions of one key
that one member showed, however often it did.
"""

from collections.abc import Iterable

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.observer import Sighting


def monotonicity(evidence: Evidence) -> list[Violation]:
    """No member shows a version that is less than one that it showed before."""
    violations: list[Violation] = []
    for (member, key), sightings in evidence.sightings_of.items():
        chain: dict[tuple[int, bool, int, str], Sighting] = {}  # the latest of each version, with the fewest excuses
        for sighting in sightings:
            if sighting.withdrawn:
                continue
            before = next(
                (
                    each
                    for each in _above(chain.values(), sighting)
                    if not _is_excused(evidence, each, sighting, chain.values())
                ),
                None,
            )
            chain[sighting.entry.version] = sighting
            if before is None:
                continue
            sentence = (
                f"{member} shows {evidence.name(key, sighting.entry.stamp)} of {key} at {sighting.at_ns / 1e9:.3f} s "
                f"after it had shown {evidence.name(key, before.entry.stamp)} at {before.at_ns / 1e9:.3f} s"
            )
            stamps = (sighting.entry.stamp, before.entry.stamp)
            violations.append(Violation("replica monotonicity", key, sentence, evidence.ids(key, *stamps), stamps))
            break
    return violations


def _above(chain: Iterable[Sighting], sighting: Sighting) -> list[Sighting]:
    """What was shown before and is greater, but for deletions that a value follows."""
    entry = sighting.entry
    return [each for each in chain if each.entry.version > entry.version and (entry.deleted or not each.entry.deleted)]


def _is_excused(evidence: Evidence, before: Sighting, after: Sighting, chain: Iterable[Sighting]) -> bool:
    key, losses = before.entry.key, evidence.outcome.losses
    if before.entry.stamp != after.entry.stamp and losses.covers(key, after.entry.stamp, before.entry.stamp):
        return True
    if evidence.forgot(before.member, key, before.entry.stamp, before.at_ns, after.at_ns):
        return True
    graves = [each for each in chain if each.entry.deleted and each.entry.version >= before.entry.version]
    if any(evidence.graves_lost(each.entry, each.at_ns, after.at_ns) for each in graves):
        return True
    return losses.gone_version(key, before.entry.version)
