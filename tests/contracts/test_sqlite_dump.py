"""A store into a dump and back: all of it, or a refusal that names the flaw and changes nothing."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pivot.core.collection import (
    Change,
    Follower,
    Place,
    PutRow,
    Retention,
    Row,
    SetFollower,
    SetPlace,
    SetRetention,
)
from pivot.core.digest import BucketSums
from pivot.core.entry import Entry
from pivot.engine.base import StoreImage
from pivot.engine.dump import CHUNK_ROWS, FORMAT, Header, Reader, Section, Tally, dump
from pivot.engine.opening import FILE_NAME
from pivot.engine.transfer import dump_store, restore_store
from pivot.errors import StorageError
from pivot.types import Epoch, StoreId
from tests.contracts.test_sqlite import engine, put

OLD = StoreId("id1")
OTHER = StoreId("other")


def row(key: str, seq: int, data: str, *, origin: StoreId = OLD, acked: int | None = None) -> PutRow:
    entry = Entry(key, 100 + seq, 0, data, deleted=not data, prev=0 if seq % 2 else None, origin=origin)
    return PutRow("settings" if key == "settings" else "users/*", Row(entry, seq, acked))


FACTS: list[Change] = [
    row("users/ann", 1, '{"ü":[1.5,null]}'),
    row("settings", 2, '"\\n\u2028"', origin=OTHER, acked=9),
    row("users/bob", 3, ""),
    PutRow("", Row(Entry("loose/key", 500, 700, "0", deleted=False, prev=1, origin=OLD), 4)),
    SetPlace("settings", Place(Epoch("e"), 12, 7, 90)),
    SetRetention("users/*", Retention(3, 80, 5, known=True)),
    SetFollower("users/*", Follower(StoreId("n"), "name", 6, 7)),
]


async def store(folder: Path, changes: list[Change]) -> StoreImage:
    opened = engine(folder)
    image = await opened.open()
    await opened.commit(changes)
    await opened.aclose()
    return image


async def contents(folder: Path) -> tuple[StoreImage, list[Change]]:
    opened = engine(folder)
    image = await opened.open()
    await opened.aclose()
    return image, list(image.changes)


def dumped(folder: Path) -> list[bytes]:
    chunks = dump_store(folder, new_id=lambda: "never", taken_ns=1234, tally=Tally())
    return b"".join(chunks).splitlines(keepends=True)


def restored(folder: Path, lines: list[bytes], *, force: bool = False) -> Reader:
    numbers = count(90)
    reader = Reader("b.ndjson")
    restore_store(folder, lines, new_id=lambda: f"new{next(numbers)}", reader=reader, force=force)
    return reader


async def test_a_dump_is_lines_that_a_person_can_read(tmp_path: Path) -> None:
    await store(tmp_path, FACTS)
    lines = [json.loads(line) for line in dumped(tmp_path)]
    assert lines[0] == {"type": "pivot-backup", "format": 1, "store": "id1", "epoch": "id2", "taken_ns": 1234}
    assert lines[1:3] == [
        {"type": "collection", "path": "", "collected": 0},
        {"type": "row", "key": "loose/key", "created": 500, "updated": 700, "prev": 1, "origin": "id1", "data": 0},
    ]
    assert [line["collected"] for line in lines if line["type"] == "collection"] == [0, 90, 80]
    assert lines[-2] == {
        "type": "row", "key": "users/bob", "created": 103, "updated": 0, "prev": 0, "origin": "id1", "deleted": True
    }  # fmt: skip
    sums = {line["path"]: line for line in lines[-1]["collections"]}
    live = BucketSums([FACTS[0].row.entry])  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]
    assert sums["users/*"] == {"path": "users/*", "entries": 1, "tombstones": 1, "digest": live.text()}


async def test_what_is_restored_is_a_new_store_that_holds_the_same_and_owes_it_to_everybody(tmp_path: Path) -> None:
    before = await store(tmp_path / "old", FACTS)
    reader = restored(tmp_path / "a" / "new", dumped(tmp_path / "old"))
    image, changes = await contents(tmp_path / "a" / "new")
    assert (reader.tally.entries, reader.tally.tombstones) == (3, 1)
    assert image.store == "new90"
    assert image.lineage.kept(before.epoch) == 0
    rows = {change.row.entry.key: change for change in changes if isinstance(change, PutRow)}
    for change in FACTS[:4]:
        assert isinstance(change, PutRow)
        kept = rows[change.row.entry.key]
        assert (kept.collection, kept.row.entry.version) == (change.collection, change.row.entry.version)
        assert kept.row.entry.prev == change.row.entry.prev
        assert kept.row.acked is None
        # What the old store wrote is the new one's own: a re-sync with a leader that lacks it will not drop it.
        assert kept.row.entry.origin == ("new90" if change.row.entry.origin == OLD else OTHER)
    others = [change for change in changes if not isinstance(change, PutRow)]
    assert others == [
        SetRetention("settings", Retention(collected=90)),
        SetRetention("users/*", Retention(collected=80)),
    ]


async def test_a_dump_of_what_was_restored_has_the_same_digests(tmp_path: Path) -> None:
    many: list[Change] = [put(f"users/{number}", number) for number in range(1, 2 * CHUNK_ROWS + 50)]
    await store(tmp_path / "old", many)
    lines = dumped(tmp_path / "old")
    restored(tmp_path / "new", lines)
    assert json.loads(dumped(tmp_path / "new")[-1])["collections"] == json.loads(lines[-1])["collections"]


async def test_a_folder_that_is_not_empty_is_left_alone_unless_it_is_forced(tmp_path: Path) -> None:
    await store(tmp_path / "old", FACTS)
    await store(tmp_path / "new", [put("users/z", 1)])
    with pytest.raises(StorageError, match=r"new is not empty; --force"):
        restored(tmp_path / "new", dumped(tmp_path / "old"))
    assert (await contents(tmp_path / "new"))[1] == [put("users/z", 1)]
    restored(tmp_path / "new", dumped(tmp_path / "old"), force=True)
    image, changes = await contents(tmp_path / "new")
    assert image.store == "new90"
    assert "users/z" not in {change.row.entry.key for change in changes if isinstance(change, PutRow)}
    await store(tmp_path / "new", [put("users/y", 50)])


async def test_a_store_that_is_open_is_neither_dumped_nor_replaced(tmp_path: Path) -> None:
    await store(tmp_path / "old", FACTS)
    lines = dumped(tmp_path / "old")
    running = engine(tmp_path / "running")
    await running.open()
    await running.commit([put("users/z", 1)])
    with pytest.raises(StorageError, match="another process"):
        dumped(tmp_path / "running")
    with pytest.raises(StorageError, match="another process"):
        restored(tmp_path / "running", lines, force=True)
    await running.commit([put("users/y", 2)])
    await running.aclose()
    assert (await contents(tmp_path / "running"))[1] == [put("users/z", 1), put("users/y", 2)]


async def test_a_damaged_store_is_not_replaced_even_when_it_is_forced(tmp_path: Path) -> None:
    await store(tmp_path / "old", FACTS)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / FILE_NAME).write_bytes(b"no database at all" * 500)
    with pytest.raises(StorageError, match="not a database"):
        restored(tmp_path / "bad", dumped(tmp_path / "old"), force=True)
    assert (tmp_path / "bad" / FILE_NAME).read_bytes() == b"no database at all" * 500


def test_a_store_that_is_not_there_cannot_be_dumped(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"none/pivot\.db: there is no such file"):
        dumped(tmp_path / "none")
    assert not (tmp_path / "none").exists()


# Flaws -----------------------------------------------------------------------------------------------------------

Lines = list[bytes]


def changed(number: int, old: bytes, new: bytes) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        assert old in lines[number], lines[number]
        return [*lines[:number], lines[number].replace(old, new, 1), *lines[number + 1 :]]

    return change


ROW = 2  # loose/key
LAST_ROW = 7  # users/bob
FLAWS: list[tuple[str, Callable[[Lines], Lines], str]] = [
    ("nothing", lambda lines: [], "empty|does not begin"),
    ("of another program", lambda lines: [b"root:x:0:0\n", *lines], "no backup of pivot"),
    ("JSON of another program", lambda lines: [b'{"a":1}\n', *lines], "no backup of pivot"),
    ("newer", changed(0, b'"format":1', b'"format":2'), "has format 2, this program knows up to 1"),
    ("without its header", lambda lines: lines[1:], "does not begin"),
    ("without its last line", lambda lines: lines[:-1], "cut off after [0-9]+ bytes"),
    ("cut off in a line", lambda lines: [*lines[:4], lines[4][:-1]], "cut off within line 5"),
    ("cut off in its last line", lambda lines: [*lines[:-1], lines[-1][:-1]], "cut off within line 9"),
    ("with a line more", lambda lines: [*lines, lines[2]], "after the last line"),
    ("without a row", lambda lines: [*lines[:ROW], *lines[ROW + 1 :]], "altered: collection '' is 0 entries"),
    ("without a tombstone", lambda lines: [*lines[:LAST_ROW], lines[-1]], "altered: collection 'users/.*0 tombstones"),
    ("without a collection", lambda lines: [*lines[:6], lines[-1]], "altered"),
    ("with another value", changed(ROW, b'"data":0', b'"data":1'), "altered: collection '' is 1 entries"),
    ("with another stamp", changed(ROW, b'"updated":700', b'"updated":701'), "altered: collection ''"),
    ("with another origin", changed(ROW, b'"origin":"id1"', b'"origin":"id2"'), "altered: its hash is"),
    ("with another collected stamp", changed(1, b'"collected":0', b'"collected":1'), "altered: its hash is"),
    ("with a row twice", lambda lines: [*lines[: ROW + 1], *lines[ROW:]], "altered|more than once"),
    ("with rows out of order", lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2 is out of place"),
    ("with two headers", lambda lines: [lines[0], *lines], "line 2 is out of place"),
    ("with a damaged row", changed(ROW, b'"created":500', b'"created":"500"'), "line 3 is damaged"),
    ("with an unknown field", changed(ROW, b'"created":500', b'"born":1,"created":500'), "line 3 is damaged"),
    ("with a bad key", changed(ROW, b"loose/key", b"loose//key"), "line 3 is damaged: key"),
    ("with a value and none", changed(LAST_ROW, b'"deleted":true', b'"deleted":true,"data":1'), "line 8 is damaged"),
    ("with a row elsewhere", changed(LAST_ROW, b"users/bob", b"things/bob"), "line 8 .*not in collection 'users/"),
    ("with bad UTF-8", changed(LAST_ROW, b"users/bob", b"users/\xffob"), "line 8 is damaged"),
    ("with a digest of its own", changed(8, b'"digest":"', b'"digest":"0'), "altered: collection"),
    ("with a hash of its own", changed(8, b'"hash":"', b'"hash":"0'), "altered: its hash"),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "said"), [flaw[1:] for flaw in FLAWS], ids=[flaw[0] for flaw in FLAWS])
async def test_a_flawed_dump_is_refused_in_one_line_and_nothing_is_changed(
    tmp_path: Path, flaw: Callable[[Lines], Lines], said: str
) -> None:
    await store(tmp_path / "old", FACTS)
    await store(tmp_path / "there", [put("users/z", 1)])
    bad = flaw(dumped(tmp_path / "old"))
    for folder in (tmp_path / "a" / "new", tmp_path / "there"):
        with pytest.raises(StorageError, match=said) as refused:
            restored(folder, bad, force=True)
        assert str(refused.value).startswith("backup b.ndjson: ")
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "a").exists()
    assert (await contents(tmp_path / "there"))[1] == [put("users/z", 1)]


def read(text: bytes) -> None:
    reader = Reader("b.ndjson")
    for line in text.splitlines(keepends=True):
        reader.feed(line)
    reader.finish()


async def test_any_byte_that_is_altered_is_noticed(tmp_path: Path) -> None:
    await store(tmp_path, FACTS)
    whole = b"".join(dumped(tmp_path))
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 1
        with pytest.raises(StorageError, match=r"b\.ndjson"):
            read(bytes(altered))


def test_a_key_that_is_there_twice_is_refused_also_when_the_sums_agree(tmp_path: Path) -> None:
    entry = Entry("users/a", 5, 0, "1", deleted=False, prev=0, origin=OTHER)
    chunks = dump(Header(FORMAT, OLD, Epoch("e"), 1), [Section("users/*", 0, [entry, entry])], Tally())
    with pytest.raises(StorageError, match=r"b\.ndjson: it has key 'users/a' more than once"):
        restored(tmp_path / "new", b"".join(chunks).splitlines(keepends=True))
    assert not (tmp_path / "new").exists()


def test_a_dump_is_made_in_pieces(tmp_path: Path) -> None:
    def entries(size: int, number: int) -> list[Entry]:
        value = '"' + "x" * size + '"'
        return [Entry(f"users/{n}", n + 1, 0, value, deleted=False, prev=0, origin=OTHER) for n in range(number)]

    header: Any = Header(FORMAT, OLD, Epoch("e"), 1)
    small = list(dump(header, [Section("users/*", 0, entries(10, 3 * CHUNK_ROWS))], Tally()))
    assert len(small) == 3 + 2
    large = list(dump(header, [Section("users/*", 0, entries(100_000, 9))], Tally()))
    assert max(map(len, large)) < 2**19


async def test_a_full_disk_leaves_the_old_store_or_none(tmp_path: Path) -> None:
    from tests.contracts.test_sqlite_failing import files_up_to

    await store(tmp_path / "old", [put(f"users/{n:04}", n, '"' + "x" * 1000 + '"') for n in range(1, 1001)])
    await store(tmp_path / "there", [put("users/z", 1)])
    lines = dumped(tmp_path / "old")
    for folder in (tmp_path / "there", tmp_path / "new"):
        with files_up_to(300_000), pytest.raises(StorageError, match=r"pivot\.db: disk I/O error"):
            restored(folder, lines, force=True)
    assert not (tmp_path / "new").exists()
    assert (await contents(tmp_path / "there"))[1] == [put("users/z", 1)]
