"""Hub: frames are shared, queues are bounded, and a subscription begins with what is missing, if anything is."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import jsonpatch
import pytest
import trio
import trio.testing

from pivot.core.entry import Entry
from pivot.errors import StorageError
from pivot.paths import matches
from pivot.server import hub as room
from pivot.server.hub import Hub, Subscriber
from tests.core.builders import entry


class Store:
    """Live entries, and a hub that shows them."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.hub = Hub(self.load)
        self.loads = 0
        self.broken = False

    async def load(self, pattern: str) -> list[Entry]:
        self.loads += 1
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise StorageError("the disk is gone")
        return [one for one in self.entries.values() if matches(pattern, one.key)]

    async def write(self, *entries: Entry) -> None:
        for one in entries:
            self.entries.pop(one.key, None)
            if not one.deleted:
                self.entries[one.key] = one
        self.hub.publish(entries)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def stored() -> AsyncGenerator[Store, None]:
    store = Store()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.hub.run)
        yield store
        nursery.cancel_scope.cancel()


async def waiting(subscriber: Subscriber) -> list[bytes]:
    frames: list[bytes] = []
    with trio.move_on_after(0):
        while (frame := await subscriber.take()) is not None:
            frames.append(frame)
    return frames


async def test_one_encoded_frame_serves_all_subscribers_of_a_view() -> None:
    async with stored() as store, store.hub.subscribed("users/*") as one, store.hub.subscribed("users/*") as other:
        await store.write(entry("users/a", 1))
        (first, patch), (second, same) = await waiting(one), await waiting(other)
        assert first is second
        assert patch is same
        assert json.loads(first) == {"snapshot": True, "version": "0" * 32, "data": []}
        assert store.loads == 1


async def test_what_was_committed_at_once_is_one_frame() -> None:
    async with stored() as store, store.hub.subscribed("users/*") as subscriber:
        await store.write(entry("users/a", 1), entry("users/b", 2), entry("users/a", 3, None))
        await store.write(entry("elsewhere", 4))
        _, patch = map(json.loads, await waiting(subscriber))
        assert [operation["op"] for operation in patch["data"]] == ["add"]


async def test_a_subscription_begins_with_nothing_when_its_version_is_current_and_with_all_when_it_is_not() -> None:
    async with stored() as store:
        await store.write(entry("users/a", 1))
        async with store.hub.subscribed("users/*") as subscriber:
            version = json.loads((await waiting(subscriber))[0])["version"]
        assert not store.hub.is_watched("users/*")
        async with store.hub.subscribed("users/*", version) as subscriber:
            assert await waiting(subscriber) == []
            await store.write(entry("users/b", 2))
            (patch,) = map(json.loads, await waiting(subscriber))
            assert not patch["snapshot"]
        async with store.hub.subscribed("users/*", version) as subscriber:
            (snapshot,) = map(json.loads, await waiting(subscriber))
            assert [found["path"] for found in snapshot["data"]] == ["users/b", "users/a"]
        other = Hub(store.load)  # as after a restart, or at another member
        async with other.subscribed("users/*", snapshot["version"]) as subscriber:
            assert await waiting(subscriber) == []


@pytest.mark.parametrize(("frames", "size"), [(3, 2**20), (10_000, 700)])
async def test_who_does_not_keep_up_is_dropped_alone_and_can_come_again(
    monkeypatch: pytest.MonkeyPatch, frames: int, size: int
) -> None:
    monkeypatch.setattr(room, "QUEUE_FRAMES_MAX", frames)
    monkeypatch.setattr(room, "QUEUE_BYTES_MAX", size)
    async with stored() as store, store.hub.subscribed("users/*") as slow, store.hub.subscribed("users/*") as quick:
        taken: list[bytes] = []
        for number in range(1, 11):
            await store.write(entry(f"users/{number}", number))
            taken += await waiting(quick)
        assert slow.dropped.is_set()
        assert await slow.take() is None
        assert not quick.dropped.is_set()
        held: Any = None
        for frame in map(json.loads, taken):
            held = frame["data"] if frame["snapshot"] else jsonpatch.apply_patch(held, frame["data"])
        async with store.hub.subscribed("users/*") as again:
            assert json.loads((await waiting(again))[0])["data"] == held


async def test_a_single_frame_may_be_longer_than_the_queue() -> None:
    async with stored() as store:
        await store.write(*(entry(f"users/{n}", n + 1, json.dumps("x" * 2**20)) for n in range(9)))
        async with store.hub.subscribed("users/*") as subscriber:
            (snapshot,) = await waiting(subscriber)
            assert len(snapshot) > room.QUEUE_BYTES_MAX


async def test_a_state_that_cannot_be_read_is_that_subscribers_error_and_the_next_one_reads_again() -> None:
    async with stored() as store:
        store.broken = True
        with pytest.raises(StorageError):
            async with store.hub.subscribed("users/*"):
                pass
        assert not store.hub.is_watched("users/*")
        store.broken = False
        async with store.hub.subscribed("users/*") as subscriber:
            assert len(await waiting(subscriber)) == 1


async def test_all_end_when_the_hub_closes_and_late_ones_too() -> None:
    async with stored() as store, store.hub.subscribed("settings") as subscriber:
        store.hub.close()
        assert len(await waiting(subscriber)) == 1
        async with store.hub.subscribed("settings") as late:
            assert len(await waiting(late)) == 1
            assert await late.take() is None


async def test_a_thousand_subscribers_of_one_list_stay_in_step_under_writes() -> None:
    async with stored() as store, trio.open_nursery() as nursery:
        ends: list[str] = []

        async def follow() -> None:
            version = ""
            async with store.hub.subscribed("users/*") as subscriber:
                while (frame := await subscriber.take()) is not None:
                    version = frame.partition(b'"version":"')[2][:32].decode()
            ends.append(version)

        for _ in range(1000):
            nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        assert store.hub.statistics() == {"users/*": 1000}
        for number in range(1, 51):
            await store.write(entry(f"users/{number % 7}", number, None if number % 5 == 0 else str(number)))
        async with store.hub.subscribed("users/*") as fresh:
            last = json.loads((await waiting(fresh))[0])["version"]
        store.hub.close()
        with trio.fail_after(30):
            while len(ends) < 1000:
                await trio.testing.wait_all_tasks_blocked()
        assert set(ends) == {last}
        assert store.loads == 1
