"""A disk that fails while a store is open: what is refused is not kept, what was kept stays, and all goes on after it.

Full disks and limits are real ones (SQLite's own page limit, the system's file size limit); what no test can order from
a disk, such as a wait that fails though everything was written, is played by a connection that lies.
"""

import resource
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import pivot.engine.opening
from pivot.core.collection import Change, Place, SetPlace
from pivot.engine.sqlite import FILE_NAME, SqliteEngine
from pivot.errors import StorageError
from pivot.types import Epoch
from tests.contracts.test_sqlite import crash_copy, engine, kept, put

BIG = '"' + "x" * 3000 + '"'


async def in_thread(opened: SqliteEngine, sql: str) -> None:
    def work() -> None:
        assert opened._database is not None
        opened._database.execute(sql).fetchall()

    await opened._in_thread(work)


async def commit_until_refused(opened: SqliteEngine) -> tuple[list[Change], str]:
    """Commit rows one by one; returns those that were kept, and why the next was not."""
    done: list[Change] = []
    for number in range(1, 2000):
        change = put(f"users/{number:04}", number, BIG)
        try:
            await opened.commit([change])
        except StorageError as error:
            return done, str(error)
        done.append(change)
    raise AssertionError("nothing was refused")


async def test_a_full_disk_refuses_and_the_same_connection_goes_on_when_there_is_room(tmp_path: Path) -> None:
    opened = engine(tmp_path)
    await opened.open()
    await in_thread(opened, "PRAGMA max_page_count = 50")
    before = opened._database
    done, why = await commit_until_refused(opened)
    assert len(done) > 10
    assert why == f"store {tmp_path / FILE_NAME}: database or disk is full"
    with pytest.raises(StorageError, match="full"):
        await opened.commit([put("users/b", 5000, BIG), SetPlace("users/*", Place(Epoch("e"), 1))])
    await in_thread(opened, "PRAGMA max_page_count = 5000")
    later = put("users/z", 5001, BIG)
    await opened.commit([later])
    assert opened._database is before
    await opened.aclose()
    assert await kept(tmp_path) == [*done, later]


@contextmanager
def files_up_to(size: int) -> Generator[None, None, None]:
    """No file of this process can grow beyond so many bytes: writing there is an error of the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_an_error_of_the_disk_refuses_and_the_file_is_opened_again_when_it_is_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    opened = engine(tmp_path)
    image = await opened.open()
    before = await opened._in_thread(lambda: opened._database)
    with files_up_to(300_000):
        done, why = await commit_until_refused(opened)
        assert "disk I/O error (SQLITE_IOERR_WRITE)" in why
        assert str(tmp_path / FILE_NAME) in why
        await trio.sleep(20)
        with pytest.raises(StorageError, match=r"pivot\.db"):
            await opened.commit([put("users/b", 5000, BIG * 200)])
    await trio.sleep(20)
    later = put("users/z", 5001, BIG)
    await opened.commit([later])
    assert opened._database is not before
    await opened.aclose()
    again = engine(tmp_path)
    image_again = await again.open()
    await again.aclose()
    assert image_again.store == image.store
    assert image_again.lineage.kept(image.epoch) == 5001
    assert list(image_again.changes) == [*done, later]


@pytest.mark.parametrize("size", [0, 1000])
async def test_a_store_that_is_opened_on_a_full_disk_is_refused_in_one_line_and_as_it_was_when_there_is_room(
    tmp_path: Path, size: int
) -> None:
    rows = [put(f"users/{number:04}", number, BIG) for number in range(1, 20)]
    first = engine(tmp_path)
    before = await first.open()
    for row in rows:
        await first.commit([row])
    await first.aclose()
    with files_up_to(size):
        for folder in (tmp_path, tmp_path / "new"):
            with pytest.raises(StorageError, match=r"^store .*pivot\.db: [^\n]*$"):
                await engine(folder).open()
    again = engine(tmp_path)
    image = await again.open()
    await again.aclose()
    assert image.store == before.store
    assert list(image.changes) == rows


# A connection that lies ------------------------------------------------------------------------------------------


class Lying(sqlite3.Connection):
    """A connection whose next statements fail as `failures` says, each after or instead of what it would do.

    After a commit that is in the file though it failed, it goes on seeing what was before, as SQLite does.
    """

    failures: list[tuple[str, str]] = []  # noqa: RUF012 - one list for all connections of a test
    before: sqlite3.Connection | None = None
    deceived: bool = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            if self.before is not None:
                self.before.close()
            self.before = sqlite3.connect(":memory:")
            self.backup(self.before)
        begins, how = Lying.failures[0] if Lying.failures else ("?", "")
        if not sql.startswith(begins):
            if self.deceived and self.before is not None:
                return self.before.execute(sql, parameters)
            return super().execute(sql, parameters)
        del Lying.failures[0]
        if how == "after":
            super().execute(sql, parameters)
            self.deceived = True
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    def close(self) -> None:
        if self.before is not None:
            self.before.close()
        super().close()


@pytest.fixture
def lies(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def connect(file: Path) -> sqlite3.Connection:
        return sqlite3.connect(file, isolation_level=None, factory=Lying)

    monkeypatch.setattr(pivot.engine.opening, "connect", connect)
    Lying.failures = []

    def plan(*failures: tuple[str, str]) -> None:
        Lying.failures = [*failures]

    return plan


FIRST = [put("users/a", 1), put("users/b", 2), SetPlace("users/*", Place(Epoch("e"), 5))]
REFUSED = [put("users/a", 3, "2"), put("users/c", 4), SetPlace("users/*", Place(Epoch("e"), 9))]
LATER = [put("users/d", 5)]


async def refused(opened: SqliteEngine, changes: Sequence[Change], match: str = "SQLITE_IOERR_FSYNC") -> None:
    with pytest.raises(StorageError, match=match):
        await opened.commit(changes)


@pytest.mark.parametrize("when", ["after", "instead"])
async def test_a_refused_commit_is_not_there_whether_or_not_it_was_written(
    tmp_path: Path, lies: Callable[..., None], when: str
) -> None:
    opened = engine(tmp_path / "store")
    await opened.open()
    await opened.commit(FIRST)
    lies(("COMMIT", when))
    await refused(opened, REFUSED)
    crash_copy(tmp_path / "store", tmp_path / "copy")  # nor is it when the process dies right then
    await opened.commit(LATER)
    await opened.aclose()
    assert await kept(tmp_path / "copy") == FIRST
    assert await kept(tmp_path / "store") == [*FIRST[:2], *LATER, FIRST[2]]


async def test_a_refused_commit_is_taken_out_later_when_the_disk_fails_for_longer(
    tmp_path: Path, lies: Callable[..., None], autojump_clock: MockClock
) -> None:
    opened = engine(tmp_path)
    await opened.open()
    await opened.commit(FIRST)
    lies(("COMMIT", "after"), ("PRAGMA locking_mode", "instead"), ("PRAGMA quick_check", "instead"))
    await refused(opened, REFUSED)
    await trio.sleep(20)
    await refused(opened, LATER)
    await trio.sleep(20)
    await opened.commit(LATER)
    await opened.aclose()
    assert await kept(tmp_path) == [*FIRST[:2], *LATER, FIRST[2]]


async def test_a_store_that_is_closed_while_its_disk_fails_takes_it_out_then(
    tmp_path: Path, lies: Callable[..., None]
) -> None:
    opened = engine(tmp_path)
    await opened.open()
    await opened.commit(FIRST)
    lies(("COMMIT", "after"), ("PRAGMA locking_mode", "instead"))
    await refused(opened, REFUSED)
    await opened.aclose()
    assert await kept(tmp_path) == FIRST


@pytest.mark.parametrize(("when", "goes_on"), [("after", False), ("instead", True)])
async def test_what_cannot_be_told_is_refused_until_a_restart(
    tmp_path: Path, lies: Callable[..., None], autojump_clock: MockClock, when: str, goes_on: bool
) -> None:
    opened = engine(tmp_path)
    await opened.open()
    await opened.commit(FIRST)
    lies(("COMMIT", when), ("SELECT * FROM rows", "instead"))
    await refused(opened, REFUSED)
    for _ in range(2):
        await trio.sleep(20)
        if goes_on:
            await opened.commit(LATER)
        else:
            await refused(opened, LATER, match=r"pivot\.db: has a write that was refused .* start again")
    await opened.aclose()
    assert await kept(tmp_path) == ([*FIRST[:2], *LATER, FIRST[2]] if goes_on else [FIRST[1], *REFUSED])


async def test_what_another_process_of_ours_wrote_meanwhile_is_not_overwritten(
    tmp_path: Path, lies: Callable[..., None], autojump_clock: MockClock
) -> None:
    opened = engine(tmp_path)
    await opened.open()
    await opened.commit(FIRST)
    lies(("COMMIT", "instead"), ("PRAGMA locking_mode", "instead"))
    await refused(opened, REFUSED)
    other = engine(tmp_path)
    await other.open()
    await trio.sleep(20)
    await refused(opened, LATER, match="open in another process")
    await other.commit(LATER)
    await other.aclose()
    await trio.sleep(20)
    await refused(opened, [put("users/e", 6)], match="opened by somebody else")
    await opened.aclose()
    assert await kept(tmp_path) == [*FIRST[:2], *LATER, FIRST[2]]


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    tmp_path: Path, lies: Callable[..., None], autojump_clock: MockClock
) -> None:
    opened = engine(tmp_path)
    await opened.open()
    await opened.commit(FIRST)
    lies(("COMMIT", "instead"), ("PRAGMA locking_mode", "instead"))
    await refused(opened, REFUSED)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database, database:
        database.execute("DELETE FROM rows")
    await trio.sleep(20)
    await refused(opened, LATER, match="changed by somebody else")
    await opened.aclose()
    assert await kept(tmp_path) == [FIRST[2]]


def empty(folder: Path) -> None:
    for left in folder.iterdir():
        left.unlink()


async def test_another_store_in_its_place_is_not_written_to(
    tmp_path: Path, lies: Callable[..., None], autojump_clock: MockClock
) -> None:
    opened = engine(tmp_path)
    await opened.open()
    lies(("COMMIT", "instead"), ("PRAGMA locking_mode", "instead"))
    await refused(opened, REFUSED)
    empty(tmp_path)
    other = engine(tmp_path, first_id=50)
    await other.open()
    await other.aclose()
    await trio.sleep(20)
    await refused(opened, LATER, match=r"pivot\.db: is another store now")
    await opened.aclose()
    assert await kept(tmp_path) == []


async def test_between_two_attempts_commits_are_refused_unseen(
    tmp_path: Path, lies: Callable[..., None], mock_clock: MockClock
) -> None:
    opened = engine(tmp_path)
    await opened.open()
    lies(("COMMIT", "instead"), ("PRAGMA locking_mode", "instead"))
    await refused(opened, REFUSED)
    await refused(opened, LATER)  # the disk is well again, but nobody has looked
    assert not Lying.failures
    mock_clock.jump(11)
    await opened.commit(LATER)
    await opened.aclose()
