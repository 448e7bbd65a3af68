"""Legality: the final value of a key is the greatest write to it, and every value was written by somebody.

Layer: simulator/experiment/checkers. Theory: a register whose merge is the maximum of a total order holds, once all
have met, the maximum of everything that was ever written to it and not lost. `V` breaks ties of stamps, so a final
version that is less than another with the same stamp is as wrong as an older one. A store never gives one stamp to two
versions of a key, for then the later write need not win over the earlier. (Two keys may get one stamp: a version in the
far future lifts the next one of its key and not the clock.) Linear in the number of versions.
"""

import msgspec

from pivot.core.entry import Entry, canonical
from pivot.paths import matches
from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation


def legality(evidence: Evidence) -> list[Violation]:
    """Where all is equal, each key holds the greatest version that anybody showed and not everybody had to forget."""
    outcome = evidence.outcome
    if outcome.converged_s is None:
        return []  # what the leader lacks may still be on its way
    there = {**outcome.collected, **outcome.tables[outcome.leader]}
    violations: list[Violation] = []
    for key, versions in evidence.versions.items():
        final = there.get(key)
        for entry in versions:
            if not _is_legal(evidence, final, entry):
                stamp = 0 if final is None else final.stamp
                now = "nothing is there" if final is None else f"{evidence.name(key, stamp)} is there"
                what = "deleted it" if entry.deleted else f"set it to {entry.data[:60]}"
                sentence = f"{key}: {now}, though {evidence.name(key, entry.stamp)} {what} and is greater"
                stamps = (entry.stamp, stamp) if stamp else (entry.stamp,)
                violations.append(Violation("last write wins", key, sentence, evidence.ids(key, *stamps), stamps))
                break
    return violations


def _is_legal(evidence: Evidence, final: Entry | None, entry: Entry) -> bool:
    losses, key = evidence.outcome.losses, entry.key
    if final is not None and final.version >= entry.version:
        return True
    if final is not None and final.stamp != entry.stamp and losses.covers(key, final.stamp, entry.stamp):
        return True
    return losses.gone_version(key, entry.version)


def invented(evidence: Evidence) -> list[Violation]:
    """What any member ever showed was written by somebody, exactly so."""
    outcome = evidence.outcome
    unknown = [record.target for record in outcome.records if record.outcome == "info"]
    violations: list[Violation] = []
    for key, versions in evidence.versions.items():
        for entry in versions:
            writers = evidence.writers.get((key, entry.stamp), [])
            if any(record.kind == "delete" or _says(record.value, entry.data) for record in writers):
                continue
            if (key, entry.stamp) in outcome.losses.appeared:
                continue
            if any(matches(target, key) or target == key for target in unknown):
                continue
            if writers:
                wrote = " or ".join(msgspec.json.encode(record.value).decode()[:60] for record in writers)
                sentence = f"{key} was {entry.data[:60]} once, but {evidence.name(key, entry.stamp)} wrote {wrote}"
            else:
                sentence = f"{key} was {entry.data[:60] or 'deleted'} with stamp {entry.stamp}, which nobody wrote"
            ids = evidence.ids(key, entry.stamp)
            violations.append(Violation("invented", key, sentence, ids, (entry.stamp,)))
    return violations


def _says(value: object, data: str) -> bool:
    return canonical(msgspec.json.encode(value)) == data


def uniqueness(evidence: Evidence) -> list[Violation]:
    """No store gives one stamp to two versions of a key, unless it had to forget the first."""
    born: dict[tuple[str, str, int], tuple[Entry, str, int]] = {}
    violations: list[Violation] = []
    for sighting in evidence.outcome.observations.sightings:
        entry = sighting.entry
        if sighting.withdrawn or entry.origin != sighting.store:
            continue
        name = (entry.origin, entry.key, entry.stamp)
        other, member, at_ns = born.setdefault(name, (entry, sighting.member, sighting.at_ns))
        if other.version == entry.version or evidence.forgot(member, entry.key, entry.stamp, at_ns, sighting.at_ns):
            continue
        values = " and to ".join(version.data[:60] or "a deletion" for version in (other, entry))
        sentence = f"{member} gave stamp {entry.stamp} of {entry.key} twice: to {values}"
        ids = evidence.ids(entry.key, entry.stamp)
        violations.append(Violation("stamp uniqueness", entry.key, sentence, ids, (entry.stamp,)))
    return violations
