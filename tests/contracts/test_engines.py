"""One contract suite for all engines that keep something: SQLite on a real disk, the simulated disk in virtual time."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trio

from pivot.core.collection import Change, ClearAcks, PutRow, Row, SetCursor
from pivot.core.entry import Entry
from pivot.engine.base import StorageEngine
from pivot.engine.memory import MemoryEngine
from pivot.engine.sqlite import SqliteEngine
from pivot.types import Epoch, StoreId
from simulator.loop import run
from simulator.world.disk import Disk, SimulatedEngine
from simulator.world.heap import EventHeap

Make = Callable[[], StorageEngine]
"""Makes an engine for the next life of one and the same store."""
Story = Callable[[Make], Awaitable[None]]


def on_sqlite(folder: Path, story: Story) -> None:
    numbers = count()
    trio.run(story, lambda: SqliteEngine(folder, new_id=lambda: f"id{next(numbers)}"))


def on_a_simulated_disk(_: Path, story: Story) -> None:
    async def main(heap: EventHeap) -> None:
        disk = Disk(store=StoreId("id0"), epoch=Epoch("id1"))
        await story(lambda: SimulatedEngine(disk, heap))

    run(main, seed=1)


everywhere = pytest.mark.parametrize("play", [on_sqlite, on_a_simulated_disk])
Play = Callable[[Path, Story], None]


def put(key: str, seq: int, *, acked: int | None = None, collection: str = "users/*", deleted: bool = False) -> PutRow:
    entry = Entry(key, 10 + seq, 0, "" if deleted else f'"{seq}"', deleted=deleted, prev=None, origin=StoreId("s"))
    return PutRow(collection, Row(entry, seq, acked))


async def life(make: Make, *commits: list[Change]) -> list[Change]:
    """Open, commit, close; returns what was there when it was opened."""
    engine = make()
    found = list((await engine.open()).changes)
    for changes in commits:
        await engine.commit(changes)
    await engine.aclose()
    return found


@everywhere
def test_a_new_store_is_empty_and_its_identity_stays(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        first = make()
        image = await first.open()
        assert list(image.changes) == []
        assert image.store
        assert image.epoch
        assert image.store != image.epoch
        await first.aclose()
        second = make()
        again = await second.open()
        assert (again.store, again.epoch) == (image.store, image.epoch)
        await second.aclose()

    play(tmp_path, story)


@everywhere
def test_rows_come_back_in_feed_order_each_key_once_newest_version(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        await life(make, [put("users/a", 1), put("users/b", 2)], [put("users/a", 3), put("users/c", 4, deleted=True)])
        assert await life(make) == [put("users/b", 2), put("users/a", 3), put("users/c", 4, deleted=True)]

    play(tmp_path, story)


@everywhere
def test_changes_of_one_commit_happen_in_their_order(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        other = put("settings", 1, acked=8, collection="settings")
        await life(make, [put("users/a", 2, acked=7), other])
        await life(
            make,
            [
                put("users/b", 3, acked=9),
                ClearAcks("users/*"),
                put("users/c", 4, acked=1),
                SetCursor("users/*", Epoch("e"), 0),
            ],
        )
        assert await life(make) == [
            other,
            put("users/a", 2),
            put("users/b", 3),
            put("users/c", 4, acked=1),
            SetCursor("users/*", Epoch("e"), 0),
        ]

    play(tmp_path, story)


@everywhere
def test_the_last_cursor_of_each_collection_is_kept(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        places = [SetCursor("settings", Epoch("e"), 1), SetCursor("users/*", Epoch("e"), 2)]
        await life(make, [*places], [SetCursor("users/*", Epoch("f"), 5)])
        assert await life(make) == [places[0], SetCursor("users/*", Epoch("f"), 5)]

    play(tmp_path, story)


@everywhere
def test_a_commit_of_nothing_changes_nothing(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        await life(make, [put("users/a", 1)], [])
        assert await life(make) == [put("users/a", 1)]

    play(tmp_path, story)


@everywhere
def test_it_says_how_durable_a_commit_is(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        assert make().durability == "full"

    play(tmp_path, story)


async def test_memory_keeps_nothing_and_says_so() -> None:
    make = partial(MemoryEngine, store=StoreId("s"), epoch=Epoch("e"))
    assert await life(make, [put("users/a", 1)]) == []
    assert await life(make) == []
    assert make().durability == "memory"
