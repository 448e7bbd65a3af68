"""Disk: what a simulated member keeps when it crashes, and how that can go wrong.

Layer: simulator/world. Theory of operation, after SQLite's write-ahead log:

Commits are records at the end of a log, each whole or not there: when a store is opened after a crash, the log is read
up to the first record that is torn, so what a crash takes is always a suffix, never a hole.

    durability                 what a crash may take
    `full`                     nothing that was committed: each commit is synced before it is answered
    `normal`                   the last commits, at most `UNSYNCED_MAX`
    any, while fsync lies      likewise, though they were answered as safe
    any, a commit on its way   that one: it is not there, or torn, or there although nobody was told
    any, a failed fsync        likewise, until another commit is kept

What rots is noticed when the store is opened, for everything has a checksum: the opening is refused.

Every opening begins another life of the store, which is a record, too; see `pivot.core.lineage`.
Start at `Disk.keep`, then `Disk.crash`; `drive` is the way there.
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, final

import msgspec

from pivot.core.collection import Change, Place, Retention, Row
from pivot.core.entry import Entry
from pivot.engine.base import StoreImage
from pivot.errors import StorageError
from pivot.types import NO_EPOCH, Epoch, StoreId
from simulator.errors import BadConditionsError
from simulator.world.contents import Contents
from simulator.world.rng import Stream, Streams

UNSYNCED_MAX: Final = 8
"""How many commits may be unsynced at most; older ones have reached the disk by themselves."""
SyncedDurability: TypeAlias = Literal["normal", "full"]


@final
class Trouble(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a disk misbehaves; plain data, JSON both ways.

    Attributes:
        slow_s: how much longer every commit takes, s.
        fail: probability that a commit fails with an I/O error; nothing of it is kept.
        fail_sync: probability that a commit is written and its fsync fails: a crash before the next commit may keep it.
        full: whether there is no space left; every commit fails.
        lies: whether commits are answered as synced and are not.
    """

    slow_s: float = 0.0
    fail: float = 0.0
    fail_sync: float = 0.0
    full: bool = False
    lies: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            BadConditionsError: names the number.
        """
        if not 0.0 <= self.slow_s <= 60.0:
            raise BadConditionsError("slow_s", self.slow_s, "0 to 60")
        for name, value in (("fail", self.fail), ("fail_sync", self.fail_sync)):
            if not 0.0 <= value <= 1.0:
                raise BadConditionsError(name, value, "0 to 1")


@final
class DiskStatistics(msgspec.Struct):
    """What became of the commits of one disk.

    Attributes:
        kept: commits that were kept.
        failed: commits that failed.
        slowed: commits that took longer than they should.
        lied: commits that were answered as synced and were not.
        lost: commits that a crash took.
        torn: records that a crash tore.
        unanswered: commits that a crash left there although nobody was told.
        unsynced: commits that were written and failed in the end, for their fsync failed.
        rotten: openings that were refused, for something was not as it had been written.
    """

    kept: int = 0
    failed: int = 0
    slowed: int = 0
    lied: int = 0
    lost: int = 0
    torn: int = 0
    unanswered: int = 0
    unsynced: int = 0
    rotten: int = 0


class _Record(msgspec.Struct, frozen=True):
    """A commit in the log, or the beginning of another life (`epoch`); a torn one holds some of its changes."""

    changes: tuple[Change, ...]
    torn: bool = False
    epoch: Epoch = NO_EPOCH

    def write(self, contents: Contents) -> None:
        if self.epoch:
            contents.begin_life(self.epoch)
        contents.apply(self.changes)


@final
class Disk:
    """A member's disk.

    Attributes:
        store: id of the store on it.
        durability: how its engine syncs.
        trouble: how it misbehaves now.
        statistics: what became of its commits.
        under_way: changes of the commit that is being written; empty = none is.
        unheard: changes of a commit that is kept and its stopped process has not heard of.
    """

    def __init__(
        self, *, store: StoreId, epoch: Epoch, durability: SyncedDurability = "full", chance: Stream | None = None
    ) -> None:
        self.store = store
        self.durability: SyncedDurability = durability
        self.trouble = Trouble()
        self.statistics = DiskStatistics()
        self.under_way: tuple[Change, ...] = ()
        self.unheard: tuple[Change, ...] = ()
        chance = Streams(0).stream("disk") if chance is None else chance
        self._failures, self._crashes = chance.fork("failures"), chance.fork("crashes")
        self._syncs, self._rot = chance.fork("syncs"), chance.fork("rot")
        self._doubtful: tuple[Change, ...] = ()  # written, not synced, and failed
        self._rotten: dict[str, Row] = {}  # as they were written
        self._now = Contents(epoch)
        self._base: Contents | None = None  # before the first unsynced record
        self._unsynced: list[_Record] = []

    @property
    def epoch(self) -> Epoch:
        """Life of its store."""
        return self._now.epoch

    @property
    def rows(self) -> dict[str, tuple[str, Row]]:
        """Key -> (collection, row) kept."""
        return self._now.rows

    @property
    def places(self) -> dict[str, Place]:
        """Collection -> where its store is in its upstream's feed."""
        return self._now.places

    @property
    def commits(self) -> int:
        """How many were kept."""
        return self.statistics.kept

    def retention(self, collection: str) -> Retention:
        """What became of the tombstones of a collection."""
        return self._now.retention(collection)

    def table(self) -> dict[str, Entry]:
        """Key -> version kept, tombstones included."""
        return self._now.table()

    def image(self) -> StoreImage:
        """What is kept, rows in ascending `seq`."""
        return self._now.image(self.store)

    def refusal(self) -> str:
        """Why the commit under way fails; empty when it does not."""
        failing = self._failures.chance(self.trouble.fail)  # always drawn: a commit has one place in the stream
        failing_sync = self._syncs.chance(self.trouble.fail_sync)
        if not failing and not failing_sync and not self.trouble.full:
            return ""
        self.statistics.failed += 1
        if failing:
            return "disk: I/O error"
        if self.trouble.full:
            return "disk: no space left"
        self.statistics.unsynced += 1
        self._doubtful = self.under_way
        return "disk: fsync failed"

    def rot(self) -> bool:
        """Let a bit of a row flip, unseen until the store is opened; False when there is none."""
        keys = sorted(self._now.rows)
        if keys:
            key = self._rot.choice(keys)
            self._rotten[key] = self._now.rows[key][1]
        return bool(keys)

    def check(self) -> None:
        """Read everything, and compare it with its checksums.

        Raises:
            StorageError: something is not as it was written.
        """
        rows = self._now.rows
        rotten = [key for key, row in self._rotten.items() if key in rows and rows[key][1] == row]
        if rotten:
            self.statistics.rotten += 1
            raise StorageError(f"disk: the checksum of {rotten[0]} is wrong")

    def sync(self) -> None:
        """Make safe what was kept, unless it lies."""
        if not self.trouble.lies:
            self._base, self._unsynced = None, []

    def copy(self) -> Contents:
        """A copy of what is kept, as a backup makes it."""
        return self._now.copy()

    def put_back(self, copy: Contents) -> None:
        """Replace everything by an older copy; nobody has the store open."""
        self._now, self._base, self._unsynced = copy.copy(), None, []
        self._rotten.clear()

    def keep(self, changes: Sequence[Change]) -> None:
        """Keep a commit; synced, or as safe as `durability` and `trouble` make it."""
        self.statistics.kept += 1
        self._doubtful = ()
        self.statistics.lied += self.durability == "full" and self.trouble.lies
        self._write(_Record(tuple(changes)))

    def begin_life(self, epoch: Epoch) -> None:
        """Begin another life of the store, as safe as a commit."""
        self._write(_Record((), epoch=epoch))

    def _write(self, record: _Record) -> None:
        if self.durability == "full" and not self.trouble.lies:
            self._base, self._unsynced = None, []
        else:
            if self._base is None:
                self._base = self._now.copy()
            self._unsynced.append(record)
            if len(self._unsynced) > UNSYNCED_MAX:
                self._unsynced.pop(0).write(self._base)
        record.write(self._now)

    def crash(self) -> tuple[Change, ...]:
        """Lose what a power cut takes; returns the changes of a commit that is there though nobody was told."""
        log, on_its_way = self._unsynced, self.under_way or self._doubtful
        self.under_way = self._doubtful = ()
        survivors = self._crashes.below(len(log) + 1)
        torn = self._crashes.chance(0.5)
        whole = self._crashes.chance(0.5)
        if on_its_way:
            log = [*log, _Record(on_its_way)]
            survivors += survivors == len(log) - 1 and whole
        if survivors < len(log) and torn:
            record = log[survivors]
            log = [*log[:survivors], _Record(record.changes[: len(record.changes) // 2], torn=True)]
            self.statistics.torn += 1
        else:
            log = log[:survivors]
        self.statistics.lost += max(0, len(self._unsynced) - survivors)
        unanswered = survivors > len(self._unsynced)
        self.statistics.unanswered += unanswered
        if self._base is not None:
            self._now = self._base
        self._recover(log)
        self._base, self._unsynced = None, []
        unheard, self.unheard = self.unheard, ()
        return on_its_way if unanswered else unheard

    def _recover(self, log: Sequence[_Record]) -> None:
        """Read the log up to the first torn record."""
        for record in log:
            if record.torn:
                break
            record.write(self._now)
