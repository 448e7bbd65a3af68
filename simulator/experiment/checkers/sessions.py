"""Sessions: what one client may rely on at one member (G4, G5), after Terry et al., "Session guarantees" (1994).

Layer: simulator/experiment/checkers. Theory: operation A of a client comes before B if A was answered before B was
asked. At one member, per key:

    read your writes       B reads what A wrote, or something later
    monotonic reads        B reads what A read, or something later
    monotonic writes       B's write is later than A's
    writes follow reads    B's write is later than what A read; of other keys, too, while stamps are not far ahead

"Later" is later in the one order, by way of what was written again; a read that finds nothing counts as the greatest
deletion of its key. All four say: what B has is at least what A had. Of what earlier operations had it is enough to
remember the latest per member and key (the *mark*), since later is transitive; and, as a write's stamp must be its own,
who had each stamp. One sweep over invocations and answers in order of time: O(n log n).
"""

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, final

import msgspec

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.history import Record
from simulator.world.chance import START_NS

Guarantee: TypeAlias = Literal["read your writes", "monotonic reads", "monotonic writes", "writes follow reads"]
GUARANTEES: Final[dict[tuple[bool, bool], Guarantee]] = {
    (False, True): "read your writes",
    (True, True): "monotonic reads",
    (False, False): "monotonic writes",
    (True, False): "writes follow reads",
}
"""(Whether A read, whether B read) -> what they are to each other."""


@final
class Touch(msgspec.Struct, frozen=True):
    """What an operation had of one key: the stamp that it wrote, or read (0 = nothing was there)."""

    record: Record
    key: str
    stamp: int
    at_ns: int


@final
class Marks:
    """What one client had before, as far as it binds what it does next."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._latest: dict[tuple[str, str, bool], Touch] = {}
        self._exact: dict[tuple[str, str, bool, int], Touch] = {}
        self._reads: dict[str, Touch] = {}

    def note(self, touch: Touch) -> None:
        """An operation was answered."""
        evidence, member, is_read = self._evidence, touch.record.member, touch.record.kind == "read"
        if is_read and not touch.stamp:
            return  # that nothing was there binds nobody
        where = (member, touch.key, is_read)
        old = self._latest.get(where)
        if old is None or evidence.covers(touch.key, touch.stamp, old.stamp) or _forgot(evidence, old, touch):
            self._latest[where] = touch
        self._exact[member, touch.key, is_read, touch.stamp] = touch
        if is_read and not _is_far_ahead(evidence, touch):
            best = self._reads.get(member)
            if best is None or best.stamp < touch.stamp or _restarted(evidence, best, touch):
                self._reads[member] = touch

    def bind(self, after: Touch) -> list[Touch]:
        """What an operation that was asked after all these must not be less than."""
        member, is_read = after.record.member, after.record.kind == "read"
        found = [self._latest.get((member, after.key, was_read)) for was_read in (False, True)]
        if not is_read:
            found += [self._exact.get((member, after.key, was_read, after.stamp)) for was_read in (False, True)]
            other = self._reads.get(member)
            found.append(other if other is not None and other.key != after.key else None)
        return [touch for touch in found if touch is not None]


def sessions(evidence: Evidence) -> list[Violation]:
    """All four guarantees of all clients; of each the first violation per client, member and key."""
    violations: dict[tuple[str, str, str, str], Violation] = {}
    for records in by_client(evidence.outcome.records).values():
        marks = Marks(evidence)
        answers = sorted((touch for record in records for touch in touches(record)), key=_when)
        place = 0
        for record in records:
            invoked_ns = round(record.invoked_s * 1e9)
            while place < len(answers) and answers[place].at_ns < invoked_ns:
                marks.note(answers[place])
                place += 1
            for after in touches(record):
                for before in marks.bind(after):
                    violation = judge(evidence, before, after)
                    if violation is not None:
                        where = (violation.checker, record.client, record.member, after.key)
                        violations.setdefault(where, violation)
    return list(violations.values())


def by_client(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Client -> its operations that were acknowledged, in the order in which it asked."""
    clients: dict[str, list[Record]] = {}
    for record in records:
        if record.outcome == "ok" and record.client:
            clients.setdefault(record.client, []).append(record)
    return clients


def touches(record: Record) -> list[Touch]:
    """What an acknowledged operation had, key by key."""
    at_ns = round((record.answered_s or 0.0) * 1e9)
    if record.kind == "read":
        return [Touch(record, record.target, record.saw, at_ns)]
    return [Touch(record, key, stamp, at_ns) for key, stamp in record.changes.items()]


def _when(touch: Touch) -> int:
    return touch.at_ns


def judge(evidence: Evidence, before: Touch, after: Touch) -> Violation | None:
    """What is wrong with two touches at one member, the first of which was answered before the second was asked."""
    read_before, reads = before.record.kind == "read", after.record.kind == "read"
    if before.key == after.key:
        later = reads or after.stamp != before.stamp
        if later and evidence.covers(before.key, after.stamp, before.stamp):
            return None
        if _forgot(evidence, before, after) or evidence.outcome.losses.gone(before.key, before.stamp):
            return None
    elif reads or not read_before or after.stamp > before.stamp or _restarted(evidence, before, after):
        return None
    guarantee = GUARANTEES[read_before, reads]
    had = f"{'read' if read_before else 'wrote'} {before.key} with stamp {before.stamp}"
    if not reads:
        has = f"wrote {after.key} with stamp {after.stamp}"
    else:
        has = f"read stamp {after.stamp}" if after.stamp else "found nothing"
    sentence = (
        f"{guarantee}: at {after.record.member} client {after.record.client} {had} (operation {before.record.id}), "
        f"and then {has} (operation {after.record.id})"
    )
    ids = (before.record.id, after.record.id)
    return Violation(guarantee, after.key, sentence, ids, (before.stamp, after.stamp))


def _forgot(evidence: Evidence, before: Touch, after: Touch) -> bool:
    return evidence.forgot(before.record.member, before.key, before.stamp, before.at_ns, after.at_ns)


def _restarted(evidence: Evidence, before: Touch, after: Touch) -> bool:
    """Whether the member began with less in between: its clock then starts from what it still has."""
    return any(
        reopening.excuse and reopening.member == before.record.member and before.at_ns <= reopening.at_ns <= after.at_ns
        for reopening in evidence.outcome.observations.reopenings
    )


def _is_far_ahead(evidence: Evidence, touch: Touch) -> bool:
    """Whether a stamp may have been too far ahead of its member's clock to move it.

    Half of what is allowed, counted from when it was first seen there, under the slowest that this clock ever was: time
    passes, and clocks jump, between a decision and the moment when it shows.
    """
    sightings = evidence.sightings_of.get((touch.record.member, touch.key), ())
    seen_ns = next((each.at_ns for each in sightings if each.entry.stamp == touch.stamp), 0)
    lowest_ns = evidence.outcome.observations.lowest_ns.get(touch.record.member, 0)
    return touch.stamp > START_NS + seen_ns + lowest_ns + evidence.plan.knobs.ahead_s_max * 5e8
