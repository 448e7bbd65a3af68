"""WebSockets of real servers: frames on the wire, resuming, dropping, the status, the clock; at a leader and a node."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import jsonpatch
import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from pivot.actors.wallclock import system_clock
from pivot.client import Client
from pivot.config import Config, Key
from pivot.errors import BadAnswerError
from pivot.server import hub, subscriptions
from pivot.transport.websocket import open_websocket
from pivot.types import JsonValue
from pivot.watching import Watching, patched
from tests.e2e.servers import WAIT_S, running

KEYS = (Key("settings"), Key("users/*"), Key("box/*/things/*"))


@asynccontextmanager
async def subscribed(url: str, path: str) -> AsyncGenerator[WebSocketConnection, None]:
    async with open_websocket("ws" + url.removeprefix("http") + path, timeout_s=WAIT_S) as socket:
        yield socket


async def frame(socket: WebSocketConnection) -> Any:
    with trio.fail_after(WAIT_S):
        message = await socket.get_message()
    assert isinstance(message, bytes)  # binary: the original's client reads nothing else
    return json.loads(message)


async def all_messages(socket: WebSocketConnection) -> None:
    while True:
        await socket.get_message()


async def test_a_subscription_is_a_snapshot_and_then_patches() -> None:
    async with running(Config(keys=KEYS)) as url, Client(url) as client, subscribed(url, "/box/*/things/*") as socket:
        first = await frame(socket)
        assert (first["snapshot"], first["data"]) == (True, [])
        await client.set("box/a/things/1", {"size": 1, "name": "x" * 50})
        await client.get_list("box/*/things/*")  # reading changes nothing (the original sorts what others hold)
        added = await frame(socket)
        assert [(op["op"], op["path"]) for op in added["data"]] == [("add", "/0")]
        await client.patch("box/a/things/1", {"size": 2})
        changed = await frame(socket)
        assert changed["data"][1:] == [{"op": "replace", "path": "/0/data/size", "value": 2}]
        held = jsonpatch.apply_patch(jsonpatch.apply_patch([], added["data"]), changed["data"])
        async with subscribed(url, "/box/*/things/*") as other:
            fresh = await frame(other)
        assert (fresh["data"], fresh["version"]) == (held, changed["version"])


async def test_a_version_that_is_current_skips_the_snapshot_also_at_another_server_and_after_a_restart() -> None:
    async with running(Config(keys=KEYS)) as leader, Client(leader) as client:
        await client.set("settings", {"theme": "light"})
        async with subscribed(leader, "/settings") as socket:
            version = (await frame(socket))["version"]
        async with running(Config(keys=KEYS, cluster_url=leader)) as node, Client(node) as mine:
            async with mine.watch("settings") as states:
                with trio.fail_after(WAIT_S):
                    async for state in states:
                        assert isinstance(state, dict)
                        if state["data"]:
                            break
            for url in (leader, node):
                async with subscribed(url, f"/settings?v={version}") as socket:
                    await client.set("settings", {"theme": url})
                    patch = await frame(socket)
                    assert not patch["snapshot"]
                    version = patch["version"]
        await client.set("settings", 1)
        async with subscribed(leader, f"/settings?v={version}") as socket:
            assert (await frame(socket))["data"]["data"] == 1


async def test_subscribers_at_leader_and_node_are_told_of_what_either_writes() -> None:
    async with (
        running(Config(keys=KEYS)) as leader,
        running(Config(keys=KEYS, cluster_url=leader)) as node,
        Client(leader) as at_leader,
        Client(node) as at_node,
        at_leader.watch("users/*") as leaders,
        at_node.watch("users/*") as nodes,
    ):
        await at_leader.set("users/ann", 1)
        await at_node.set("users/bob", 2)
        for states in (leaders, nodes):
            with trio.fail_after(WAIT_S):
                async for state in states:
                    assert isinstance(state, list)
                    if len(state) == 2:
                        break
        assert await at_leader.get_list("users/*") == await at_node.get_list("users/*")


async def test_a_subscriber_that_reads_nothing_at_all_is_cut_off_and_can_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "QUEUE_FRAMES_MAX", 20)
    monkeypatch.setattr(subscriptions, "_GOODBYE_S", 0.1)
    async with running(Config(keys=KEYS)) as url, Client(url) as client:
        async with subscribed(url, "/users/*") as socket:
            await frame(socket)  # and then no more: what follows fills the buffers on the way, then the queue
            with trio.fail_after(WAIT_S):
                while await subscribers(client):
                    for letter in "xy":
                        await client.set("users/ann", letter * 1_000_000)
            with pytest.raises(ConnectionClosed) as closed, trio.fail_after(WAIT_S):
                await all_messages(socket)
            assert closed.value.reason is None or closed.value.reason.code == 1006, "not even a goodbye was read"
        async with subscribed(url, "/users/*") as again:
            assert len((await frame(again))["data"]) == 1


async def subscribers(client: Client) -> int:
    """How many are subscribed, as the server says."""
    response = await client._http.request("GET", client.url + "/?api=state", timeout_s=WAIT_S)
    total: int = json.loads(response.body)["totalConnections"]
    return total


async def test_a_dropped_subscriber_that_reads_on_is_told_why() -> None:
    subscriber = hub.Subscriber()
    for _ in range(hub.QUEUE_FRAMES_MAX + 1):
        subscriber.offer(b"{}")
    assert subscriber.dropped.is_set()

    class Dropping:
        closed = False

        @asynccontextmanager
        async def subscribed(self, *_: str) -> AsyncGenerator[hub.Subscriber, None]:
            yield subscriber

    from quart_trio import QuartTrio

    from tests.contracts.hosts import hosted

    app = QuartTrio("dropping")
    subscriptions.add_subscription_routes(app, Dropping(), system_clock)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    async with hosted(app, grace_s=0.1) as server, subscribed(server.url, "/settings") as socket:
        with pytest.raises(ConnectionClosed) as closed, trio.fail_after(WAIT_S):
            await socket.get_message()
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1013
    assert "subscribe again" in (closed.value.reason.reason or "")


async def test_the_root_sends_the_clock_now_and_every_second() -> None:
    async with running(Config()) as url, subscribed(url, "/") as socket:
        before = system_clock()
        first, second = await frame(socket), await frame(socket)
        assert before - 10**9 < first < second < system_clock()
        assert second - first > 0.9e9


async def test_the_status_can_be_subscribed_to_and_says_what_changed() -> None:
    async with running(Config(keys=KEYS)) as url, Client(url) as client, subscribed(url, "/pivot/status") as socket:
        held = (await frame(socket))["data"]
        assert (held["index"], held["data"]["role"]) == ("status", "pivot")
        await client.set("users/ann", 1)
        patch = await frame(socket)
        held = jsonpatch.apply_patch(held, patch["data"])
        users = next(c for c in held["data"]["collections"] if c["path"] == "users/*")
        assert users["entries"] == 1
        assert held["updated"] > held["created"]


@pytest.mark.parametrize("path", ["/_pivot/status", "/a//b", "/a*", "/a/", "//a"])
async def test_a_subscription_to_what_is_no_key_is_closed_with_1008(path: str) -> None:
    async with running(Config()) as url, subscribed(url, path) as socket:
        with pytest.raises(ConnectionClosed) as closed, trio.fail_after(WAIT_S):
            await socket.get_message()
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1008


async def test_subscriptions_end_with_1001_when_the_server_stops() -> None:
    codes: list[int] = []
    async with trio.open_nursery() as nursery, running(Config()) as url:

        async def follow(*, task_status: trio.TaskStatus[None]) -> None:
            async with subscribed(url, "/settings") as socket:
                await frame(socket)
                task_status.started()
                with pytest.raises(ConnectionClosed) as closed, trio.fail_after(WAIT_S):
                    await socket.get_message()
            assert closed.value.reason is not None
            codes.append(closed.value.reason.code)

        await nursery.start(follow)
    assert codes == [1001]


# What the client makes of it -----------------------------------------------------------------------------------------


async def test_a_user_who_takes_his_time_gets_the_newest_state_and_old_ones_do_not_change() -> None:
    async with running(Config(keys=KEYS)) as url, Client(url) as client, client.watch("users/*") as states:
        with trio.fail_after(WAIT_S):
            empty = await anext(states)
            await client.set("users/ann", {"a": {"b": 1}})
            first = await anext(states)
            kept = json.dumps(first)
            for number in range(2, 60):
                await client.patch("users/ann", {"a": {"b": number}})
            await client.set("users/bob", 1)
            async for state in states:
                assert isinstance(state, list)
                if len(state) == 2:
                    break
        assert empty == []
        assert json.dumps(first) == kept


def test_a_patch_copies_what_it_touches_and_shares_the_rest() -> None:
    before: Any = [{"data": {"a": [1]}}, {"data": 2}]
    moved = [
        {"op": "add", "path": "/0", "value": {"data": 0}},
        {"op": "add", "path": "/1/data/a/-", "value": 2},
        {"op": "move", "from": "/1/data/a", "path": "/1/data/b"},
    ]
    after: Any = patched(before, moved)
    assert before == [{"data": {"a": [1]}}, {"data": 2}]
    assert after == [{"data": 0}, {"data": {"b": [1, 2]}}, {"data": 2}]
    assert after[2] is before[1]
    assert patched({"a": 1}, [{"op": "replace", "path": "", "value": 3}]) == 3


@pytest.mark.parametrize(
    "operations",
    [
        {"not": "a list"},
        [1],
        [{}],
        [{"op": "add", "path": "/7/x", "value": 1}],
        [{"op": "add", "path": "no pointer", "value": 1}],
        [{"op": "add", "path": 5, "value": 1}],
        [{"op": "add", "path": "/x", "value": 1}],
        [{"op": "replace", "path": "/0/data/x", "value": 1}],
        [{"op": "move", "from": 7, "path": "/0"}],
        [{"op": "explode", "path": "/0"}],
        [{"op": "replace", "path": "/0", "value": "no entry"}],
    ],
)
async def test_a_patch_that_does_not_fit_is_a_bad_answer(operations: Any) -> None:
    item = {"created": 1, "updated": 0, "index": "a", "path": "users/a", "data": 1}
    frames = [
        {"snapshot": True, "version": "1", "data": [item]},
        {"snapshot": False, "version": "2", "data": operations},
    ]

    class Socket:
        async def get_message(self) -> bytes:
            if not frames:
                await trio.sleep_forever()
            return json.dumps(frames.pop(0)).encode()

    watching = Watching("ws://here", "users/*")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching.read, Socket())
        with trio.fail_after(WAIT_S), pytest.raises(BadAnswerError):
            await to_end(watching)
        nursery.cancel_scope.cancel()


async def to_end(watching: Watching) -> None:
    async for _ in watching:
        pass


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_a_thousand_sockets_of_one_list_stay_in_step_under_writes() -> None:
    async with running(Config(keys=KEYS)) as url, Client(url) as client, trio.open_nursery() as nursery:
        done: list[JsonValue] = []
        all_done = trio.Event()

        async def follow(*, task_status: trio.TaskStatus[None]) -> None:
            async with client.watch("users/*") as states:
                task_status.started()
                async for state in states:
                    assert isinstance(state, list)
                    if state and isinstance(state[0], dict) and state[0]["path"] == "users/last":
                        done.append(state)
                        if len(done) == 1000:
                            all_done.set()
                        return

        for _ in range(1000):
            await nursery.start(follow)
        for number in range(20):
            await client.set(f"users/{number % 9}", number)
            if number % 7 == 0:
                await client.delete(f"users/{number % 9}")
        await client.set("users/last", 0)
        await all_done.wait()
        fresh = [msgspec.to_builtins(item) for item in await client.get_list("users/*")]
        assert all(state == fresh for state in done)
