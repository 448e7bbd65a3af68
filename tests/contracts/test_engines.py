"""One contract suite for all engines that keep something: SQLite on a real disk, the simulated disk in virtual time."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trio

from pivot.config import Knobs
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
from pivot.core.store import Store
from pivot.engine.base import StorageEngine
from pivot.engine.memory import MemoryEngine
from pivot.engine.sqlite import SqliteEngine
from pivot.types import Epoch, StoreId
from simulator.runtimes.loop import run
from simulator.runtimes.trio import SimulatedEngine
from simulator.world.disk import Disk
from simulator.world.drive import DiskDrive
from simulator.world.heap import EventHeap

Make = Callable[[], StorageEngine]
"""Makes an engine for the next life of one and the same store."""
Story = Callable[[Make], Awaitable[None]]


def on_sqlite(folder: Path, story: Story) -> None:
    numbers = count()
    trio.run(story, lambda: SqliteEngine(folder, new_id=lambda: f"id{next(numbers)}"))


def on_a_simulated_disk(_: Path, story: Story) -> None:
    async def main(heap: EventHeap) -> None:
        disk, numbers = Disk(store=StoreId("id0"), epoch=Epoch("id1")), count(2)
        await story(lambda: SimulatedEngine(DiskDrive(disk, heap, new_id=lambda: f"id{next(numbers)}")))

    run(main, seed=1)


everywhere = pytest.mark.parametrize("play", [on_sqlite, on_a_simulated_disk])
Play = Callable[[Path, Story], None]


def put(key: str, seq: int, *, acked: int | None = None, collection: str = "users/*", deleted: bool = False) -> PutRow:
    entry = Entry(key, 10 + seq, 0, "" if deleted else f'"{seq}"', deleted=deleted, prev=None, origin=StoreId("s"))
    return PutRow(collection, Row(entry, seq, acked))


def set_place(cursor: int, *, epoch: str = "e", collection: str = "users/*") -> SetPlace:
    return SetPlace(collection, Place(Epoch(epoch), cursor, floor=3, collected=2**62, cluster="c"))


def set_follower(store: str, cursor: int, *, collection: str = "users/*") -> SetFollower:
    return SetFollower(collection, Follower(StoreId(store), f"name of {store}", cursor, 2**62))


async def life(make: Make, *commits: list[Change]) -> list[Change]:
    """Open, commit, close; returns what was there when it was opened."""
    engine = make()
    found = list((await engine.open()).changes)
    for changes in commits:
        await engine.commit(changes)
    await engine.aclose()
    return found


@everywhere
def test_a_new_store_is_empty_and_its_identity_stays_while_its_lives_change(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        first = make()
        image = await first.open()
        assert list(image.changes) == []
        assert image.store
        assert image.epoch
        assert image.store != image.epoch
        await first.commit([put("users/a", 3), put("users/b", 7)])
        await first.commit([DropRow("users/*", "users/b", 7)])
        await first.aclose()
        second = make()
        again = await second.open()
        assert again.store == image.store
        assert again.epoch != image.epoch
        assert again.lineage.kept(image.epoch) == 7
        await second.commit([put("users/c", 9)])
        await second.aclose()
        third = make()
        lineage = (await third.open()).lineage
        assert (lineage.kept(image.epoch), lineage.kept(again.epoch)) == (7, 9)
        await third.aclose()

    play(tmp_path, story)


@everywhere
def test_a_new_life_of_the_upstream_leaves_what_it_has_kept_of_the_one_before(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        other = put("settings", 1, acked=9, collection="settings")
        await life(make, [other, put("users/a", 2, acked=7), put("users/b", 3, acked=8), put("users/c", 4)])
        await life(make, [ClearAcks("users/*", 7)])
        assert await life(make) == [other, put("users/a", 2, acked=7), put("users/b", 3), put("users/c", 4)]

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
                set_place(0),
            ],
        )
        assert await life(make) == [
            other,
            put("users/a", 2),
            put("users/b", 3),
            put("users/c", 4, acked=1),
            set_place(0),
        ]

    play(tmp_path, story)


@everywhere
def test_the_last_place_in_each_collection_is_kept(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        places = [set_place(1, collection="settings"), set_place(2)]
        await life(make, [*places], [set_place(5, epoch="f")])
        assert await life(make) == [places[0], set_place(5, epoch="f")]

    play(tmp_path, story)


@everywhere
def test_a_dropped_row_does_not_come_back_and_its_number_stays_used(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        await life(make, [put("users/a", 1), put("users/b", 5, deleted=True)], [DropRow("users/*", "users/b", 5)])
        for _ in range(2):
            engine = make()
            image = await engine.open()
            assert (list(image.changes), image.seq) == ([put("users/a", 1)], 5)
            await engine.aclose()
        await life(make, [DropRow("users/*", "users/a", 1), DropRow("users/*", "users/never", 2)])
        engine = make()
        image = await engine.open()
        assert (list(image.changes), image.seq) == ([], 5)
        await engine.aclose()

    play(tmp_path, story)


@everywhere
def test_a_key_dropped_and_put_in_one_commit_is_what_was_said_last(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        drop = DropRow("users/*", "users/a", 1)
        await life(
            make, [put("users/a", 1), drop, put("users/a", 2), put("users/b", 3), DropRow("users/*", "users/b", 3)]
        )
        assert await life(make) == [put("users/a", 2)]

    play(tmp_path, story)


@everywhere
def test_the_last_retention_of_each_collection_is_kept(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        ours = [
            SetRetention("settings", Retention(since_ns=2**62)),
            SetRetention("users/*", Retention(floor=7, collected=2**62, since_ns=1, known=True)),
        ]
        await life(make, [ours[0], SetRetention("users/*", Retention(floor=3)), *ours])
        assert await life(make) == ours

    play(tmp_path, story)


@everywhere
def test_followers_are_kept_per_collection_until_they_are_dropped(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        both = [set_follower("s1", 1, collection="settings"), set_follower("s1", 2), set_follower("s2", 3)]
        await life(make, [*both])
        assert await life(make, [set_follower("s2", 9), DropFollower("users/*", StoreId("s1"))]) == both
        assert await life(make, [DropFollower("users/*", StoreId("unknown"))]) == [both[0], set_follower("s2", 9)]
        assert await life(make) == [both[0], set_follower("s2", 9)]

    play(tmp_path, story)


@everywhere
def test_confirmations_are_cleared_in_one_collection_only_and_rows_stay(tmp_path: Path, play: Play) -> None:
    async def story(make: Make) -> None:
        other = put("settings", 1, acked=8, collection="settings")
        await life(make, [other, put("users/a", 2, acked=7), put("users/b", 3, deleted=True, acked=9)])
        await life(make, [ClearAcks("users/*")])
        assert await life(make) == [other, put("users/a", 2), put("users/b", 3, deleted=True)]

    play(tmp_path, story)


@everywhere
def test_a_store_that_is_loaded_is_the_store_that_was_kept(tmp_path: Path, play: Play) -> None:
    """What an engine gives back and what a store makes of it belong together."""

    async def story(make: Make) -> None:
        kept: list[Change] = [
            put("users/a", 1, acked=4),
            put("users/b", 2, deleted=True),
            set_place(5),
            DropRow("users/*", "users/b", 2),
            SetRetention("users/*", Retention(floor=2, collected=12)),
            set_follower("s1", 1),
        ]
        engine = make()
        image = await engine.open()
        staged = Store(image.store, image.epoch, {"users/*": True}, Knobs(), image.changes, seq=image.seq)
        for change in kept:
            staged.stage(change)
        staged.commit()
        await engine.commit(kept)
        await engine.aclose()
        again = make()
        image = await again.open()
        loaded = Store(image.store, image.epoch, {"users/*": True}, Knobs(), image.changes, seq=image.seq)
        assert loaded.describe().collections == staged.describe().collections
        assert loaded.table() == staged.table()
        assert loaded.stage_entry(put("users/c", 9).row.entry, acked=None).row.seq == 3
        await again.aclose()

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
    every: list[Change] = [
        put("users/a", 1),
        DropRow("users/*", "users/a", 1),
        set_place(1),
        ClearAcks("users/*"),
        SetRetention("users/*", Retention(floor=1)),
        set_follower("s1", 1),
        DropFollower("users/*", StoreId("s1")),
    ]
    assert await life(make, every) == []
    assert await life(make) == []
    assert (await make().open()).seq == 0
    assert make().durability == "memory"
