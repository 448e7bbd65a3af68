"""SqliteEngine: keeps a store in one SQLite file; a commit of any size is one transaction.

Layer: engine. Write-ahead logging; the file is locked for as long as the engine is open, so that two processes never
share a store. One thread owns the connection; a batch is one hop.

When the disk fails: a commit that SQLite could not make is refused, and rolled back. If there was no room, the same
connection goes on. After any other error of the disk the connection is not trusted any more (its file handle may be
stale): it is closed, and this or a later commit opens the file again. What that finds is compared with what was there
before: the refused transaction may be in the file after all, when only the last wait for the disk had failed, and is
then taken out again; see `Doubt`. Between two attempts there is a pause in which commits are refused unseen, so that a
big store that cannot be opened keeps nobody from reading what is in memory.

Start at `SqliteEngine.commit`.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec
import trio

from pivot.core.collection import Change
from pivot.engine.base import StoreImage
from pivot.engine.opening import FILE_NAME, Durability, Opened, flaw, naming, open_store
from pivot.engine.schema import apply, clear, load, replay
from pivot.engine.thread import OwnerThread
from pivot.errors import StorageError
from pivot.types import Epoch, StoreId

__all__ = ["FILE_NAME", "Durability", "SqliteEngine"]

_T = TypeVar("_T")
_PAUSE_S: Final = 0.25, 10.0
"""Shortest and longest pause between two attempts to open a file whose disk has failed."""
_PAUSE_SHARE: Final = 4
"""A pause is so many times as long as the attempt before it."""
_CONNECTION_LIVES: Final = (
    0,
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
)  # fmt: skip
"""Errors after which the same connection can go on: the disk took nothing, and said so."""


@final
class Doubt(msgspec.Struct, frozen=True):
    """A transaction that was refused, and may be in the file all the same.

    Attributes:
        before: what was kept before it, as the failed connection still saw it; None = that could not be read.
        changes: of the transaction.
    """

    before: list[Change] | None
    changes: Sequence[Change]


@final
class SqliteEngine:
    """A store in `<folder>/pivot.db`.

    Attributes:
        file: where it is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        new_id: Callable[[], str],
        durability: Durability = "full",
    ) -> None:
        """Prepare an engine; the file is opened, or made, by `open`.

        Args:
            folder: where the file is; made when it is not there.
            new_id: draws the id and the epoch of a new store.
            durability: `full`: a commit survives a power cut; `normal`: the last ones may not, older ones do.
        """
        self.file = folder / FILE_NAME
        self._new_id = new_id
        self._durability: Durability = durability
        self._thread = OwnerThread(f"pivot store {folder}")
        # What follows belongs to the thread.
        self._database: sqlite3.Connection | None = None
        self._identity: tuple[StoreId, Epoch] | None = None
        self._doubt: Doubt | None = None
        self._hopeless = ""
        # And this does not.
        self._paused_until = 0.0
        self._paused_for = ""

    @property
    def durability(self) -> str:
        """See `StorageEngine.durability`."""
        return self._durability

    async def open(self) -> StoreImage:
        """See `StorageEngine.open`.

        Raises:
            StorageError: the file is damaged, not ours, newer than we are, read-only, or open in another process.
        """
        try:
            return await self._in_thread(self._open)
        except StorageError:
            self._thread.stop()
            raise

    async def commit(self, changes: Sequence[Change]) -> None:
        """See `StorageEngine.commit`."""
        begun = trio.current_time()
        if begun < self._paused_until:
            raise StorageError(self._paused_for)
        try:
            await self._in_thread(lambda: self._commit(changes))
        except StorageError as error:
            if self._database is None:
                now, (least, most) = trio.current_time(), _PAUSE_S
                self._paused_until = now + min(max(_PAUSE_SHARE * (now - begun), least), most)
                self._paused_for = str(error)
            raise

    async def aclose(self) -> None:
        """Close the file; what was committed is in it."""
        try:
            await self._in_thread(self._close)
        finally:
            self._thread.stop()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        with naming(self.file):
            return await self._thread.run(work)

    # In the thread -----------------------------------------------------------------------------------------------

    def _open(self) -> StoreImage:
        opened = self._connect(begins=True)
        self._database = opened.database
        self._identity = opened.store, opened.epoch
        # An iterator lets go of the list when it was read to its end.
        return StoreImage(opened.store, opened.epoch, iter(opened.changes), opened.seq, opened.lineage)

    def _connect(self, *, begins: bool) -> Opened:
        return open_store(self.file, new_id=self._new_id, durability=self._durability, begins=begins)

    def _commit(self, changes: Sequence[Change]) -> None:
        database = self._database or self._reopen()
        try:
            database.execute("BEGIN IMMEDIATE")
            apply(database, changes)
            database.execute("COMMIT")
        except BaseException as error:
            self._refuse(database, error, changes)
            raise

    def _refuse(self, database: sqlite3.Connection, error: BaseException, changes: Sequence[Change]) -> None:
        """Undo what a failed commit left, and replace the connection when it may not recover by itself."""
        lives = not isinstance(error, sqlite3.Error) or _code(error) in _CONNECTION_LIVES
        try:
            if database.in_transaction:
                database.execute("ROLLBACK")
        except sqlite3.Error:
            lives = False
        if lives:
            return
        self._database = None
        before: list[Change] | None = None
        with suppress(sqlite3.Error, StorageError):
            before = list(load(database))
        with suppress(sqlite3.Error):
            database.close()
        self._doubt = Doubt(before, changes)
        with suppress(sqlite3.Error, OSError, StorageError):  # at once: a crash now could bring the refused one back
            self._reopen()

    def _reopen(self) -> sqlite3.Connection:
        """Open the file again after the disk had failed, and see to it that it has what it had."""
        if self._hopeless:
            raise flaw(self.file, self._hopeless)
        opened = self._connect(begins=False)
        try:
            if (opened.store, opened.epoch) != self._identity:
                known = self._identity is not None and opened.store == self._identity[0]
                self._hopeless = f"{'was opened by somebody else' if known else 'is another store now'}; start again"
            elif self._doubt is not None:
                self._hopeless = _settle(opened, self._doubt)
        except BaseException:
            opened.database.close()
            raise
        if self._hopeless:
            opened.database.close()
            raise flaw(self.file, self._hopeless)
        self._doubt = None
        self._database = opened.database
        return opened.database

    def _close(self) -> None:
        if self._doubt is not None:
            with suppress(sqlite3.Error, OSError, StorageError):
                self._reopen()
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _settle(opened: Opened, doubt: Doubt) -> str:
    """Take a refused transaction out of the file if it is there; returns why that cannot be, empty = done."""
    now = opened.changes
    if doubt.before is None:
        kept = replay(now, doubt.changes) == now
        return "has a write that was refused when the disk failed; start again" if kept else ""
    if now == doubt.before:
        return ""
    if now != replay(doubt.before, doubt.changes):
        return "was changed by somebody else while the disk failed; start again"
    opened.database.execute("BEGIN IMMEDIATE")
    clear(opened.database)
    apply(opened.database, doubt.before)
    opened.database.execute("COMMIT")
    return ""


def _code(error: sqlite3.Error) -> int:
    """The primary code of an error; 0 = SQLite itself was not asked, a value could not be given to it."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
