"""SqliteEngine: keeps a store in one SQLite file; a commit of any size is one transaction.

Layer: engine. Write-ahead logging; the file is locked for as long as the engine is open, so that two processes never
share a store. All calls of SQLite happen in a worker thread, one at a time, one hop for a whole batch. The numbers in a
row are its seq in this store and what its upstream confirmed; see `pivot.core.collection.Row`.
Start at `SqliteEngine.commit`.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar, assert_never, final

import trio

from pivot.core.collection import Change, ClearAcks, PutRow, Row, SetCursor
from pivot.core.entry import Entry
from pivot.engine.base import StoreImage
from pivot.errors import StorageError
from pivot.types import Epoch, StoreId

FILE_NAME: Final = "pivot.db"
SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x50_56_54_31
"""Marks a SQLite file as ours."""
_SCHEMA: Final = """
CREATE TABLE store (id TEXT NOT NULL, epoch TEXT NOT NULL);
CREATE TABLE rows (
    key TEXT PRIMARY KEY, collection TEXT NOT NULL, seq INTEGER NOT NULL, acked INTEGER,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, deleted INTEGER NOT NULL, data TEXT NOT NULL,
    prev INTEGER, origin TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE cursors (collection TEXT PRIMARY KEY, epoch TEXT NOT NULL, cursor INTEGER NOT NULL) WITHOUT ROWID;
"""
_PUT: Final = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SET_CURSOR: Final = "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)"
_CLEAR_ACKS: Final = "UPDATE rows SET acked = NULL WHERE collection = ? AND acked IS NOT NULL"

Durability = Literal["full", "normal"]
_T = TypeVar("_T")


@final
class SqliteEngine:
    """A store in `<folder>/pivot.db`."""

    def __init__(self, folder: Path, *, new_id: Callable[[], str], durability: Durability = "full") -> None:
        """Prepare an engine; the file is opened, or made, by `open`.

        Args:
            folder: where the file is; made when it is not there.
            new_id: draws the id and the epoch of a new store.
            durability: `full`: a commit survives a power cut; `normal`: the last ones may not, older ones do.
        """
        self.file = folder / FILE_NAME
        self._new_id = new_id
        self._durability: Durability = durability
        self._database: sqlite3.Connection | None = None
        self._turn = trio.CapacityLimiter(1)

    @property
    def durability(self) -> str:
        """See `StorageEngine.durability`."""
        return self._durability

    async def open(self) -> StoreImage:
        """See `StorageEngine.open`.

        Raises:
            StorageError: the file is damaged, not ours, newer than we are, read-only, or open in another process.
        """
        return await self._in_thread(self._open)

    async def commit(self, changes: Sequence[Change]) -> None:
        """See `StorageEngine.commit`."""
        await self._in_thread(lambda: self._commit(changes))

    async def aclose(self) -> None:
        """Close the file; what was committed is in it."""
        await self._in_thread(self._close)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self._turn)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"store {self.file}: {_reason(error)}") from error

    # In the thread -----------------------------------------------------------------------------------------------

    def _open(self) -> StoreImage:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._database = database = sqlite3.connect(
            self.file, isolation_level=None, check_same_thread=False, timeout=1.0, cached_statements=16
        )
        try:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            new = self._check(database)  # before anything is written: another's file stays as it is
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {self._durability}")
            database.execute("BEGIN EXCLUSIVE")
            if new:
                self._begin(database)
            store, epoch = database.execute("SELECT id, epoch FROM store").fetchone()
            changes = list(_load(database))
            database.execute("COMMIT")
        except BaseException:
            self._close()
            raise
        return StoreImage(StoreId(store), Epoch(epoch), changes)

    def _check(self, database: sqlite3.Connection) -> bool:
        """Whether the file is new; raises when it is not one that we can use."""
        (found,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if found == 0 and version == 0 and tables == 0:
            return True
        if found != APPLICATION_ID:
            raise StorageError(f"store {self.file}: a SQLite file of another program (application id {found})")
        if version > SCHEMA_VERSION:
            raise StorageError(f"store {self.file}: has schema {version}, this program knows up to {SCHEMA_VERSION}")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StorageError(f"store {self.file}: damaged: {' '.join(verdict.split())}")
        return False

    def _begin(self, database: sqlite3.Connection) -> None:
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.execute("INSERT INTO store VALUES (?, ?)", (self._new_id(), self._new_id()))

    def _commit(self, changes: Sequence[Change]) -> None:
        database = self._database
        assert database is not None, "the engine is open"
        database.execute("BEGIN IMMEDIATE")
        try:
            _apply(database, changes)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _apply(database: sqlite3.Connection, changes: Iterable[Change]) -> None:
    rows: list[PutRow] = []
    for change in changes:
        if isinstance(change, PutRow):
            rows.append(change)
            continue
        _put(database, rows)
        rows = []
        match change:
            case SetCursor():
                database.execute(_SET_CURSOR, (change.collection, change.epoch, change.cursor))
            case ClearAcks():
                database.execute(_CLEAR_ACKS, (change.collection,))
            case _:
                assert_never(change)
    _put(database, rows)


def _put(database: sqlite3.Connection, changes: Sequence[PutRow]) -> None:
    if changes:
        database.executemany(_PUT, (_columns(change.collection, change.row) for change in changes))


def _columns(collection: str, row: Row) -> tuple[object, ...]:
    e = row.entry
    return (
        e.key, collection, row.seq, row.acked, e.created, e.updated, int(e.deleted), e.data, e.prev, e.origin
    )  # fmt: skip


def _load(database: sqlite3.Connection) -> Iterator[Change]:
    """Everything that is kept, rows in ascending `seq`."""
    rows: Iterable[tuple[str, str, int, int | None, int, int, int, str, int | None, str]]
    rows = database.execute("SELECT * FROM rows ORDER BY seq")
    for key, collection, seq, acked, created, updated, deleted, data, prev, origin in rows:
        entry = Entry(key, created, updated, data, bool(deleted), prev, StoreId(origin))
        yield PutRow(collection, Row(entry, seq, acked))
    cursors: Iterable[tuple[str, str, int]] = database.execute("SELECT * FROM cursors ORDER BY collection")
    for collection, epoch, cursor in cursors:
        yield SetCursor(collection, Epoch(epoch), cursor)


def _reason(error: Exception) -> str:
    """What SQLite or the system says, in words a person can act on."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if "locked" in str(error):
        return "open in another process"
    return str(error)
