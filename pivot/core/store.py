"""Store: the collections of one store, its clock and its numbers; what every decision about data is made of.

Layer: core (pure). Changes are staged here and become visible with `commit`; see `collection` for what that means.
Start at `Store.peek` and `Store.stage`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, final

from pivot.config import Knobs
from pivot.core.clock import HybridClock
from pivot.core.collection import Change, Collection, PutRow, Row, SetRetention
from pivot.core.entry import Entry, overwrote_unseen, supersedes
from pivot.core.notices import Conflict
from pivot.core.questions import CollectionInfo, StoreInfo
from pivot.paths import is_glob, matches, overlap
from pivot.types import Epoch, StoreId

CONFLICTS_MAX: Final = 1000
"""How many lost updates are remembered, so that a repeated message does not report one again."""
SPENT_MAX: Final = 10_000
"""How many stamps of versions that were written again are remembered; after a restart none is."""
UNREPLICATED: Final = ""
"""Path of the collection that holds what no configured key matches; it stays in this store."""
_INDEX_TAG_BITS: Final = 10


@final
@dataclass(slots=True)
class Resync:
    """A re-sync of one collection, as far as it is; it begins again when anything about it is lost.

    Attributes:
        floor: the leader's floor; all pages carry it.
        position: where the next page must start.
        keys: what the leader has, in the order in which it came.
    """

    floor: int
    position: int = 0
    keys: dict[str, None] = field(default_factory=dict[str, None])


@final
class Store:
    """The data of one store, committed and staged.

    Attributes:
        id: identity of the store.
        epoch: its life.
        clock: stamps local writes.
        conflicts: lost updates seen since it was opened.
        commits: how many there were since then; as long as it stands still, what is committed does.
    """

    def __init__(
        self,
        store_id: StoreId,
        epoch: Epoch,
        collections: Mapping[str, bool],
        knobs: Knobs,
        changes: Iterable[Change] = (),
        *,
        seq: int = 0,
    ) -> None:
        """Load a store.

        Args:
            store_id: its identity.
            epoch: its life.
            collections: configured key -> whether it has an upstream.
            knobs: limits.
            changes: what the engine kept, rows in ascending `seq`.
            seq: no row gets a number up to here any more.
        """
        self.id = store_id
        self.epoch = epoch
        self.clock = HybridClock(ahead_ns_max=round(knobs.ahead_s_max * 1e9))
        self.conflicts = 0
        self.commits = 0
        self._collections = {path: Collection(path, follows=follows) for path, follows in collections.items()}
        self._collections[UNREPLICATED] = Collection(UNREPLICATED, follows=False)
        self._globs = [path for path in collections if is_glob(path)]
        # One search finds the glob of a key, whatever their number: no two configured keys match one path.
        texts = (re.escape(path).replace(r"\*", "[^/]+") for path in self._globs)
        self._glob_of = re.compile("|".join(f"({text})" for text in texts) or r"(?!)").fullmatch
        self._dirty: dict[str, Collection] = {}
        self._resyncs: dict[str, Resync] = {}
        self._met: dict[tuple[str, int, int], None] = {}
        self._just_met: list[tuple[str, int, int]] = []
        self._spent: dict[tuple[str, int], None] = {}
        self._tag = int.from_bytes(hashlib.blake2b(store_id.encode(), digest_size=2).digest()) % (1 << _INDEX_TAG_BITS)
        self._seq = seq
        self._pushed = 0
        self._load(changes)

    def _load(self, changes: Iterable[Change]) -> None:
        """Take over what the engine kept, also when the configured keys are not what they were then."""
        seq, last = self._seq, 0
        for change in changes:
            if isinstance(change, PutRow):
                row, path = change.row, change.collection
                entry = row.entry
                seq = max(seq, row.seq)
                last = max(last, entry.created, entry.updated)
                home = self.collection_of(entry.key)
                if home.path != path:  # what an upstream confirmed elsewhere says nothing here
                    row = Row(entry, row.seq)
                home.put(row)
                continue
            if isinstance(change, SetRetention):
                seq = max(seq, change.retention.floor)
            if change.collection in self._collections:
                self._collections[change.collection].apply(change)
        self._seq, self.clock.last = seq, max(self.clock.last, last)

    def __getitem__(self, path: str) -> Collection:
        """The collection configured as `path`."""
        return self._collections[path]

    def collection_of(self, key: str) -> Collection:
        """The collection that a key belongs to."""
        exact = self._collections.get(key)
        if exact is not None and exact.path != UNREPLICATED:
            return exact
        found = self._glob_of(key)
        return self._collections[UNREPLICATED if not found else self._globs[(found.lastindex or 1) - 1]]

    def replicated(self) -> list[Collection]:
        """The collections that are configured."""
        return [collection for path, collection in self._collections.items() if path != UNREPLICATED]

    # Staging -----------------------------------------------------------------------------------------------------

    def stage(self, change: Change) -> Change:
        """Remember a change until the commit; returns it."""
        collection = self._collections[change.collection]
        self._dirty[collection.path] = collection
        return collection.stage(change)

    def stage_entry(self, entry: Entry, *, acked: int | None) -> PutRow:
        """Take a version as this store's next change; returns the change."""
        self._seq += 1
        change = PutRow(self.collection_of(entry.key).path, Row(entry, self._seq, acked))
        self.stage(change)
        return change

    def commit(self) -> list[Collection]:
        """Make what was staged visible; returns the collections whose feed grew."""
        self.commits += 1
        grown: list[Collection] = []
        for collection in self._dirty.values():
            before = collection.head
            collection.commit()
            if collection.head > before:
                grown.append(collection)
        self._dirty.clear()
        self._just_met.clear()
        return grown

    def discard(self) -> None:
        """Forget what was staged; numbers and stamps that it used stay used."""
        for collection in self._dirty.values():
            collection.discard()
        self._dirty.clear()
        self._resyncs.clear()
        for meeting in self._just_met:  # nobody was told: they will meet again
            self._met.pop(meeting, None)
        self.conflicts -= len(self._just_met)
        self._just_met.clear()

    # Deciding ----------------------------------------------------------------------------------------------------

    def next_version(self, wall_ns: int, key: str, data: str | None) -> Entry:
        """The version that a user's write (None = delete) here makes: it always wins over what is here."""
        collection = self.collection_of(key)
        row = collection.peek(key)
        prev = 0 if row is None else row.entry.stamp
        # A tombstone of the key may have been collected, and still be somewhere: this write must be greater.
        collected = max(collection.peek_place().collected, collection.peek_retention().collected)
        stamp = self.fresh_stamp(wall_ns, key, above=prev if row is not None else collected)
        created, updated = (stamp, 0) if row is None or row.entry.deleted else (row.entry.created, stamp)
        return Entry(key, created, updated, data or "", deleted=data is None, prev=prev, origin=self.id)

    def fresh_stamp(self, wall_ns: int, key: str, *, above: int) -> int:
        """A stamp later than all before and than `above`, which a key was not given before."""
        stamp = self.clock.tick(wall_ns=wall_ns, above=above)
        while (key, stamp) in self._spent:
            stamp = self.clock.tick(wall_ns=wall_ns, above=stamp)
        return stamp

    def spend(self, entry: Entry) -> None:
        """Never give the stamp of this version to its key again, though the clock goes back behind it."""
        self._spent[entry.key, entry.stamp] = None
        if len(self._spent) > SPENT_MAX:
            del self._spent[next(iter(self._spent))]

    def fresh_key(self, wall_ns: int, pattern: str) -> str:
        """A key that no write anywhere has used: the ns clock, its lowest bits replaced by this store's tag.

        Two members that push at the same instant would otherwise draw one key, and one push would supersede the other.
        """
        self._pushed = max(self._pushed, (max(wall_ns, self.clock.last + 1) >> _INDEX_TAG_BITS) - 1)
        while True:
            self._pushed += 1  # never looks again at what it gave out, however slowly the clock goes
            key = pattern[:-1] + format((self._pushed << _INDEX_TAG_BITS) | self._tag, "016x")
            if self.collection_of(key).peek(key) is None:
                return key

    def doomed(self, pattern: str) -> list[str]:
        """Keys that a delete of `pattern` hits, in key order: live, or live again should the commit fail."""
        if not is_glob(pattern):
            return [pattern] if self.collection_of(pattern).may_live(pattern) else []
        return sorted(
            key
            for collection in self._matching(pattern)
            for key in collection.peek_keys()
            if collection.may_live(key) and matches(pattern, key)
        )

    def conflict(self, row: Row | None, entry: Entry) -> Conflict | None:
        """The lost update that shows when `entry` meets `row`; each one once."""
        if row is None:
            return None
        winner, loser = (entry, row.entry) if supersedes(entry, row.entry) else (row.entry, entry)
        meeting = (entry.key, winner.stamp, loser.stamp)
        if not overwrote_unseen(winner, loser) or meeting in self._met:
            return None
        self._met[meeting] = None
        if winner is entry or self.collection_of(entry.key).get(entry.key) is not row:
            self._just_met.append(meeting)  # it stands or falls with what is being staged
        self.conflicts += 1
        if len(self._met) > CONFLICTS_MAX:
            del self._met[next(iter(self._met))]
        return Conflict(winner, loser)

    def stranger(self, collection: Collection, entry: Entry) -> str:
        """Why an entry may not be merged into a collection; empty when it may."""
        if self.collection_of(entry.key) is collection:
            return ""
        return f"key {entry.key!r} is not in collection {collection.path!r}"

    def settle_clock(self, limit: int) -> None:
        """Our wall clock was ahead and is right again: go on from the greatest stamp up to `limit` only."""
        if self.clock.last > limit:
            stamps = (row.entry.stamp for collection in self._collections.values() for row in collection.rows())
            self.clock.last = max((stamp for stamp in stamps if stamp <= limit), default=0)

    def resync(self, path: str, floor: int, since: int) -> Resync | None:
        """The re-sync that a page goes on with, or begins when it starts at 0; None = there is none such."""
        if since == 0:
            self._resyncs[path] = Resync(floor)
        resync = self._resyncs.get(path)
        return resync if resync is not None and (resync.floor, resync.position) == (floor, since) else None

    def end_resync(self, path: str) -> None:
        """Forget a re-sync; no harm when there is none."""
        self._resyncs.pop(path, None)

    def resyncing(self, path: str) -> bool:
        """Whether a re-sync is under way."""
        return path in self._resyncs

    # Reading -----------------------------------------------------------------------------------------------------

    def live(self, pattern: str) -> list[Entry]:
        """Committed live entries that a glob matches, newest `created` first."""
        entries = [
            row.entry
            for collection in self._matching(pattern)
            for row in collection.rows()
            if not row.entry.deleted and matches(pattern, row.entry.key)
        ]
        entries.sort(key=lambda entry: (-entry.created, entry.key))
        return entries

    def live_keys(self, containing: str) -> list[str]:
        """Names of committed live entries that contain a text, in order."""
        return sorted(
            row.entry.key
            for collection in self._collections.values()
            for row in collection.rows()
            if not row.entry.deleted and containing in row.entry.key
        )

    def table(self) -> dict[str, Entry]:
        """Key -> committed version, tombstones included, of all collections that are replicated."""
        return {
            row.entry.key: row.entry
            for path, collection in self._collections.items()
            if path != UNREPLICATED
            for row in collection.rows()
        }

    @property
    def head(self) -> int:
        """Greatest committed sequence number of any collection."""
        return max(collection.head for collection in self._collections.values())

    @property
    def outbox_size(self) -> int:
        """How many rows wait for an upstream to confirm them."""
        return sum(collection.outbox_size for collection in self._collections.values())

    def describe(self) -> StoreInfo:
        """The store in numbers."""
        infos = tuple(
            CollectionInfo(
                path=path,
                follows=collection.follows,
                entries=len(collection) - collection.tombstones,
                tombstones=collection.tombstones,
                head=collection.head,
                newest=max(collection.newest, collection.retention.collected),
                place=collection.place,
                outbox=collection.outbox_size,
                retention=collection.retention,
                followers=tuple(collection.followers.values()),
            )
            for path, collection in self._collections.items()
        )
        return StoreInfo(self.id, self.epoch, self.clock.last, self.conflicts, infos)

    def _matching(self, pattern: str) -> list[Collection]:
        return [c for path, c in self._collections.items() if path == UNREPLICATED or overlap(path, pattern)]
