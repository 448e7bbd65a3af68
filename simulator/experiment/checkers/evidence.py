"""Evidence: a played plan as checkers look at it, and what has to be forgiven.

Layer: simulator/experiment/checkers. Theory of operation:

Versions of one key are totally ordered by `V`, and what a member shows only goes up. There are three exceptions, all
legal, all known, and none of them wider than need be (`covers`, `forgot`, and `Losses.gone_version`):

    reissued    the version was written again under another stamp, which a member reported; that one stands for it
    forgotten   the member's store was opened again with less, and may have: memory, unsynced commits, a lost disk
    gone        every store that held it had to forget it

Absence has no stamp. It stands for a deletion, so it is legal where a tombstone is known, anywhere, that is greater
than the version that is missed; the tombstone itself may have been collected since.
"""

from functools import cached_property
from typing import final

from pivot.core.entry import Entry
from simulator.experiment.history import Record
from simulator.experiment.losses import Version
from simulator.experiment.observer import Sighting
from simulator.experiment.operations import Promote
from simulator.experiment.outcome import Outcome
from simulator.experiment.plan import LEADER, Plan


@final
class Evidence:
    """A played plan.

    Attributes:
        plan: what was played.
        outcome: what it left behind.
    """

    def __init__(self, plan: Plan, outcome: Outcome) -> None:
        self.plan = plan
        self.outcome = outcome

    @cached_property
    def versions(self) -> dict[str, list[Entry]]:
        """Key -> every version that any member ever showed, each once, in the order of first sight."""
        seen: dict[str, dict[Version, Entry]] = {}
        for sighting in self.outcome.observations.sightings:
            if not sighting.withdrawn:
                seen.setdefault(sighting.entry.key, {}).setdefault(sighting.entry.version, sighting.entry)
        return {key: list(versions.values()) for key, versions in seen.items()}

    @cached_property
    def writers(self) -> dict[tuple[str, int], list[Record]]:
        """(Key, stamp) -> acknowledged operations that were given this stamp."""
        writers: dict[tuple[str, int], list[Record]] = {}
        for record in self.outcome.records:
            for change in record.changes.items():
                writers.setdefault(change, []).append(record)
        return writers

    @cached_property
    def forgotten(self) -> dict[tuple[str, str], list[tuple[int, int]]]:
        """(Member, key) -> (when, greatest stamp that may be missing since), in order of time, ns."""
        forgotten: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for reopening in self.outcome.observations.reopenings:
            if reopening.excuse:
                for key, had in reopening.shown.items():
                    has = reopening.has.get(key)
                    if has is None or has.version < had.version:
                        forgotten.setdefault((reopening.member, key), []).append((reopening.at_ns, had.stamp))
        return forgotten

    @cached_property
    def sightings_of(self) -> dict[tuple[str, str], list[Sighting]]:
        """(Member, key) -> what was seen of it there, in order."""
        of: dict[tuple[str, str], list[Sighting]] = {}
        for sighting in self.outcome.observations.sightings:
            of.setdefault((sighting.member, sighting.entry.key), []).append(sighting)
        return of

    @cached_property
    def _led(self) -> frozenset[str]:
        """Who led at any time."""
        promoted = (step.operation.member for step in self.plan.steps if isinstance(step.operation, Promote))
        return frozenset((LEADER, *promoted))

    @cached_property
    def _tombstones(self) -> dict[str, int]:
        """Key -> greatest stamp of a tombstone."""
        return {
            key: max((entry.stamp for entry in entries if entry.deleted), default=0)
            for key, entries in self.versions.items()
        }

    def covers(self, key: str, there: int, written: int) -> bool:
        """Whether a version with stamp `there` (0 = nothing is there) is, or came after, the one with `written`."""
        there = there or self._tombstones.get(key, 0)
        return there >= written or (there > 0 and self.outcome.losses.covers(key, there, written))

    def forgot(self, member: str, key: str, stamp: int, begin_ns: int, end_ns: int) -> bool:
        """Whether a member may have forgotten a version between two moments."""
        return any(
            begin_ns <= at_ns <= end_ns and self.covers(key, most, stamp)  # it may have been written again before
            for at_ns, most in self.forgotten.get((member, key), ())
        )

    def graves_lost(self, tombstone: Entry, begin_ns: int, end_ns: int) -> bool:
        """Whether nobody may know any more that a tombstone was collected: who knew the floor lost its disk.

        A leader turns away who has not seen what it collected, for as long as it remembers that it did; in its next
        life a member that was away may bring back what was deleted.
        """
        collected = self.outcome.reached.get("tombstones collected", 0) > 0
        forgets = (
            each.at_ns for each in self.outcome.observations.reopenings if each.excuse and each.member in self._led
        )
        return tombstone.deleted and collected and any(begin_ns <= at_ns <= end_ns for at_ns in forgets)

    def name(self, key: str, stamp: int) -> str:
        """A version as people call it: by the operation that wrote it, if that is known."""
        writers = self.writers.get((key, stamp), ())
        ids = " or ".join(f"operation {record.id} ({record.kind} at {record.member})" for record in writers)
        return f"{ids or 'a version'} of stamp {stamp}"

    def ids(self, key: str, *stamps: int) -> tuple[int, ...]:
        """Numbers of the operations that wrote these versions."""
        return tuple(record.id for stamp in stamps for record in self.writers.get((key, stamp), ()))
