"""Collection: the rows of one configured key or glob, their feed and their outbox, and changes not yet committed.

Layer: core (pure). Theory of operation:

A `Row` is an entry with two facts local to one store: `seq`, when this store last changed the row, and `acked`, under
which number our upstream confirmed this very version (None = it has not). The *feed* is the rows in the order of `seq`:
each key once, newest version, so its size is bounded by the number of keys however long a reader was away. The *outbox*
is those rows whose `acked` is None, in the same order. There is no log beside the rows.

Beside rows it keeps two small facts: the *place* we have read to in our upstream's feed, and, for those who read ours,
the *retention*: who follows us and how far, and up to where tombstones were collected.

A change is *staged* first (later steps of the same batch build on it) and applied when it was committed; reads, pages
and outbox see applied rows only. `apply` is also how a store is loaded, so a restart and a commit cannot disagree.
Start at `Collection.stage`.
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TypeAlias, assert_never, final

import msgspec
from msgspec.structs import replace

from pivot.core.digest import NO_DIGEST, BucketSums
from pivot.core.entry import Entry
from pivot.core.seqindex import SeqIndex
from pivot.types import NO_EPOCH, Epoch, StoreId


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An entry as one store holds it.

    Attributes:
        entry: the version.
        seq: this store's own number of the row's last change, local or merged.
        acked: the upstream's number for this version; None while it has not confirmed it.
    """

    entry: Entry
    seq: int
    acked: int | None = None


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where we are in our upstream's feed of one collection.

    Attributes:
        epoch: the upstream's life; empty = none known.
        cursor: we have everything up to here.
        floor: greatest floor we heard of in that life; above `cursor` it means that we missed collected tombstones.
        collected: greatest stamp of a tombstone that was collected there, in that life or an earlier one, ns.
        cluster: what was here before we followed this cluster was wiped for it; empty = nothing was.
        head: greatest end that the feed had when we read it; a row may have moved there from before `cursor`, unread.
    """

    epoch: Epoch = NO_EPOCH
    cursor: int = 0
    floor: int = 0
    collected: int = 0
    cluster: str = ""
    head: int = 0


class Retention(msgspec.Struct, frozen=True, gc=False):
    """What became of the tombstones of a feed that others follow.

    Attributes:
        floor: greatest `seq` of a tombstone that was collected; who reads from below it may have missed some.
        collected: greatest stamp of one, ns.
        since_ns: wall time at which this life of the collection began.
        known: whether the operator said that the list of followers is complete.
    """

    floor: int = 0
    collected: int = 0
    since_ns: int = 0
    known: bool = False


class Follower(msgspec.Struct, frozen=True, gc=False):
    """A store that follows a collection of ours.

    Attributes:
        store: its id; a wiped member is another follower.
        name: how its member calls itself; a later store of the same name replaces it.
        cursor: it has kept everything up to here.
        heard_ns: wall time of its last sign of life.
    """

    store: StoreId
    name: str
    cursor: int
    heard_ns: int


class PutRow(msgspec.Struct, frozen=True, gc=False, tag="row"):
    """Keep this row instead of the one with its key."""

    collection: str
    row: Row


class DropRow(msgspec.Struct, frozen=True, gc=False, tag="drop"):
    """Keep no row of this key; `seq` was its number, which is not used again."""

    collection: str
    key: str
    seq: int


class SetPlace(msgspec.Struct, frozen=True, gc=False, tag="place"):
    """We are there in our upstream's feed of this collection."""

    collection: str
    place: Place


class ClearAcks(msgspec.Struct, frozen=True, gc=False, tag="clear"):
    """Our upstream begins a new life: of this collection it has confirmed what has a number up to `kept`."""

    collection: str
    kept: int = 0


class SetRetention(msgspec.Struct, frozen=True, gc=False, tag="retention"):
    """Tombstones of this collection were collected, or may be from now on."""

    collection: str
    retention: Retention


class SetFollower(msgspec.Struct, frozen=True, gc=False, tag="follower"):
    """This store follows this collection."""

    collection: str
    follower: Follower


class DropFollower(msgspec.Struct, frozen=True, gc=False, tag="unfollow"):
    """This store does not follow this collection any more."""

    collection: str
    store: StoreId


Change: TypeAlias = PutRow | DropRow | SetPlace | ClearAcks | SetRetention | SetFollower | DropFollower
"""What an engine keeps: the changes of one commit, applied in order, all or none."""


class FeedSlice(msgspec.Struct, frozen=True, gc=False):
    """Rows in feed order.

    Attributes:
        since: where the slice starts (exclusive).
        rows: each key once, ascending `seq`.
        next: where it ends: every row with `since < seq <= next` is in it, but for tombstones up to `floor`.
        head: greatest `seq` of the collection at that moment.
        floor: as in `Retention`, at that moment.
        collected: likewise.
        digest: of the collection's live rows at that moment; told only at the end of the feed.
        clock: greatest stamp of the store at that moment, ns.
        place: how much of its upstream's feed the collection had at that moment.
    """

    since: int
    rows: tuple[Row, ...]
    next: int
    head: int
    floor: int = 0
    collected: int = 0
    digest: str = NO_DIGEST
    clock: int = 0
    place: Place = Place()


@final
class Collection:
    """One unit of replication within a store.

    Attributes:
        path: the configured key or glob.
        follows: whether it has an upstream (a collection that leads has no outbox).
        head: greatest `seq` applied.
        newest: greatest stamp that an applied version had, also one that was dropped since, ns.
        acked_max: no row is confirmed under a greater number, committed or staged.
        place: where we are in our upstream's feed.
        retention: what became of our tombstones.
        followers: who follows us.
    """

    __slots__ = (
        "_digest", "_feed", "_outbox", "_rows", "_staged", "_staged_place", "_staged_retention", "_staged_rows",
        "_tombstones", "acked_max", "followers", "follows", "head", "newest", "path", "place", "retention",
    )  # fmt: skip

    def __init__(self, path: str, *, follows: bool) -> None:
        self.path = path
        self.follows = follows
        self.head = self.newest = self.acked_max = 0
        self.place = Place()
        self.retention = Retention()
        self.followers: dict[StoreId, Follower] = {}
        self._digest: BucketSums | None = None
        self._rows: dict[str, Row] = {}
        self._tombstones: dict[str, None] = {}
        self._feed = SeqIndex()
        self._outbox = SeqIndex()
        self._staged: list[Change] = []
        self._staged_rows: dict[str, Row | None] = {}
        self._staged_place: Place | None = None
        self._staged_retention: Retention | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def tombstones(self) -> int:
        """How many rows are tombstones."""
        return len(self._tombstones)

    @property
    def digest(self) -> BucketSums:
        """Fingerprint of the live rows; made when first asked for, so that loading a store does not wait for it."""
        if self._digest is None:
            self._digest = BucketSums(row.entry for row in self._rows.values() if not row.entry.deleted)
        return self._digest

    @property
    def outbox_size(self) -> int:
        """How many rows the upstream has not confirmed."""
        return len(self._outbox)

    # What was committed ------------------------------------------------------------------------------------------

    def get(self, key: str) -> Row | None:
        """The committed row of a key, tombstones included."""
        return self._rows.get(key)

    def rows(self) -> Iterable[Row]:
        """All committed rows, tombstones included, in no order that matters."""
        return self._rows.values()

    def tombstone_rows(self) -> list[Row]:
        """All committed tombstones, ascending `seq`."""
        return sorted((self._rows[key] for key in self._tombstones), key=attrgetter("seq"))

    def feed(self, since: int, *, rows_max: int, bytes_max: int) -> FeedSlice:
        """The oldest changes after `since`: at most `rows_max` rows and about `bytes_max` bytes, at least one row."""
        piece = self._slice(self._feed, since, rows_max=rows_max, bytes_max=bytes_max)
        return replace(piece, digest=self.digest.text()) if piece.since == self.head else piece

    def outbox(self, since: int, *, rows_max: int, bytes_max: int) -> FeedSlice:
        """As `feed`, of the rows that the upstream has not confirmed."""
        return self._slice(self._outbox, since, rows_max=rows_max, bytes_max=bytes_max)

    def _slice(self, index: SeqIndex, since: int, *, rows_max: int, bytes_max: int) -> FeedSlice:
        rows: list[Row] = []
        size, last, complete = 0, since, True
        for seq, key in index.after(since):
            row = self._rows[key]
            size += len(key) + len(row.entry.data) + 80
            if rows and (len(rows) == rows_max or size > bytes_max):
                complete = False
                break
            rows.append(row)
            last = seq
        return FeedSlice(
            since=since,
            rows=tuple(rows),
            next=max(since, self.head) if complete else last,
            head=self.head,
            floor=self.retention.floor,
            collected=self.retention.collected,
            place=self.place,
        )

    # What is being decided ---------------------------------------------------------------------------------------

    def peek(self, key: str) -> Row | None:
        """The row of a key as it will be after the commit: what a decision builds on."""
        return self._staged_rows[key] if key in self._staged_rows else self._rows.get(key)

    def peek_place(self) -> Place:
        """Our place as it will be after the commit."""
        return self._staged_place or self.place

    def peek_retention(self) -> Retention:
        """Our retention as it will be after the commit."""
        return self._staged_retention or self.retention

    def peek_keys(self) -> Iterator[str]:
        """Every key that has a row before or after the commit."""
        yield from self._rows
        yield from (key for key in self._staged_rows if key not in self._rows)

    def may_live(self, key: str) -> bool:
        """Whether a key has a value before or after the commit."""
        rows = (self._rows.get(key), self._staged_rows.get(key))
        return any(row is not None and not row.entry.deleted for row in rows)

    def stage(self, change: Change) -> Change:
        """Remember a change until it is committed; returns it."""
        self._staged.append(change)
        match change:
            case PutRow():
                self._staged_rows[change.row.entry.key] = change.row
                self.acked_max = max(self.acked_max, change.row.acked or 0)
            case DropRow():
                self._staged_rows[change.key] = None
            case SetPlace():
                self._staged_place = change.place
            case SetRetention():
                self._staged_retention = change.retention
            case ClearAcks() | SetFollower() | DropFollower():
                pass
            case _:
                assert_never(change)
        return change

    def commit(self) -> None:
        """Apply what was staged."""
        for change in self._staged:
            self.apply(change)
        self.discard()

    def discard(self) -> None:
        """Forget what was staged."""
        self._staged.clear()
        self._staged_rows.clear()
        self._staged_place = None
        self._staged_retention = None

    def apply(self, change: Change) -> None:
        """Make one committed change visible."""
        match change:
            case PutRow():
                self.put(change.row)
            case DropRow():
                self._drop(change)
            case SetPlace():
                self.place = change.place
            case ClearAcks():
                self._clear_acks(change.kept)
            case SetRetention():
                self.retention = change.retention
                self.head = max(self.head, change.retention.floor)
            case SetFollower():
                self.followers[change.follower.store] = change.follower
            case DropFollower():
                self.followers.pop(change.store, None)
            case _:
                assert_never(change)

    def put(self, row: Row) -> None:
        """Make one committed row visible."""
        key = row.entry.key
        old = self._rows.get(key)
        self._rows[key] = row
        self.acked_max = max(self.acked_max, row.acked or 0)
        if old is not None and old.seq == row.seq:  # the same version, confirmed
            if row.acked is not None:
                self._outbox.discard(row.seq)
            return
        if old is not None:
            self._leave(old)
        self._feed.append(row.seq, key)
        self.head = max(self.head, row.seq)
        self.newest = max(self.newest, row.entry.stamp)
        if self.follows and row.acked is None:
            self._outbox.append(row.seq, key)
        if row.entry.deleted:
            self._tombstones[key] = None
        elif self._digest is not None:
            self._digest.add(row.entry)

    def _drop(self, change: DropRow) -> None:
        old = self._rows.pop(change.key, None)
        self.head = max(self.head, change.seq)
        if old is not None:
            self._leave(old)

    def _leave(self, old: Row) -> None:
        """Take a row out of every index."""
        self._feed.discard(old.seq)
        self._outbox.discard(old.seq)
        if old.entry.deleted:
            self._tombstones.pop(old.entry.key, None)
        elif self._digest is not None:
            self._digest.remove(old.entry)

    def _clear_acks(self, kept: int) -> None:
        self._outbox = SeqIndex()
        self.acked_max = kept
        for seq, key in self._feed.after(0):
            row = self._rows[key]
            if row.acked is not None and row.acked > kept:
                row = self._rows[key] = Row(row.entry, seq)
            if self.follows and row.acked is None:
                self._outbox.append(seq, key)
