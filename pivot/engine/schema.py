"""Schema: the tables of a store in SQLite, and how changes get into and out of them.

Layer: engine. Every table is STRICT, so that the check at opening also finds values of a wrong type. The numbers in
a row are its seq in this store and what its upstream confirmed; see `pivot.core.collection.Row`.
Start at `apply` and `load`.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Final, assert_never

from pivot.core.collection import (
    Change,
    ClearAcks,
    DropFollower,
    DropRow,
    Follower,
    Place,
    PutRow,
    Retention,
    Row,
    SetFollower,
    SetPlace,
    SetRetention,
)
from pivot.core.entry import Entry
from pivot.core.lineage import LIVES_MAX, Life, Lineage
from pivot.types import Epoch, StoreId

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x50_56_54_31
"""Marks a SQLite file as ours."""
_LIVES: Final = "CREATE TABLE lives (number INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL) STRICT"
_TABLES: Final = f"""
CREATE TABLE store (id TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL) STRICT;
{_LIVES};
CREATE TABLE rows (
    key TEXT PRIMARY KEY, collection TEXT NOT NULL, seq INTEGER NOT NULL, acked INTEGER,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, deleted INTEGER NOT NULL, data TEXT NOT NULL,
    prev INTEGER, origin TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE places (
    collection TEXT PRIMARY KEY, epoch TEXT NOT NULL, cursor INTEGER NOT NULL, floor INTEGER NOT NULL,
    collected INTEGER NOT NULL, cluster TEXT NOT NULL, head INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE retentions (
    collection TEXT PRIMARY KEY, floor INTEGER NOT NULL, collected INTEGER NOT NULL, since_ns INTEGER NOT NULL,
    known INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE followers (
    collection TEXT NOT NULL, store TEXT NOT NULL, name TEXT NOT NULL, cursor INTEGER NOT NULL,
    heard_ns INTEGER NOT NULL, PRIMARY KEY (collection, store)
) STRICT, WITHOUT ROWID;
"""
_PUT: Final = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DROP: Final = "DELETE FROM rows WHERE key = ?"
_USED: Final = "UPDATE store SET seq = max(seq, ?)"
_SET_PLACE: Final = "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?, ?, ?)"
_SET_RETENTION: Final = "INSERT OR REPLACE INTO retentions VALUES (?, ?, ?, ?, ?)"
_SET_FOLLOWER: Final = "INSERT OR REPLACE INTO followers VALUES (?, ?, ?, ?, ?)"
_DROP_FOLLOWER: Final = "DELETE FROM followers WHERE collection = ? AND store = ?"
_CLEAR_ACKS: Final = "UPDATE rows SET acked = NULL WHERE collection = ? AND acked > ?"


def create(database: sqlite3.Connection, store: str, epoch: str) -> None:
    """Make the tables of a new store, within the transaction at hand."""
    for statement in _TABLES.split(";"):
        database.execute(statement)
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute("INSERT INTO store VALUES (?, ?, 0)", (store, epoch))


def upgrade(database: sqlite3.Connection) -> None:
    """Make the tables of an earlier version what they are now, all of them or none."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 1:  # which began another life only where commits may have been lost, and then forgot the one before
        database.execute("SAVEPOINT upgrade")
        database.execute(_LIVES)
        database.execute("ALTER TABLE store DROP COLUMN risk")
        # How far the feed went when it was read is not known: another life of the leader is read from the start.
        database.execute(f"ALTER TABLE places ADD COLUMN head INTEGER NOT NULL DEFAULT {2**63 - 1}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.execute("RELEASE upgrade")


def clear(database: sqlite3.Connection) -> None:
    """Take everything out but the store's identity and its number, within the transaction at hand."""
    for table in ("rows", "places", "retentions", "followers"):
        database.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours


def begin_life(database: sqlite3.Connection, epoch: str) -> None:
    """Begin another life of the store, within the transaction at hand; see `pivot.core.lineage`."""
    database.execute(
        "INSERT INTO lives (epoch, seq) SELECT epoch, max(seq, (SELECT coalesce(max(seq), 0) FROM rows)) FROM store"
    )
    database.execute("DELETE FROM lives WHERE number <= (SELECT max(number) FROM lives) - ?", (LIVES_MAX,))
    database.execute("UPDATE store SET epoch = ?", (epoch,))


def identify(database: sqlite3.Connection, store: str, epoch: str) -> None:
    """Make an empty store another one, which never lived, within the transaction at hand."""
    database.execute("UPDATE store SET id = ?, epoch = ?, seq = 0", (store, epoch))
    database.execute("DELETE FROM lives")


def load_lineage(database: sqlite3.Connection) -> Lineage:
    """The earlier lives of the store."""
    lives: Iterable[tuple[str, int]] = database.execute("SELECT epoch, seq FROM lives ORDER BY number")
    return Lineage(tuple(Life(Epoch(epoch), seq) for epoch, seq in lives))


def apply(database: sqlite3.Connection, changes: Iterable[Change]) -> None:
    """Write changes, in their order, within the transaction at hand."""
    rows: list[PutRow] = []
    for change in changes:
        if isinstance(change, PutRow):
            rows.append(change)
            continue
        _put(database, rows)
        rows = []
        match change:
            case DropRow():
                database.execute(_DROP, (change.key,))
                database.execute(_USED, (change.seq,))
            case SetPlace():
                p = change.place
                values = (change.collection, p.epoch, p.cursor, p.floor, p.collected, p.cluster, p.head)
                database.execute(_SET_PLACE, values)
            case ClearAcks():
                database.execute(_CLEAR_ACKS, (change.collection, change.kept))
            case SetRetention():
                r = change.retention
                columns = (change.collection, r.floor, r.collected, r.since_ns, int(r.known))
                database.execute(_SET_RETENTION, columns)
            case SetFollower():
                f = change.follower
                database.execute(_SET_FOLLOWER, (change.collection, f.store, f.name, f.cursor, f.heard_ns))
            case DropFollower():
                database.execute(_DROP_FOLLOWER, (change.collection, change.store))
            case _:
                assert_never(change)
    _put(database, rows)


def _put(database: sqlite3.Connection, changes: Sequence[PutRow]) -> None:
    if changes:
        database.executemany(_PUT, (columns(change.collection, change.row) for change in changes))


def columns(collection: str, row: Row) -> tuple[object, ...]:
    """A row as the table `rows` has it."""
    e = row.entry
    return (
        e.key, collection, row.seq, row.acked, e.created, e.updated, int(e.deleted), e.data, e.prev, e.origin
    )  # fmt: skip


def load(database: sqlite3.Connection) -> Iterator[Change]:
    """Everything that is kept, rows in ascending `seq`.

    Raises:
        sqlite3.Error: two rows have one number: whoever wrote the file was not us.
    """
    rows: Iterable[tuple[str, str, int, int | None, int, int, int, str, int | None, str]]
    rows = database.execute("SELECT * FROM rows ORDER BY seq")
    # The names of collections and stores are few: rows share them, which saves a third of a small row's memory.
    shared: dict[str, str] = {}
    last = 0
    for key, collection, seq, acked, created, updated, deleted, data, prev, origin in rows:
        if seq <= last:
            raise sqlite3.DatabaseError(f"damaged: row {key!r} has number {seq}, the row before it {last}")
        last = seq
        origin = shared.setdefault(origin, origin)  # noqa: PLW2901
        entry = Entry(key, created, updated, data, deleted != 0, prev, origin)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a call per row to name a type
        yield PutRow(shared.setdefault(collection, collection), Row(entry, seq, acked))
    places: Iterable[tuple[str, str, int, int, int, str, int]]
    places = database.execute("SELECT * FROM places ORDER BY collection")
    for collection, epoch, cursor, floor, collected, cluster, head in places:
        yield SetPlace(collection, Place(Epoch(epoch), cursor, floor, collected, cluster, head))
    kept: Iterable[tuple[str, int, int, int, int]] = database.execute("SELECT * FROM retentions ORDER BY collection")
    for collection, floor, collected, since_ns, known in kept:
        yield SetRetention(collection, Retention(floor, collected, since_ns, bool(known)))
    followers: Iterable[tuple[str, str, str, int, int]]
    followers = database.execute("SELECT * FROM followers ORDER BY collection, store")
    for collection, store, name, cursor, heard_ns in followers:
        yield SetFollower(collection, Follower(StoreId(store), name, cursor, heard_ns))


def replay(before: Iterable[Change], changes: Iterable[Change]) -> list[Change]:
    """What a store that held `before` holds after `changes`."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        create(database, "", "")
        apply(database, before)
        apply(database, changes)
        return list(load(database))
