"""Transfer: a store on disk into a dump, and a dump into a store on disk, while no member has the store open.

Layer: engine. Theory of operation: a restore is one transaction. Rows go into the file as they are read, and the
transaction ends only when the last line of the dump has proved all others; else everything is as it was: a new file is
removed, an old store keeps what it had. So nothing needs to be read twice or held in memory, and a power cut at any
moment leaves the one or the other.

What comes out is a new store in a new epoch: its followers are told so, start at its beginning, and offer what they
have. No follower is known, no tombstone was collected, nothing is confirmed by an upstream. What the old store wrote is
the new one's own, so that a leader which does not have it is given it.

Start at `dump_store` and `restore_store`.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from pivot.core.collection import PutRow, Retention, Row, SetPlace, SetRetention
from pivot.core.entry import Entry
from pivot.engine.dump import FORMAT, CollectionLine, Header, Reader, Section, Tally, dump
from pivot.engine.opening import (
    FILE_NAME,
    check,
    connect,
    judge,
    lock,
    naming,
    open_store,
    prepare_folder,
    use_log,
)
from pivot.engine.schema import apply, clear, columns, create, identify, upgrade
from pivot.errors import StorageError
from pivot.types import StoreId

_INSERT = "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def dump_store(folder: Path, *, new_id: Callable[[], str], taken_ns: int, tally: Tally) -> Iterator[bytes]:
    """The chunks of a dump of the store in `folder`, which is locked meanwhile.

    Raises:
        StorageError: there is none, or it cannot be used.
    """
    file = folder / FILE_NAME
    with naming(file):
        opened = open_store(file, new_id=new_id, durability="full", begins=False)
    try:
        entries: dict[str, list[Entry]] = {}
        collected: dict[str, int] = {}
        for change in opened.changes:
            path = change.collection
            match change:
                case PutRow():
                    entries.setdefault(path, []).append(change.row.entry)
                case SetPlace():
                    collected[path] = max(collected.get(path, 0), change.place.collected)
                case SetRetention():
                    collected[path] = max(collected.get(path, 0), change.retention.collected)
                case _:
                    pass
        paths = sorted({**entries, **collected})
        sections = [Section(path, collected.get(path, 0), entries.get(path, ())) for path in paths]
        yield from dump(Header(FORMAT, opened.store, opened.epoch, taken_ns), sections, tally)
    finally:
        opened.database.close()


def restore_store(
    folder: Path, lines: Iterable[bytes], *, new_id: Callable[[], str], reader: Reader, force: bool
) -> StoreId:
    r"""Make the store in `folder` what a dump says, in a new epoch; all of it or nothing.

    Args:
        folder: where the store will be; made when it is not there.
        lines: of the dump, each with its `\n`.
        new_id: draws the new store's id and epoch.
        reader: new; takes the lines.
        force: replace a store that is there.

    Returns:
        The new store's id.

    Raises:
        StorageError: the dump is not whole, or the folder is not free, or the disk refuses; nothing was changed.
    """
    feed = iter(lines)
    reader.feed(next(feed, b""))  # what is no dump at all is refused before anything else is looked at
    file = folder / FILE_NAME
    with naming(file):
        occupied = folder.exists() and any(folder.iterdir())
        if occupied and not force:
            raise StorageError(f"folder {folder} is not empty; --force replaces the store in it")
        made = prepare_folder(folder)
        was_there = file.exists()
        try:
            new = judge(file, may_create=True)
            database = connect(file)
            try:
                return _replace(database, feed, new_id=new_id, reader=reader, new=new)
            finally:
                database.close()
        except BaseException:
            if not was_there:
                for leftover in (file, file.with_name(file.name + "-journal")):
                    leftover.unlink(missing_ok=True)
                for empty in made:
                    with suppress(OSError):
                        empty.rmdir()
            raise


def _replace(
    database: sqlite3.Connection, feed: Iterator[bytes], *, new_id: Callable[[], str], reader: Reader, new: bool
) -> StoreId:
    new = lock(database) and new
    database.execute("PRAGMA synchronous = FULL")
    store, epoch = StoreId(new_id()), new_id()
    if not new:
        check(database)
    database.execute("BEGIN EXCLUSIVE")
    try:
        if new:
            create(database, store, epoch)
        else:
            clear(database)
            upgrade(database)
            identify(database, store, epoch)
        _insert(database, feed, store, reader)
        reader.finish()
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    use_log(database)
    return store


def _insert(database: sqlite3.Connection, feed: Iterator[bytes], store: StoreId, reader: Reader) -> None:
    assert reader.header is not None, "the first line was fed"
    old = reader.header.store
    collected: dict[str, int] = {}
    key = ""

    def rows() -> Iterator[tuple[object, ...]]:
        nonlocal key
        path, seq = "", 0
        for line in feed:
            match item := reader.feed(line):
                case Entry():
                    key, seq = item.key, seq + 1
                    entry = replace(item, origin=store) if item.origin == old else item
                    yield columns(path, Row(entry, seq))
                case CollectionLine():
                    path = item.path
                    collected[path] = max(collected.get(path, 0), item.collected)
                case None:
                    pass

    try:
        database.executemany(_INSERT, rows())
    except sqlite3.IntegrityError as error:
        raise reader.flaw(f"it has key {key!r} more than once") from error
    apply(database, (SetRetention(path, Retention(collected=stamp)) for path, stamp in collected.items() if stamp))
