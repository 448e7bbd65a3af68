"""What only the SQLite engine can get wrong: the file. Each way it can be bad is one line, and nothing is lost."""

import shutil
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from pivot.core.collection import Change, ClearAcks, PutRow, Row, SetCursor
from pivot.core.entry import Entry
from pivot.engine.sqlite import FILE_NAME, SCHEMA_VERSION, SqliteEngine
from pivot.errors import StorageError
from pivot.types import Epoch, StoreId


def engine(folder: Path) -> SqliteEngine:
    numbers = count(1)
    return SqliteEngine(folder, new_id=lambda: f"id{next(numbers)}")


def put(key: str, seq: int, data: str = "1") -> PutRow:
    return PutRow("users/*", Row(Entry(key, seq, 0, data, deleted=False, prev=None, origin=StoreId("s")), seq, None))


async def kept(folder: Path) -> list[Change]:
    opened = engine(folder)
    changes = list((await opened.open()).changes)
    await opened.aclose()
    return changes


async def filled(folder: Path) -> None:
    begun = engine(folder)
    await begun.open()
    await begun.commit([put("users/a", 1)])
    await begun.aclose()


async def test_a_store_keeps_its_id_its_epoch_and_every_column(tmp_path: Path) -> None:
    first = engine(tmp_path)
    begun = await first.open()
    tombstone = Row(Entry("users/b", 5, 9, "", deleted=True, prev=7, origin=StoreId("other")), 2, 12)
    changes = [
        put("users/a", 1, '{"ü":[1.5,null]}'),
        PutRow("users/*", tombstone),
        SetCursor("users/*", Epoch("e"), 12),
    ]
    await first.commit(changes)
    await first.aclose()
    again = engine(tmp_path)
    image = await again.open()
    assert (image.store, image.epoch) == (begun.store, begun.epoch)
    assert list(image.changes) == changes
    await again.commit([ClearAcks("users/*")])
    await again.aclose()
    assert [change.row.acked for change in await kept(tmp_path) if isinstance(change, PutRow)] == [None, None]


async def test_a_file_is_open_in_one_process_only(tmp_path: Path) -> None:
    first = engine(tmp_path)
    await first.open()
    with pytest.raises(StorageError, match=r"pivot\.db.*another process"):
        await engine(tmp_path).open()
    await first.commit([put("users/a", 1)])
    await first.aclose()
    assert await kept(tmp_path) == [put("users/a", 1)]


def write_garbage(file: Path) -> None:
    file.write_bytes(b"this is no database, whatever it is called" * 100)


def damage(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * 4096)


def make_foreign(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE theirs (a)")
    database.close()


def make_newer(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (write_garbage, "not a database"),
        (damage, "damaged|malformed"),
        (make_foreign, "another program"),
        (make_newer, f"schema {SCHEMA_VERSION + 1}"),
    ],
)
async def test_a_bad_file_is_refused_with_its_name_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    await filled(tmp_path)
    file = tmp_path / FILE_NAME
    spoil(file)
    before = file.read_bytes()
    with pytest.raises(StorageError, match=said) as refused:
        await engine(tmp_path).open()
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert file.read_bytes() == before


async def test_a_folder_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"file.*pivot\.db"):
        await engine(tmp_path / "file").open()


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
    await opened.commit([put("users/a", 1), SetCursor("users/*", Epoch("e"), 3)])
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):  # what a power cut would leave: the file and its log
        shutil.copy(tmp_path / name, copy)
    await opened.aclose()
    assert await kept(copy) == [put("users/a", 1), SetCursor("users/*", Epoch("e"), 3)]
