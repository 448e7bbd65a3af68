"""Collection: the rows of one configured key or glob, their feed and their outbox, and changes not yet committed.

Layer: core (pure). Theory of operation:

A `Row` is an entry with two facts local to one store: `seq`, when this store last changed the row, and `acked`, under
which number our upstream confirmed this very version (None = it has not). The *feed* is the rows in the order of `seq`:
each key once, newest version, so its size is bounded by the number of keys however long a reader was away. The *outbox*
is those rows whose `acked` is None, in the same order. There is no log beside the rows.

A change is *staged* first (later steps of the same batch build on it) and applied when it was committed; reads, pages
and outbox see applied rows only. `apply` is also how a store is loaded, so a restart and a commit cannot disagree.
Start at `Collection.stage`.
"""

from collections.abc import Iterable, Iterator
from typing import TypeAlias, assert_never, final

import msgspec

from pivot.core.entry import Entry
from pivot.core.seqindex import SeqIndex
from pivot.types import NO_EPOCH, Epoch


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


class PutRow(msgspec.Struct, frozen=True, gc=False, tag="row"):
    """Keep this row instead of the one with its key."""

    collection: str
    row: Row


class SetCursor(msgspec.Struct, frozen=True, gc=False, tag="cursor"):
    """We have read our upstream's feed of this collection up to here."""

    collection: str
    epoch: Epoch
    cursor: int


class ClearAcks(msgspec.Struct, frozen=True, gc=False, tag="clear"):
    """Our upstream begins a new life: it has confirmed nothing of this collection."""

    collection: str


Change: TypeAlias = PutRow | SetCursor | ClearAcks
"""What an engine keeps: the changes of one commit, applied in order, all or none."""


class FeedSlice(msgspec.Struct, frozen=True, gc=False):
    """Rows in feed order.

    Attributes:
        since: where the slice starts (exclusive).
        rows: each key once, ascending `seq`.
        next: where it ends: every row with `since < seq <= next` is in it.
        head: greatest `seq` of the collection at that moment.
    """

    since: int
    rows: tuple[Row, ...]
    next: int
    head: int


@final
class Collection:
    """One unit of replication within a store.

    Attributes:
        path: the configured key or glob.
        follows: whether it has an upstream (a collection that leads has no outbox).
        head: greatest `seq` applied.
        epoch: life of the upstream that `cursor` belongs to; empty = none known.
        cursor: place in the upstream's feed up to which we have read.
    """

    __slots__ = (
        "_feed", "_outbox", "_rows", "_staged", "_staged_cursor", "_staged_rows",
        "cursor", "epoch", "follows", "head", "path", "tombstones",
    )  # fmt: skip

    def __init__(self, path: str, *, follows: bool) -> None:
        self.path = path
        self.follows = follows
        self.head = 0
        self.epoch = NO_EPOCH
        self.cursor = 0
        self.tombstones = 0
        self._rows: dict[str, Row] = {}
        self._feed = SeqIndex()
        self._outbox = SeqIndex()
        self._staged: list[Change] = []
        self._staged_rows: dict[str, Row] = {}
        self._staged_cursor: tuple[Epoch, int] | None = None

    def __len__(self) -> int:
        return len(self._rows)

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

    def feed(self, since: int, *, rows_max: int, bytes_max: int) -> FeedSlice:
        """The oldest changes after `since`: at most `rows_max` rows and about `bytes_max` bytes, at least one row."""
        return self._slice(self._feed, since, rows_max=rows_max, bytes_max=bytes_max)

    def outbox(self, since: int, *, rows_max: int, bytes_max: int) -> FeedSlice:
        """As `feed`, of the rows that the upstream has not confirmed."""
        return self._slice(self._outbox, since, rows_max=rows_max, bytes_max=bytes_max)

    def _slice(self, index: SeqIndex, since: int, *, rows_max: int, bytes_max: int) -> FeedSlice:
        rows: list[Row] = []
        size, last = 0, since
        complete = True
        for seq, key in index.after(since):
            row = self._rows[key]
            size += len(key) + len(row.entry.data) + 80
            if rows and (len(rows) == rows_max or size > bytes_max):
                complete = False
                break
            rows.append(row)
            last = seq
        return FeedSlice(
            since=since, rows=tuple(rows), next=max(since, self.head) if complete else last, head=self.head
        )

    # What is being decided ---------------------------------------------------------------------------------------

    def peek(self, key: str) -> Row | None:
        """The row of a key as it will be after the commit: what a decision builds on."""
        return self._staged_rows.get(key) or self._rows.get(key)

    def peek_cursor(self) -> tuple[Epoch, int]:
        """Epoch and cursor as they will be after the commit."""
        return self._staged_cursor or (self.epoch, self.cursor)

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
            case SetCursor():
                self._staged_cursor = (change.epoch, change.cursor)
            case ClearAcks():
                pass
            case _:
                assert_never(change)
        return change

    def commit(self) -> tuple[Row, ...]:
        """Apply what was staged; returns the rows that changed, each key once."""
        for change in self._staged:
            self.apply(change)
        changed = tuple(self._staged_rows.values())
        self.discard()
        return changed

    def discard(self) -> None:
        """Forget what was staged."""
        self._staged.clear()
        self._staged_rows.clear()
        self._staged_cursor = None

    def apply(self, change: Change) -> None:
        """Make one committed change visible."""
        match change:
            case PutRow():
                self._put(change.row)
            case SetCursor():
                self.epoch, self.cursor = change.epoch, change.cursor
            case ClearAcks():
                self._clear_acks()
            case _:
                assert_never(change)

    def _put(self, row: Row) -> None:
        key = row.entry.key
        old = self._rows.get(key)
        self._rows[key] = row
        self.tombstones += row.entry.deleted - (old is not None and old.entry.deleted)
        if old is None or old.seq != row.seq:
            if old is not None:
                self._feed.discard(old.seq)
                self._outbox.discard(old.seq)
            self._feed.append(row.seq, key)
            self.head = max(self.head, row.seq)
            if self.follows and row.acked is None:
                self._outbox.append(row.seq, key)
        elif row.acked is not None:
            self._outbox.discard(row.seq)

    def _clear_acks(self) -> None:
        self._outbox = SeqIndex()
        for seq, key in self._feed.after(0):
            self._rows[key] = Row(self._rows[key].entry, seq)
            if self.follows:
                self._outbox.append(seq, key)
