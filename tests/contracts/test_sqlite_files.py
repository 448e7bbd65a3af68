"""Files that are no store of ours, or not any more: each is one line that names it, and is left as it is."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pivot.engine.opening import FILE_NAME, open_store
from pivot.engine.schema import SCHEMA_VERSION
from pivot.errors import StorageError
from tests.contracts.test_sqlite import crash_copy, engine, kept, put

LOG_NAME = f"{FILE_NAME}-wal"


async def filled(folder: Path) -> None:
    begun = engine(folder)
    await begun.open()
    await begun.commit([put(f"users/{number}", number) for number in range(1, 101)])
    await begun.aclose()


def write_garbage(file: Path) -> None:
    file.write_bytes(b"this is no database, whatever it is called" * 100)


def damage_a_page(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(-4096, 2)
        stream.write(b"\xff" * 4096)


def cut_off(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 4096)


def make_foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE theirs (a)")


def make_newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def use_a_number_twice(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("UPDATE rows SET seq = 7 WHERE seq = 8")


def lose_the_identity(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("DELETE FROM store")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (write_garbage, "not a database"),
        (damage_a_page, "damaged|malformed"),
        (cut_off, "damaged|malformed"),
        (make_foreign, "another program"),
        (make_newer, f"schema {SCHEMA_VERSION + 1}"),
        (use_a_number_twice, "damaged: row .* has number 7"),
        (lose_the_identity, "damaged: it has 0 identities"),
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


async def test_a_value_of_a_wrong_type_is_damage(tmp_path: Path) -> None:
    await filled(tmp_path)
    file = tmp_path / FILE_NAME
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema = ON")
        loose = "replace(sql, 'created INTEGER', 'created ANY')"
        database.execute(f"UPDATE sqlite_schema SET sql = {loose} WHERE name = 'rows'")
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("UPDATE rows SET created = 'soon' WHERE seq = 5")
        database.execute("PRAGMA writable_schema = ON")
        strict = "replace(sql, 'created ANY', 'created INTEGER')"
        database.execute(f"UPDATE sqlite_schema SET sql = {strict} WHERE name = 'rows'")
    with pytest.raises(StorageError, match=r"damaged: non-INTEGER value in rows\.created"):
        await engine(tmp_path).open()


async def test_the_log_of_a_foreign_file_is_neither_merged_nor_taken_away(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with closing(sqlite3.connect(theirs / FILE_NAME, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE theirs (a)")
        database.execute("INSERT INTO theirs VALUES (1)")
        copy = tmp_path / "copy"
        crash_copy(theirs, copy)
    before = (copy / FILE_NAME).read_bytes(), (copy / LOG_NAME).read_bytes()
    with pytest.raises(StorageError):
        await engine(copy).open()
    assert ((copy / FILE_NAME).read_bytes(), (copy / LOG_NAME).read_bytes()) == before


async def test_a_log_without_its_file_is_not_taken_for_a_new_store(tmp_path: Path) -> None:
    opened = engine(tmp_path / "store")
    await opened.open()
    await opened.commit([put("users/a", 1)])
    crash_copy(tmp_path / "store", tmp_path / "copy")
    await opened.aclose()
    whole = (tmp_path / "copy" / FILE_NAME).read_bytes()
    (tmp_path / "copy" / FILE_NAME).unlink()
    with pytest.raises(StorageError, match=r"is not there, but its log pivot\.db-wal is not"):
        await engine(tmp_path / "copy").open()
    (tmp_path / "copy" / FILE_NAME).touch()
    with pytest.raises(StorageError, match=r"is empty, but its log pivot\.db-wal is not"):
        await engine(tmp_path / "copy").open()
    (tmp_path / "copy" / FILE_NAME).write_bytes(whole)
    assert await kept(tmp_path / "copy") == [put("users/a", 1)]


async def test_an_empty_file_is_a_store_that_was_not_begun(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    assert await kept(tmp_path) == []


async def test_a_file_is_open_in_one_process_only(tmp_path: Path) -> None:
    first = engine(tmp_path)
    await first.open()
    with pytest.raises(StorageError, match=r"pivot\.db.*another process"):
        await engine(tmp_path).open()
    await first.commit([put("users/a", 1)])
    await first.aclose()
    assert await kept(tmp_path) == [put("users/a", 1)]


async def test_a_folder_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"file.*pivot\.db"):
        await engine(tmp_path / "file").open()


def test_a_store_that_is_not_there_is_not_begun_when_it_must_be(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no such file"):
        open_store(tmp_path / FILE_NAME, new_id=lambda: "x", durability="full", begins=False)
    assert not list(tmp_path.iterdir())


async def test_a_crash_while_a_store_is_begun_leaves_a_store_or_none(tmp_path: Path) -> None:
    """The file at every size that its first transaction may have left, with the journal that undoes it."""
    await filled(tmp_path / "whole")
    for pages in range(3):
        folder = tmp_path / str(pages)
        folder.mkdir()
        shutil.copy(tmp_path / "whole" / FILE_NAME, folder)
        with (folder / FILE_NAME).open("r+b") as stream:
            stream.truncate(4096 * pages)
        if pages:
            with pytest.raises(StorageError, match=r"damaged|malformed"):
                await engine(folder).open()
        else:
            assert await kept(folder) == []
