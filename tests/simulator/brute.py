"""Checkers by brute force: definitions written down as they are, whatever they cost, and nothing shared.

Each returns what it found wrong: (checker, where), so that it can be held against the real one.
"""

from itertools import combinations, product
from typing import Any

from pivot.core.entry import Entry, canonical
from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.history import Record
from simulator.world.chance import START_NS

Found = set[tuple[str, str]]


# What is forgiven --------------------------------------------------------------------------------------------------


def reissue_names(evidence: Evidence, key: str, written: int) -> set[int]:
    """Stamps that stand for what was written: each reissue of something later may bring it down."""
    names = {written}
    while True:
        more = {
            after
            for name in names
            for before, after in evidence.outcome.losses.reissues.get(key, ())
            if after < name <= before
        }
        if more <= names:
            return names
        names |= more


def covers(evidence: Evidence, key: str, there: int, written: int) -> bool:
    return there >= min(reissue_names(evidence, key, written))


def gone(evidence: Evidence, entry: Entry) -> bool:
    gaps = evidence.outcome.losses._gone.get(entry.key, [])
    if any(least < entry.version <= most for least, most in gaps):
        return True
    others = reissue_names(evidence, entry.key, entry.stamp) - {entry.stamp}
    return any(least[0] < name <= most[0] for name in others for least, most in gaps)


def forgot(evidence: Evidence, member: str, key: str, stamp: int, begin_ns: int, end_ns: int) -> bool:
    for reopening in evidence.outcome.observations.reopenings:
        if reopening.member != member or not reopening.excuse or not begin_ns <= reopening.at_ns <= end_ns:
            continue
        if key not in reopening.shown:
            continue
        shown, has = reopening.shown[key], reopening.has.get(key)
        if covers(evidence, key, shown.stamp, stamp) and (has is None or shown.version > has.version):
            return True
    return False


def graves_lost(evidence: Evidence, begin_ns: int, end_ns: int) -> bool:
    if not evidence.outcome.reached["tombstones collected"]:
        return False
    return any(
        each.excuse and each.member == "leader" and begin_ns <= each.at_ns <= end_ns
        for each in evidence.outcome.observations.reopenings
    )


def tombstone(evidence: Evidence, key: str) -> int:
    entries = [each.entry for each in evidence.outcome.observations.sightings if not each.withdrawn]
    return max((entry.stamp for entry in entries if entry.key == key and entry.deleted), default=0)


# Checkers ----------------------------------------------------------------------------------------------------------


def legality(evidence: Evidence) -> Found:
    outcome = evidence.outcome
    if outcome.converged_s is None:
        return set()
    there = {**outcome.collected, **outcome.tables["leader"]}
    found: Found = set()
    for sighting in outcome.observations.sightings:
        entry, final = sighting.entry, there.get(sighting.entry.key)
        if sighting.withdrawn or gone(evidence, entry):
            continue
        if final is not None and final.version >= entry.version:
            continue
        if final is None or final.stamp == entry.stamp or not covers(evidence, entry.key, final.stamp, entry.stamp):
            found.add(("last write wins", entry.key))
    return found


def invented(evidence: Evidence) -> Found:
    found: Found = set()
    for sighting in evidence.outcome.observations.sightings:
        entry = sighting.entry
        explained = sighting.withdrawn or (entry.key, entry.stamp) in evidence.outcome.losses.appeared
        for record in evidence.outcome.records:
            if record.outcome == "info" and record.target == entry.key:
                explained = True
            if record.changes.get(entry.key) == entry.stamp:
                explained = explained or record.kind == "delete" or canonical(str(record.value)) == entry.data
        if not explained:
            found.add(("invented", f"{entry.key} {entry.stamp}"))
    return found


def uniqueness(evidence: Evidence) -> Found:
    births = [
        each
        for each in evidence.outcome.observations.sightings
        if not each.withdrawn and each.entry.origin == each.store
    ]
    return {
        ("stamp uniqueness", one.entry.key)
        for one, other in combinations(births, 2)
        if (one.store, one.entry.key, one.entry.stamp) == (other.store, other.entry.key, other.entry.stamp)
        and one.entry.version != other.entry.version
        and not forgot(evidence, one.member, one.entry.key, one.entry.stamp, one.at_ns, other.at_ns)
    }


def survival(evidence: Evidence) -> Found:
    outcome = evidence.outcome
    found: Found = set()
    if outcome.converged_s is None:
        return found
    there = {**outcome.collected, **outcome.tables["leader"]}
    for record in outcome.records:
        for key, stamp in record.changes.items() if record.outcome == "ok" else ():
            final = there[key].stamp if key in there else 0
            names = reissue_names(evidence, key, stamp)
            gaps = outcome.losses._gone.get(key, [])
            lost = final < min(names) and not any(a[0] < name <= b[0] for name in names for a, b in gaps)
            if lost:
                found.add(("resurrection" if record.kind == "delete" else "lost write", f"{record.id} {key}"))
    return found


def replicas(evidence: Evidence) -> Found:
    found: Found = set()
    shown = [each for each in evidence.outcome.observations.sightings if not each.withdrawn]
    for one, other in combinations(shown, 2):
        a, b = one.entry, other.entry
        if (one.member, a.key) != (other.member, b.key) or b.version >= a.version or gone(evidence, a):
            continue
        if a.stamp != b.stamp and covers(evidence, a.key, b.stamp, a.stamp):
            continue
        here = [each for each in shown[: shown.index(other)] if (each.member, each.entry.key) == (one.member, a.key)]
        newest = {each.entry.version: each for each in here}.values()
        graves = [each for each in newest if each.entry.deleted and each.entry.version >= a.version]
        if any(graves_lost(evidence, each.at_ns, other.at_ns) for each in graves):
            continue
        if not forgot(evidence, one.member, a.key, a.stamp, one.at_ns, other.at_ns):
            what = "resurrection" if a.deleted and not b.deleted else "replica monotonicity"
            found.add((what, f"{one.member} {a.key}"))
    return found


def reporting(evidence: Evidence) -> Found:
    found: Found = set()
    for member, key in {(each.member, each.entry.key) for each in evidence.outcome.observations.sightings}:
        here = [
            each for each in evidence.outcome.observations.sightings if (each.member, each.entry.key) == (member, key)
        ]
        for place in range(len(here) - 1):
            one, other = here[place], here[place + 1]
            a, b = one.entry, other.entry
            unseen = b.prev is not None and b.prev < a.stamp and b.version > a.version
            told = any(
                (each.member, each.key, each.winner, each.loser) == (member, key, b.stamp, a.stamp)
                for each in evidence.outcome.conflicts
            )
            if a.deleted and evidence.outcome.reached["tombstones collected"]:
                continue
            if one.life == other.life and not one.withdrawn and not other.withdrawn and unseen and not told:
                found.add(("unreported loss", f"{member} {key}"))
    return found


def durability(evidence: Evidence) -> Found:
    found: Found = set()
    for reopening in evidence.outcome.observations.reopenings:
        for key, had in () if reopening.excuse else reopening.had.items():
            has = reopening.has.get(key)
            kept = has is not None and (
                has.version >= had.version or (has.stamp != had.stamp and covers(evidence, key, has.stamp, had.stamp))
            )
            if not kept:
                found.add(("durability", f"{key} {had.stamp}"))
    return found


def sessions(evidence: Evidence) -> Found:
    found: Found = set()
    records = [record for record in evidence.outcome.records if record.outcome == "ok"]
    for a, b in product(records, records):
        assert a.answered_s is not None
        if (a.client, a.member) != (b.client, b.member) or not _ns(a.answered_s) < _ns(b.invoked_s):
            continue
        for (key, had), (other, has) in product(_touches(a), _touches(b)):
            if had and not _follows(evidence, a, b, (key, had), (other, has)):
                names = {
                    ("read", "read"): "monotonic reads",
                    ("read", "write"): "writes follow reads",
                    ("write", "read"): "read your writes",
                    ("write", "write"): "monotonic writes",
                }
                kinds = ("read" if a.kind == "read" else "write", "read" if b.kind == "read" else "write")
                found.add((names[kinds], f"{a.client} {a.member} {other}"))
    return found


def _follows(evidence: Evidence, a: Record, b: Record, had: tuple[str, int], has: tuple[str, int]) -> bool:
    begin_ns, end_ns = _ns(a.answered_s), _ns(b.answered_s)
    (key, before), (other, after) = had, has
    if key == other:
        if forgot(evidence, a.member, key, before, begin_ns, end_ns):
            return True
        if evidence.outcome.losses.gone(key, before):
            return True
        if b.kind == "read":
            return covers(evidence, key, after or tombstone(evidence, key), before)
        return after != before and covers(evidence, key, after, before)
    if a.kind != "read" or b.kind == "read":
        return True
    first = [
        each.at_ns
        for each in evidence.outcome.observations.sightings
        if each.member == a.member and each.entry.key == key and each.entry.stamp == before
    ]
    lowest = evidence.outcome.observations.lowest_ns.get(a.member, 0)
    if before > START_NS + (first[0] if first else 0) + lowest + evidence.plan.knobs.ahead_s_max * 5e8:
        return True
    for reopening in evidence.outcome.observations.reopenings:
        if reopening.excuse and reopening.member == a.member and begin_ns <= reopening.at_ns <= end_ns:
            return True
    return after > before


def _touches(record: Record) -> list[tuple[str, int]]:
    return [(record.target, record.saw)] if record.kind == "read" else list(record.changes.items())


def _ns(at_s: float | None) -> int:
    return round((at_s or 0.0) * 1e9)


def availability(evidence: Evidence) -> Found:
    found: Found = {("availability", str(record.id)) for record in evidence.outcome.late}
    for record in evidence.outcome.records:
        if record.outcome != "fail":
            continue
        waiting = [
            other
            for other in evidence.outcome.records
            if other.member == record.member
            and other.invoked_s <= record.invoked_s <= (other.answered_s if other.answered_s is not None else 1e9)
        ]
        reasons = {
            "down": True,
            "storage": record.disk_failed[0] < record.disk_failed[1],
            "busy": len(waiting) >= evidence.plan.knobs.mailbox_max,
        }
        if not reasons.get(record.code, False):
            found.add(("availability", str(record.id)))
    return found


def convergence(evidence: Evidence) -> Found:
    outcome = evidence.outcome
    if outcome.converged_s is not None or outcome.crashes:
        return set()
    views: list[Any] = [
        sorted((entry.key, entry.version) for entry in table.values() if not entry.deleted)
        for table in outcome.tables.values()
    ]
    if len(views) < len(evidence.plan.members) or any(view != views[0] for view in views):
        return {("convergence", "")}
    if not any(outcome.outboxes.values()):
        return {("convergence", "")}
    return {("outbox", member) for member, count in outcome.outboxes.items() if count}


def quiescence(evidence: Evidence) -> Found:
    outcome, equal_s = evidence.outcome, evidence.outcome.observations.equal_s
    noisy = equal_s is not None and not outcome.crashes and outcome.ended_s - equal_s > 75
    return {("quiescence", "")} if noisy else set()


def staleness(evidence: Evidence) -> Found:
    outcome, seen = evidence.outcome, evidence.outcome.observations
    calm_ns = outcome.ended_s * 1e9 if seen.upset_ns is None else seen.upset_ns
    shown = [each for each in seen.sightings if not each.withdrawn]
    for one, member in product(shown, evidence.plan.members):
        due_ns = max(one.at_ns + 5_030_000_000, 7_030_000_000)
        at = [each for each in shown if each.member == member and each.entry.key == one.entry.key]
        there = [each for each in at if each.at_ns <= due_ns and each.entry.version >= one.entry.version]
        if due_ns < calm_ns and not there and not outcome.crashes:
            return {("staleness", "")}
    return set()


def others(evidence: Evidence) -> Found:
    outcome = evidence.outcome
    found: Found = set()
    if any(gauge.peak > gauge.limit for gauge in outcome.observations.gauges) or outcome.network.lost:
        found.add(("bounded memory", ""))
    if outcome.crashes:
        found.add(("crash", ""))
    if outcome.broken:
        found.add(("broken", ""))
    if not outcome.settled:
        found.add(("settle", ""))
    return found
