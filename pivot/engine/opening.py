"""Opening: from a folder to a connection that nobody else has, to a store that is whole; or why not, in one line.

Layer: engine. Runs in the thread that will own the connection. Theory of operation:

1. Judge the file without touching it: SQLite reads it as `immutable`, so that a log which somebody else's program left
   beside its own file is neither read nor merged. Our mark is in the file itself from its first moment on (`_begin`
   makes a new file with a rollback journal and turns the log on afterwards), so the file alone tells whose it is.
2. Connect and lock: `locking_mode = EXCLUSIVE` before the first read, so that two processes never share a store, and
   the index of the log needs no shared memory.
3. Check what SQLite can check (pages, types), then load, which checks what only we know. Tables of an earlier version
   are brought up to date in between.

4. Begin another life, so that nodes notice what a disk may have taken back; see `pivot.core.lineage`.

Nothing else is written before all of this went well. Start at `open_store`.
"""

import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

import msgspec

from pivot.core.collection import Change
from pivot.core.lineage import NO_LINEAGE, Lineage
from pivot.engine.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    begin_life,
    create,
    load,
    load_lineage,
    upgrade,
)
from pivot.errors import StorageError
from pivot.types import Epoch, StoreId

Durability: TypeAlias = Literal["full", "normal"]
FILE_NAME: Final = "pivot.db"
BUSY_S: Final = 1.0
"""How long a process that is just ending may still have the file."""
LOG_BYTES_MAX: Final = 16 * 2**20
"""A log that grew above this is cut when its content is in the file."""


class Opened(msgspec.Struct, frozen=True):
    """An open store.

    Attributes:
        database: the connection; it belongs to the thread that opened it.
        store: its id.
        epoch: its life.
        changes: what is in it.
        seq: greatest number of a row that was dropped.
        lineage: its earlier lives; told only when one begins.
    """

    database: sqlite3.Connection
    store: StoreId
    epoch: Epoch
    changes: list[Change]
    seq: int
    lineage: Lineage


def open_store(file: Path, *, new_id: Callable[[], str], durability: Durability, begins: bool = True) -> Opened:
    """Open the store in `file`, or begin one.

    Args:
        file: where it is; its folder is made when it is not there.
        new_id: draws ids and epochs.
        durability: see `SqliteEngine`.
        begins: whether a life of the store begins, its first one if it is not there; else it must be there.

    Raises:
        StorageError: it cannot be used; it is as it was.
        sqlite3.Error, OSError: likewise; see `naming`.
    """
    if begins:
        prepare_folder(file.parent)
    new = judge(file, may_create=begins)
    database = connect(file)
    try:
        new = lock(database) and new
        if new:
            database.execute("BEGIN EXCLUSIVE")
            create(database, new_id(), new_id())
            database.execute("COMMIT")
        use_log(database)
        if not new:
            check(database)
            upgrade(database)
        changes = _load(database)
        if begins and not new:
            database.execute("BEGIN IMMEDIATE")
            begin_life(database, new_id())
            database.execute("COMMIT")
        opened = _identify(database, changes, load_lineage(database) if begins else NO_LINEAGE)
        database.execute(f"PRAGMA synchronous = {durability}")
    except BaseException:
        database.close()
        raise
    return opened


@contextmanager
def naming(file: Path) -> Generator[None, None, None]:
    """Raise what SQLite and the system say about a store as one line that names its file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise flaw(file, reason(error)) from error


def flaw(file: Path, why: str) -> StorageError:
    """What is wrong with a store, in one line that names its file."""
    return StorageError(f"store {file}: {why}")


def reason(error: Exception) -> str:
    """What SQLite or the system says, in words a person can act on."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "open in another process"
    name = getattr(error, "sqlite_errorname", "")
    return f"{error} ({name})" if name.startswith("SQLITE_IOERR") else str(error)


def prepare_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it, so that a power cut does not take them away again; returns those made."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        sync_folder(made.parent)
    return missing


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def judge(file: Path, *, may_create: bool) -> bool:
    """Whether there is no store yet; raises when there is something that we cannot use. Changes nothing."""
    there = file.exists()
    if not there and not may_create:
        raise flaw(file, "there is no such file")
    # Asked, not tried: closing a file that this process has open elsewhere, too, would drop SQLite's lock on it.
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise flaw(file, "its folder is read-only")
    if there and not os.access(file, os.R_OK | os.W_OK):
        raise flaw(file, "the file is read-only")
    empty = not there or file.stat().st_size == 0
    new = empty or _is_new(file)
    log = file.with_name(file.name + "-wal")
    if new and log.exists() and log.stat().st_size:  # ours has its mark before it has a log
        state = "not there" if not there else "empty" if empty else "without tables"
        raise flaw(file, f"is {state}, but its log {log.name} is not: not a store of ours, or not any more")
    return new


def _is_new(file: Path) -> bool:
    with closing(sqlite3.connect(f"file:{quote(str(file))}?immutable=1", uri=True)) as database:
        (found,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if found == 0 and version == 0 and _is_empty(database):
            return True
    if found != APPLICATION_ID:
        raise flaw(file, f"a SQLite file of another program (application id {found})")
    if version > SCHEMA_VERSION:
        raise flaw(file, f"has schema {version}, this program knows up to {SCHEMA_VERSION}")
    return False


def _is_empty(database: sqlite3.Connection) -> bool:
    return not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


def connect(file: Path) -> sqlite3.Connection:
    """A connection that begins and ends transactions only when told so."""
    return sqlite3.connect(file, isolation_level=None, timeout=BUSY_S, cached_statements=32)


def lock(database: sqlite3.Connection) -> bool:
    """Keep everybody else out until the connection is closed; returns whether the file has no tables."""
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("BEGIN EXCLUSIVE")
    empty = _is_empty(database)
    database.execute("COMMIT")
    return empty


def use_log(database: sqlite3.Connection) -> None:
    """Write ahead, and wait for the disk at every commit."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_MAX}")
    database.execute("PRAGMA synchronous = FULL")


def check(database: sqlite3.Connection) -> None:
    """Look for damage.

    Raises:
        sqlite3.DatabaseError: there is some.
    """
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"damaged: {' '.join(verdict.split())}")


def _load(database: sqlite3.Connection) -> list[Change]:
    (identities,) = database.execute("SELECT count(*) FROM store").fetchone()
    if identities != 1:
        raise sqlite3.DatabaseError(f"damaged: it has {identities} identities, it must have one")
    return list(load(database))


def _identify(database: sqlite3.Connection, changes: list[Change], lineage: Lineage) -> Opened:
    store, epoch, seq = database.execute("SELECT id, epoch, seq FROM store").fetchone()
    return Opened(database, StoreId(store), Epoch(epoch), changes, seq, lineage)
