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
from pivot.engine.sqlite import FILE_NAME, Durability, SqliteEngine
from pivot.engine.thread import OwnerThread
from pivot.errors import StorageError
from pivot.types import Epoch, StoreId


def engine(folder: Path, durability: Durability = "full", boot: str = "one", first_id: int = 1) -> SqliteEngine:
    numbers = count(first_id)
    return SqliteEngine(folder, new_id=lambda: f"id{next(numbers)}", durability=durability, boot=lambda: boot)


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


async def test_a_store_keeps_its_id_its_epoch_and_every_column(tmp_path: Path) -> None:
    first = engine(tmp_path)
    begun = await first.open()
    tombstone = Row(Entry("users/b", 5, 9, "", deleted=True, prev=7, origin=StoreId("other")), 2, 12)
    changes = [
        put("users/a", 1, '{"ü":[1.5,null]}'),
        PutRow("users/*", tombstone),
        SetPlace("users/*", Place(Epoch("e"), 12, 7, 9)),
        SetRetention("users/*", Retention(3, 4, 5, known=True)),
        SetFollower("users/*", Follower(StoreId("n"), "name", 6, 7)),
    ]
    await first.commit(changes)
    await first.aclose()
    again = engine(tmp_path)
    image = await again.open()
    assert (image.store, image.epoch) == (begun.store, begun.epoch)
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


async def life_that_crashes(folder: Path, durability: Durability, copy: Path) -> Epoch:
    """A store with a follower and a floor, as a crash leaves it in `copy`; returns its epoch."""
    opened = engine(folder, durability)
    image = await opened.open()
    facts: list[Change] = [
        SetFollower("users/*", Follower(StoreId("n"), "name", 6, 7)),
        SetRetention("users/*", Retention(3, 4, 5, known=True)),
    ]
    await opened.commit([put("users/a", 1), *facts])
    crash_copy(folder, copy)
    await opened.aclose()
    return image.epoch


async def test_a_power_cut_under_normal_begins_a_new_epoch_since_others_may_have_seen_what_is_gone(
    tmp_path: Path,
) -> None:
    before = await life_that_crashes(tmp_path / "store", "normal", tmp_path / "copy")
    again = engine(tmp_path / "copy", boot="two", first_id=8)
    image = await again.open()
    assert image.epoch != before
    # Nobody is known, nothing was collected in this epoch; but new writes must still be greater than what was.
    assert list(image.changes) == [put("users/a", 1), SetRetention("users/*", Retention(collected=4))]
    await again.aclose()
    third = await engine(tmp_path / "copy", boot="three").open()
    assert third.epoch == image.epoch


@pytest.mark.parametrize(
    ("durability", "boot", "why"),
    [("normal", "one", "the process died, not the system"), ("full", "two", "every commit was on the disk")],
)
async def test_the_epoch_stays_when_nothing_can_be_gone(
    tmp_path: Path, durability: Durability, boot: str, why: str
) -> None:
    before = await life_that_crashes(tmp_path / "store", durability, tmp_path / "copy")
    assert (await engine(tmp_path / "copy", boot=boot, first_id=8).open()).epoch == before, why


async def test_the_epoch_stays_when_a_normal_store_was_closed(tmp_path: Path) -> None:
    before = await life_that_crashes(tmp_path / "store", "normal", tmp_path / "copy")
    assert (await engine(tmp_path / "store", boot="two").open()).epoch == before


async def test_a_first_commit_with_full_makes_safe_what_an_earlier_life_did_not_wait_for(tmp_path: Path) -> None:
    before = await life_that_crashes(tmp_path / "store", "normal", tmp_path / "copy")
    safe = engine(tmp_path / "copy", "full")
    await safe.open()
    await safe.commit([put("users/b", 2)])
    crash_copy(tmp_path / "copy", tmp_path / "second")
    await safe.aclose()
    assert (await engine(tmp_path / "second", boot="two").open()).epoch == before


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
