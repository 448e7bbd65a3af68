"""What only the SQLite engine does: one file, one thread, and what a power cut may take from it."""

import shutil
import sqlite3
import threading
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
import trio

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
from pivot.engine.opening import prepare_folder
from pivot.engine.schema import SCHEMA_VERSION
from pivot.engine.sqlite import FILE_NAME, Durability, SqliteEngine
from pivot.engine.thread import OwnerThread
from pivot.errors import StorageError
from pivot.types import Epoch, StoreId


def engine(folder: Path, durability: Durability = "full", first_id: int = 1) -> SqliteEngine:
    numbers = count(first_id)
    return SqliteEngine(folder, new_id=lambda: f"id{next(numbers)}", durability=durability)


def put(key: str, seq: int, data: str = "1") -> PutRow:
    return PutRow("users/*", Row(Entry(key, seq, 0, data, deleted=False, prev=None, origin=StoreId("s")), seq, None))


async def kept(folder: Path) -> list[Change]:
    opened = engine(folder)
    changes = list((await opened.open()).changes)
    await opened.aclose()
    return changes


def crash_copy(folder: Path, to: Path) -> None:
    """What a crash at this moment would leave: the file and its log."""
    to.mkdir()
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        shutil.copy(folder / name, to)


async def test_a_store_keeps_its_id_and_every_column(tmp_path: Path) -> None:
    first = engine(tmp_path)
    begun = await first.open()
    tombstone = Row(Entry("users/b", 5, 9, "", deleted=True, prev=7, origin=StoreId("other")), 2, 12)
    changes = [
        put("users/a", 1, '{"ü":[1.5,null]}'),
        PutRow("users/*", tombstone),
        SetPlace("users/*", Place(Epoch("e"), 12, 7, 9, "c", 14)),
        SetRetention("users/*", Retention(3, 4, 5, known=True)),
        SetFollower("users/*", Follower(StoreId("n"), "name", 6, 7)),
    ]
    await first.commit(changes)
    await first.aclose()
    again = engine(tmp_path)
    image = await again.open()
    assert image.store == begun.store
    assert list(image.changes) == changes
    await again.commit([ClearAcks("users/*"), DropFollower("users/*", StoreId("n"))])
    await again.aclose()
    after = await kept(tmp_path)
    assert [change.row.acked for change in after if isinstance(change, PutRow)] == [None, None]
    assert not [change for change in after if isinstance(change, SetFollower)]


async def test_the_number_of_a_dropped_row_stays_used(tmp_path: Path) -> None:
    first = engine(tmp_path)
    await first.open()
    await first.commit([put("users/a", 7), DropRow("users/*", "users/a", 7)])
    await first.aclose()
    assert (await engine(tmp_path).open()).seq == 7


async def test_a_failed_commit_keeps_nothing_of_it_and_the_next_one_holds(tmp_path: Path) -> None:
    opened = engine(tmp_path)
    await opened.open()
    impossible = put("users/b", 2, data=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(StorageError, match=r"pivot\.db"):
        await opened.commit([put("users/a", 1), impossible])
    await opened.commit([put("users/c", 3)])
    await opened.aclose()
    assert await kept(tmp_path) == [put("users/c", 3)]


async def test_what_was_committed_is_there_when_the_process_is_gone_without_closing(tmp_path: Path) -> None:
    opened = engine(tmp_path)
    await opened.open()
    await opened.commit([put("users/a", 1), SetPlace("users/*", Place(Epoch("e"), 3))])
    crash_copy(tmp_path, tmp_path / "copy")
    await opened.aclose()
    assert await kept(tmp_path / "copy") == [put("users/a", 1), SetPlace("users/*", Place(Epoch("e"), 3))]


def test_folders_are_made_with_those_above_them(tmp_path: Path) -> None:
    assert prepare_folder(tmp_path / "a" / "b") == [tmp_path / "a" / "b", tmp_path / "a"]
    assert prepare_folder(tmp_path / "a" / "b") == []


# Durability ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
async def test_durability_is_what_sqlite_is_told(tmp_path: Path, durability: Durability, synchronous: int) -> None:
    opened = engine(tmp_path, durability)
    await opened.open()
    assert opened.durability == durability
    database = opened._database
    assert database is not None
    (found,) = await opened._in_thread(lambda: database.execute("PRAGMA synchronous").fetchone())
    await opened.aclose()
    assert found == synchronous


# Lives -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_a_copy_that_is_put_back_begins_a_life_that_knows_how_much_of_the_one_before_it_has(
    tmp_path: Path, durability: Durability
) -> None:
    folder, file = tmp_path / "store", tmp_path / "store" / FILE_NAME
    first = engine(folder, durability)
    begun = await first.open()
    facts: list[Change] = [
        put("users/a", 4),
        SetFollower("users/*", Follower(StoreId("n"), "name", 4, 7)),
        SetRetention("users/*", Retention(3, 4, 5, known=True)),
    ]
    await first.commit(facts)
    crash_copy(folder, tmp_path / "copy")
    await first.commit([put("users/b", 5)])
    await first.aclose()
    second = await (lost := engine(folder, durability, first_id=5)).open()
    assert second.lineage.kept(begun.epoch) == 5
    await lost.aclose()
    file.unlink()
    for copied in (tmp_path / "copy").iterdir():
        copied.replace(folder / copied.name)
    third = engine(folder, durability, first_id=8)
    image = await third.open()
    assert (image.store, image.epoch, image.lineage.kept(begun.epoch)) == (begun.store, "id8", 4)
    assert image.lineage.kept(second.epoch) == 0
    assert list(image.changes) == facts[:1] + facts[:0:-1]  # who follows, and what was collected, holds on
    await third.aclose()


async def test_the_oldest_lives_are_forgotten_when_there_are_very_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pivot.engine.schema.LIVES_MAX", 2)
    for number in range(4):
        opened = engine(tmp_path, first_id=10 * number)
        await opened.open()
        await opened.commit([put("users/a", number + 1)])
        await opened.aclose()
    image = await engine(tmp_path, first_id=90).open()
    assert [(life.epoch, life.seq) for life in image.lineage.lives] == [("id20", 3), ("id30", 4)]


async def test_a_store_of_the_first_version_is_opened_and_has_lives_from_then_on(tmp_path: Path) -> None:
    opened = engine(tmp_path)
    before = await opened.open()
    await opened.commit([put("users/a", 1), SetPlace("users/*", Place(Epoch("e"), 12, 7, 9, "c"))])
    await opened.aclose()
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as database:
        database.execute("DROP TABLE lives")
        database.execute("ALTER TABLE places DROP COLUMN head")
        database.execute("ALTER TABLE store ADD COLUMN risk TEXT NOT NULL DEFAULT ''")
        database.execute("PRAGMA user_version = 1")
    again = engine(tmp_path, first_id=8)
    image = await again.open()
    assert (image.epoch, image.lineage.kept(before.epoch)) == ("id8", 1)
    unknown = Place(Epoch("e"), 12, 7, 9, "c", head=2**63 - 1)
    assert list(image.changes) == [put("users/a", 1), SetPlace("users/*", unknown)]
    await again.aclose()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert database.execute("SELECT * FROM store").fetchall() == [(before.store, "id8", 0)]


# The thread ------------------------------------------------------------------------------------------------------


async def test_one_thread_owns_the_connection_from_open_to_close(tmp_path: Path) -> None:
    seen: dict[str, None] = {}

    def new_id() -> str:
        seen[threading.current_thread().name] = None
        return "id"

    opened = SqliteEngine(tmp_path, new_id=new_id)
    await opened.open()
    owner = await opened._thread.run(threading.current_thread)
    for number in range(1, 4):
        await opened.commit([put("users/a", number)])
        assert await opened._thread.run(threading.current_thread) is owner
    database = opened._database
    assert database is not None
    with pytest.raises(sqlite3.ProgrammingError, match="thread"):
        database.execute("SELECT 1")
    await opened.aclose()
    assert list(seen) == [owner.name]
    await trio.to_thread.run_sync(owner.join)


async def test_a_commit_that_has_begun_is_finished_when_its_caller_is_cancelled(tmp_path: Path) -> None:
    thread = OwnerThread("owner")
    begun, proceed = threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        proceed.wait()
        done.append("work")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(thread.run, work)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
        proceed.set()
    assert done == ["work"]
    with trio.CancelScope() as scope:
        scope.cancel()
        await thread.run(lambda: done.append("never"))
    thread.stop()
    assert done == ["work"]


async def test_the_thread_ends_when_the_engine_is_forgotten_or_cannot_open(tmp_path: Path) -> None:
    thread = OwnerThread("owner")
    owner = await thread.run(threading.current_thread)
    del thread
    await trio.to_thread.run_sync(owner.join)
    (tmp_path / "file").write_text("no folder")
    refused = engine(tmp_path / "file")
    with pytest.raises(StorageError):
        await refused.open()
    assert refused._thread._queue is None


async def test_what_the_work_raises_is_raised_where_it_was_asked_for() -> None:
    thread = OwnerThread("owner")
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 1) == 1
    thread.stop()


async def test_a_log_is_cut_when_it_was_large(tmp_path: Path) -> None:
    opened = engine(tmp_path)
    await opened.open()
    await opened.commit([put(f"users/{number}", number, '"' + "x" * 1000 + '"') for number in range(1, 20_001)])
    log = tmp_path / f"{FILE_NAME}-wal"
    assert log.stat().st_size > 20_000_000
    await opened.commit([put("users/z", 20_001)])
    assert log.stat().st_size <= 16 * 2**20
    await opened.aclose()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("SELECT count(*) FROM rows").fetchone() == (20_001,)
