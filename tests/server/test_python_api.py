"""What a program does with a server in Python: storages, setup, verbs, hooks; over real sockets where it matters."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import nan
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from pivot import Client, Config, Key, Knobs, NotRunningError, Server, Storage, get_instance, setup
from pivot.core.notices import CaughtUp
from pivot.errors import BadKeyError, BadValueError, ConfigError, NotFoundError, RefusedError, StorageError
from tests.e2e.servers import until

KEYS = [Key("settings"), Key("users/*")]
HERE = "127.0.0.1:0"
QUICK = Knobs(heartbeat_s=0.1, retry_s_min=0.05, retry_s_max=0.2, ack_repeat_s=0.2)


@dataclass
class User:
    name: str
    age: int = 0


class Settings(msgspec.Struct):
    theme: str


def made(config: Config | None = None, storage: Storage | None = None) -> Server:
    server = Server(storage)
    setup(server, config or Config(keys=KEYS, knobs=QUICK))
    return server


@asynccontextmanager
async def pair(**keys: Storage) -> AsyncGenerator[tuple[Server, Server]]:
    """A leader and a node that follows it; where a storage is named, it keeps `users/*` there."""
    leading = [Key("settings"), Key("users/*", database=keys.get("leader"))]
    following = [Key("settings"), Key("users/*", database=keys.get("node"))]
    leader = made(Config(keys=leading, knobs=QUICK, name="leader"))
    await get_instance(leader).attach(keys.get("leader", leader.storage))
    async with leader.running(HERE) as url:
        node = made(Config(keys=following, knobs=QUICK, name="node", cluster_url=url))
        await get_instance(node).attach(keys.get("node", node.storage))
        async with node.running(HERE):
            yield leader, node


async def holds(server: Server, key: str, value: object) -> None:
    """Wait until a server has this value."""

    async def has() -> bool:
        found = await server.get_list(key)
        return [item.data for item in found] == ([] if value is None else [value])

    await until(has)


# Verbs ---------------------------------------------------------------------------------------------------------------


async def test_values_are_written_and_read_as_what_they_are() -> None:
    server = made()
    async with server.running(HERE):
        written = await server.set("settings", Settings("dark"))
        assert (written.index, written.acked) == ("settings", True)
        assert (await server.get("settings")).data == {"theme": "dark"}
        assert (await server.get("settings", type=Settings)).data == Settings("dark")
        index = (await server.push("users/*", User("Ann", 41))).index
        await server.patch(f"users/{index}", {"age": 42})
        assert (await server.get(f"users/{index}", type=User)).data == User("Ann", 42)
        await server.push("users/*", User("Bob"))
        assert [item.data for item in await server.get_list("users/*", type=User)] == [User("Bob"), User("Ann", 42)]
        await server.delete(f"users/{index}")
        assert [item.data for item in await server.get_list("users/*")] == [{"name": "Bob", "age": 0}]
        await server.delete("users/*")
        assert await server.get_list("users/*") == []


async def test_the_client_has_the_same_verbs_with_the_same_types() -> None:
    server = made()
    async with server.running(HERE) as url, Client(url) as client:
        await client.set("users/ann", User("Ann", 41))
        assert (await client.get("users/ann", type=User)) == await server.get("users/ann", type=User)
        assert (await client.get_list("users/*", type=User)) == await server.get_list("users/*", type=User)
        for reader in (client, server):
            with pytest.raises(BadValueError, match="users/ann"):
                await reader.get("users/ann", type=Settings)


@pytest.mark.parametrize("value", [nan, {"when": object()}, {1: {2}, "a": float("inf")}, "x" * (2**20 + 1)])
async def test_what_cannot_be_kept_is_refused_and_nothing_is_written(value: object) -> None:
    server = made()
    async with server.running(HERE):
        with pytest.raises(BadValueError):
            await server.set("settings", value)
        assert await server.get_list("settings") == []


async def test_a_missing_key_and_a_bad_one_are_errors_that_name_it() -> None:
    server = made()
    async with server.running(HERE):
        for verb in (server.get, server.delete):
            with pytest.raises(NotFoundError, match="users/nobody"):
                await verb("users/nobody")
        with pytest.raises(NotFoundError, match="users/nobody"):
            await server.patch("users/nobody", {})
        with pytest.raises(BadKeyError, match="other"):
            await server.set("other", 1, ack="leader")
        with pytest.raises(BadKeyError, match="users"):
            await server.push("users", 1)
        assert (await server.delete("users/*")).stamp == 0


async def test_a_watch_shows_each_new_state_and_ends_with_the_server() -> None:
    server = made()
    async with trio.open_nursery() as nursery:
        states: list[object] = []
        seen = trio.Event()

        async def look() -> None:
            async with server.watch("users/*") as watching:
                async for state in watching:
                    states.append(state)
                    seen.set()

        async with server.running(HERE):
            nursery.start_soon(look)
            with trio.fail_after(10):
                await seen.wait()
            seen = trio.Event()
            await server.set("users/ann", 1)
            with trio.fail_after(10):
                await seen.wait()
        assert [json.dumps(state).count('"path"') for state in states] == [0, 1]


async def test_verbs_on_a_server_that_does_not_run_say_so() -> None:
    server = made()
    for verb in (server.get, server.get_list, server.delete):
        with pytest.raises(NotRunningError):
            await verb("settings")
    for write in (server.set, server.patch):
        with pytest.raises(NotRunningError):
            await write("settings", 1)
    with pytest.raises(NotRunningError):
        await server.push("users/*", 1)
    with pytest.raises(NotRunningError):
        await get_instance(server).status()
    async with server.running(HERE):
        await server.set("settings", 1)
    with pytest.raises(NotRunningError):
        await server.get("settings")


async def test_a_server_that_was_not_set_up_keeps_entries_too() -> None:
    server = Server()
    with pytest.raises(ConfigError, match="set up"):
        get_instance(server)
    async with server.running(HERE):
        await server.set("anything", 1)
        assert (await server.get("anything")).data == 1


# Storages ------------------------------------------------------------------------------------------------------------


async def test_a_server_on_disk_runs_again_with_what_it_had_and_one_in_memory_without(tmp_path: Path) -> None:
    for storage, left in ((Storage.sqlite(tmp_path / "state.db"), [1]), (Storage.memory(), [])):
        server = made(storage=storage)
        async with server.running(HERE):
            await server.set("settings", 1)
        async with server.running(HERE):
            assert [item.data for item in await server.get_list("settings")] == left


async def test_an_external_storage_keeps_its_keys_and_nobody_elses(tmp_path: Path) -> None:
    auth = Storage.sqlite(tmp_path / "auth")
    server = made(Config(keys=[Key("settings"), Key("users/*", database=auth)]))
    await get_instance(server).attach(auth)
    async with server.running(HERE) as url, Client(url) as client:
        await client.set("settings", 1)
        await client.set("users/ann", 2)
        await client.push("users/*", 3)
        assert [key async for key in client.keys("settings")] == ["settings"]
        assert {item.data for item in await server.get_list("*/*") if isinstance(item.data, int)} == {2, 3}
        status = await get_instance(server).status()
        assert {info.path: info.entries for info in status.collections} == {"users/*": 2, "settings": 1, "": 0}
    async with server.running(HERE):
        assert len(await server.get_list("users/*")) == 2
        assert await server.get_list("settings") == []
        assert len((await server.delete("*/*")).index) == 0
        assert await server.get_list("users/*") == []


async def test_a_storage_that_is_attached_while_the_server_runs_starts_at_once() -> None:
    auth = Storage.memory()
    server = made(Config(keys=[Key("users/*", database=auth)]))
    async with server.running(HERE) as url, Client(url) as client:
        with pytest.raises(NotRunningError, match=r"users/\*"):
            await server.set("users/ann", 1)
        assert await server.get_list("*/*") == []
        with pytest.raises(RefusedError, match="503"):
            await client.set("users/ann", 1)
        await get_instance(server).attach(auth)
        await get_instance(server).attach(auth)
        await client.set("users/ann", 1)
        assert (await server.get("users/ann")).data == 1


async def test_storages_that_are_attached_at_the_same_time_all_follow_their_leader() -> None:
    leader = made(Config(keys=[Key("users/*"), Key("rooms/*")], knobs=QUICK, name="leader"))
    users, rooms = Storage.memory(), Storage.memory()
    async with leader.running(HERE) as url:
        await leader.set("users/ann", 1)
        await leader.set("rooms/a", 2)
        keys = [Key("users/*", database=users), Key("rooms/*", database=rooms)]
        node = made(Config(keys=keys, knobs=QUICK, name="node", cluster_url=url))
        async with node.running(HERE):
            async with trio.open_nursery() as nursery:
                for storage in (users, rooms, users):
                    nursery.start_soon(get_instance(node).attach, storage)
            await holds(node, "users/ann", 1)
            await holds(node, "rooms/a", 2)
            assert len(node.live.stores.members) == 3


async def test_a_storage_that_cannot_be_opened_is_an_error_and_the_server_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    auth = Storage.sqlite(tmp_path / "file")
    server = made(Config(keys=[Key("settings"), Key("users/*", database=auth)]))
    async with server.running(HERE):
        with pytest.raises(StorageError, match="file"):
            await get_instance(server).attach(auth)
        await server.set("settings", 1)


async def test_a_storage_of_no_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="database of no key"):
        await get_instance(made()).attach(Storage.memory())


@pytest.mark.parametrize("where", [(), ("leader",), ("node",), ("leader", "node")], ids=", ".join)
async def test_external_storages_synchronise_like_the_servers_own(where: tuple[str, ...]) -> None:
    async with pair(**{name: Storage.memory() for name in where}) as (leader, node):
        await leader.set("users/ann", 1)
        await leader.set("settings", "light")
        await node.set("users/bob", 2)
        assert (await node.set("users/bob", 3, ack="leader", ack_timeout_s=20)).acked
        await holds(leader, "users/bob", 3)
        await holds(node, "users/ann", 1)
        await holds(node, "settings", "light")
        await node.delete("users/ann")
        await node.set("settings", "dark")
        await holds(leader, "users/ann", None)
        await holds(leader, "settings", "dark")


# Hooks ---------------------------------------------------------------------------------------------------------------


async def test_hooks_at_start_and_stop_compose_and_run_in_order() -> None:
    server, said = made(), list[str]()

    async def first() -> None:
        said.append("start 1")
        await server.set("settings", 1)

    server.on_start(first)
    server.on_start(lambda: said.append("start 2"))
    server.on_stop(lambda: said.append("stop 1"))

    async def last() -> None:
        said.append(f"stop 2 with {(await server.get('settings')).data}")

    server.on_stop(last)
    async with server.running(HERE):
        said.append("runs")
    assert said == ["start 1", "start 2", "runs", "stop 2 with 1", "stop 1"]


async def test_a_hook_that_does_not_end_or_raises_does_not_keep_the_server_from_stopping() -> None:
    server, said = made(), list[str]()
    server.on_stop(lambda: said.append("the first"))
    server.on_stop(trio.sleep_forever)
    server.on_stop(lambda: 1 / 0)
    with trio.fail_after(20):
        async with server.running(HERE, grace_s=0.05):
            pass
    assert said == []


async def test_a_hook_of_on_start_that_raises_ends_the_server() -> None:
    server = made()
    server.on_start(lambda: 1 / 0)
    with pytest.raises(ExceptionGroup) as raised:
        async with server.running(HERE):
            pass
    assert raised.group_contains(ZeroDivisionError)
    assert not server.is_running


async def test_hooks_of_a_storage_hear_of_writes_and_reads_and_do_not_hold_writers_up() -> None:
    server, written, reads = made(), list[str](), list[str]()
    told = trio.Event()

    async def slow(key: str) -> None:
        await told.wait()
        written.append(key)

    storage = server.storage
    storage.after_write(slow)
    await get_instance(server).attach(storage, after_write=lambda _: 1 / 0, before_read=reads.append)
    async with server.running(HERE) as url, Client(url) as client:
        for number in range(10):
            await client.set("settings", number)
        await server.set("users/ann", 1)
        assert written == []
        told.set()
        await until(lambda: _is(written[-1:] == ["users/ann"]))
        assert written in (["settings", "users/ann"], ["settings", "settings", "users/ann"])
        await client.get("settings")
        await server.get_list("users/*")
        assert reads == ["settings", "users/*"]


async def _is(said: bool) -> bool:
    return said


async def test_events_tell_what_happens() -> None:
    async with pair() as (leader, node), get_instance(node).events() as events:
        await leader.set("users/ann", 1)
        with trio.fail_after(20):
            async for event in events:
                if isinstance(event, CaughtUp):
                    break
        assert [(peer.role, peer.healthy) for peer in get_instance(node).health] == [("leader", True)]


# Configuration -------------------------------------------------------------------------------------------------------


async def test_several_servers_in_one_process_share_nothing() -> None:
    one, other = made(), made()
    async with one.running(HERE) as url, other.running(HERE) as another:
        assert url != another
        await one.set("settings", 1)
        assert await other.get_list("settings") == []


async def test_a_server_is_set_up_once_and_before_it_runs() -> None:
    server = made()
    with pytest.raises(ConfigError, match=r"already.*settings, users/\*"):
        setup(server, Config())
    late = Server()
    async with late.running(HERE):
        with pytest.raises(ConfigError, match="runs already"):
            setup(late, Config())
        with pytest.raises(NotRunningError, match="already"):
            async with late.running(HERE):
                pass


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: Config(keys=[Key("a"), Key("a", database=Storage.memory())]), "key 'a' is given twice"),
        (lambda: Config(keys=[Key("b/*", database=Storage.memory())], nodes_key="b/*"), r"b/\*"),
        (lambda: Key("a", database="state.db"), "key 'a' has database 'state.db'"),  # type: ignore[arg-type]
        (lambda: Key("a", local=True, cluster_url="x:1"), "key 'a' is local"),
        (lambda: Config(keys=[Key("a", cluster_url="x:1")]), "key 'a' follows"),
        (lambda: made(Config(keys=[Key("a", cluster_url="x:y")], cluster_url="x:1")), "x:y"),
        (lambda: made(Config(cluster_url="nowhere")), "nowhere"),
    ],
)
def test_a_contradiction_is_an_error_that_names_the_key(wrong: object, named: str) -> None:
    assert callable(wrong)
    with pytest.raises(ConfigError, match=named):
        wrong()


async def test_a_custom_client_makes_the_requests_and_is_not_closed() -> None:
    requests: list[str] = []

    async def note(request: httpx.Request) -> None:
        requests.append(request.url.path)

    async with httpx.AsyncClient(event_hooks={"request": [note]}, trust_env=False) as custom:
        leader = made()
        async with leader.running(HERE) as url:
            node = made(Config(keys=KEYS, cluster_url=url.removeprefix("http://"), client=custom, knobs=QUICK))
            async with node.running(HERE):
                assert (await node.set("settings", 1, ack="leader", ack_timeout_s=20)).acked
        assert {"/_pivot/stream", "/_pivot/envelopes"} <= set(requests)
        assert not custom.is_closed


# In step with the leader ---------------------------------------------------------------------------------------------


async def test_a_read_of_a_node_waits_for_its_leader_when_it_is_asked_to_and_not_for_long() -> None:
    leader = made(Config(keys=KEYS, knobs=QUICK))
    async with leader.running(HERE) as url:
        await leader.set("settings", 1)
        node = made(Config(keys=KEYS, knobs=QUICK, cluster_url=url, auto_sync_on_start=False, sync_on_read=20.0))
        async with node.running(HERE):
            assert (await node.get("settings")).data == 1
            await get_instance(node).before_read("users/*")
    lonely = made(Config(keys=KEYS, cluster_url="127.0.0.1:1", sync_on_read=0.05))
    with trio.fail_after(20):
        async with lonely.running(HERE):
            assert await lonely.get_list("settings") == []


async def test_a_node_that_is_not_to_sync_by_itself_does_when_it_is_told_to() -> None:
    leader = made(Config(keys=KEYS, knobs=QUICK))
    async with leader.running(HERE) as url:
        await leader.set("settings", 1)
        node = made(Config(keys=KEYS, knobs=QUICK, cluster_url=url, auto_sync_on_start=False))
        async with node.running(HERE):
            await node.set("users/ann", 2)
            assert get_instance(node).health == ()
            get_instance(node).sync_callback("users/ann")
            await holds(node, "settings", 1)
            await holds(leader, "users/ann", 2)


async def test_a_leader_watches_nodes_that_it_is_told_of() -> None:
    node = made()
    async with node.running(HERE) as url:
        leader = made(Config(keys=KEYS, knobs=QUICK, extra_node_urls=["127.0.0.1:1"]))
        async with leader.running(HERE):
            instance = get_instance(leader)
            instance.add_extra_node_url(url.removeprefix("http://"))
            assert leader.config.extra_node_urls == ("http://127.0.0.1:1", url)

            async def watched() -> bool:
                nodes = (await instance.status()).nodes
                return [(each.address, each.healthy) for each in nodes] == [
                    ("127.0.0.1:1", False),
                    (url.removeprefix("http://"), True),
                ]

            await until(watched)
