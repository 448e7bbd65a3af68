"""Filters: what clients may do and what is changed on the way; what the leader does with rows that it does not want."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from pivot import Client, Config, Item, Key, Knobs, RejectedError, Server, get_instance, setup
from pivot.core.notices import Notice, Rejected
from pivot.errors import ConfigError, RefusedError
from pivot.transport.http_client import HttpClient
from pivot.types import JsonValue
from tests.e2e.servers import until

KEYS = [Key("settings"), Key("users/*"), Key("logs/*")]
QUICK = Knobs(heartbeat_s=0.1, retry_s_min=0.05, retry_s_max=0.2, ack_repeat_s=0.2)
HERE = "127.0.0.1:0"


def made(cluster_url: str = "") -> Server:
    server = Server()
    setup(server, Config(keys=KEYS, cluster_url=cluster_url, knobs=QUICK))
    return server


@asynccontextmanager
async def served(server: Server) -> AsyncGenerator[Client]:
    async with server.running(HERE) as url, Client(url) as client:
        yield client


def adults_only(key: str, value: JsonValue) -> JsonValue:
    if not isinstance(value, dict) or not isinstance(age := value.get("age"), int):
        raise RejectedError(f"{key} needs an age")
    if age < 18:
        raise RejectedError(f"{key} is too young")
    return {**value, "adult": True}


def nobody(key: str) -> None:
    raise RejectedError(f"{key} stays")


async def data_of(server: Server, pattern: str) -> list[JsonValue]:
    return [item.data for item in await server.get_list(pattern)]


# Clients -------------------------------------------------------------------------------------------------------------


async def test_a_write_filter_changes_or_refuses_what_clients_write_and_not_what_the_program_writes() -> None:
    server = made()
    server.filters.write("users/*", adults_only)
    async with served(server) as client:
        await client.set("users/ann", {"age": 41})
        assert (await client.get("users/ann")).data == {"age": 41, "adult": True}
        await client.push("users/*", {"age": 30})
        for refused in (client.set("users/bob", {"age": 4}), client.push("users/*", 1)):
            with pytest.raises(RefusedError, match="400"):
                await refused
        with pytest.raises(RefusedError, match="too young"):
            await client.patch("users/ann", {"age": 17})
        await client.patch("users/ann", {"age": 42})
        await server.set("users/cid", {"age": 4})
        assert await data_of(server, "users/*") == [{"age": 4}, {"age": 30, "adult": True}, {"age": 42, "adult": True}]
        await client.set("settings", 1)


async def test_a_patch_is_kept_as_the_filter_changes_it() -> None:
    server = made()
    server.filters.write("users/*", adults_only)
    async with served(server) as client:
        await server.set("users/ann", {"age": 41})
        await client.patch("users/ann", {"name": "Ann"})
        assert (await client.get("users/ann")).data == {"age": 41, "name": "Ann", "adult": True}


async def test_a_delete_filter_refuses_and_a_wider_glob_is_no_way_around_it() -> None:
    server = made()
    server.filters.delete("users/*", nobody)
    async with served(server) as client:
        await client.set("users/ann", 1)
        for pattern, why in (("users/ann", "stays"), ("users/*", "stays"), ("*/*", "guard"), ("*/ann", "guard")):
            with pytest.raises(RefusedError, match=why):
                await client.delete(pattern)
        assert await data_of(server, "users/*") == [1]


async def test_read_filters_change_what_is_shown_and_subscribers_see_the_same() -> None:
    server = made()

    def veiled(_: str, item: Item[JsonValue]) -> Item[JsonValue]:
        return Item(item.created, item.updated, item.index, item.path, "hidden")

    server.filters.read_object("settings", veiled)
    server.filters.read_list(
        "users/*",
        lambda _, items: [item for item in items if item.data != "secret" and item.data != "secret, and more"],
    )
    async with served(server) as client:
        await client.set("settings", 1)
        assert (await client.get("settings")).data == "hidden"
        await client.set("users/ann", "open")
        await client.set("users/bob", "secret")
        assert [item.data for item in await client.get_list("users/*")] == ["open"]
        with pytest.raises(RefusedError, match="guard"):
            await client.get_list("*/*")
        async with client.watch("users/*") as states, client.watch("settings") as single:
            assert '"open"' in json.dumps(first := await anext(states)), first
            await client.set("users/bob", "secret, and more")  # of which nobody is told
            await client.set("users/bob", "secret")
            await client.set("users/cid", "open, too")
            state = json.dumps(await anext(states))
            assert "secret" not in state
            assert state.index("open, too") < state.index('"open"')
            assert '"hidden"' in json.dumps(await anext(single))


async def test_an_open_filter_may_refuse_readers_writers_and_subscribers() -> None:
    server = made()
    server.filters.open("users/*", nobody)
    async with served(server) as client:
        for refused in (client.get_list("users/*"), client.set("users/ann", 1), client.delete("users/*")):
            with pytest.raises(RefusedError, match="stays"):
                await refused
        with pytest.raises(RefusedError, match="stays"):
            async with client.watch("users/*") as states:
                await anext(states)


async def test_in_static_mode_only_what_filters_open_is_served() -> None:
    server = made()
    server.filters.static = True
    server.filters.open("settings")
    server.filters.write("users/*", lambda _, value: value)
    async with served(server) as client:
        await client.set("settings", 1)
        assert (await client.get("settings")).data == 1
        await client.set("users/ann", 1)
        for refused in (
            client.get("users/ann"),
            client.delete("users/ann"),
            client.set("other", 1),
            client.get("other"),
        ):
            with pytest.raises(RefusedError, match="not served"):
                await refused
        await server.set("other", 1)


async def test_after_write_filters_hear_of_writes_by_whomever() -> None:
    server, heard = made(), list[str]()
    server.filters.after_write("users/*", heard.append)
    async with served(server) as client:
        await client.set("users/ann", 1)
        await client.set("settings", 1)
        await server.set("users/bob", 1)

        async def all_heard() -> bool:
            return heard == ["users/ann", "users/bob"]

        await until(all_heard)


async def test_filters_are_listed() -> None:
    server = made()
    server.filters.write("users/*", adults_only)
    server.filters.limit("logs/*", count=1)
    async with server.running(HERE) as url, HttpClient() as http:
        said = json.loads((await http.request("GET", f"{url}/?api=filters")).body)
    assert said == {
        "paths": ["users/*", "logs/*"],
        "filters": [{"path": "users/*", "kind": "write"}, {"path": "logs/*", "kind": "limit"}],
        "static": False,
    }


# Limits --------------------------------------------------------------------------------------------------------------


async def test_a_list_is_kept_at_its_newest_entries_and_the_rest_is_deleted_by_its_leader() -> None:
    leader, most = made(), [3]
    leader.filters.limit("logs/*", count=lambda: most[0], every_s=0.1)
    async with served(leader) as client, served(made(client.url)) as at_node:
        for number in range(5):
            await client.set(f"logs/{number}", number)
        assert [item.data for item in await client.get_list("logs/*")] == [4, 3, 2]

        async def node_has(expected: list[int]) -> bool:
            return [item.data for item in await at_node.get_list("logs/*")] == expected

        await until(lambda: node_has([4, 3, 2]))
        assert await data_of(leader, "logs/*") == [4, 3, 2]
        most[0] = 1
        await until(lambda: node_has([4]))


async def test_a_limit_that_fails_ends_nothing_and_holds_again_when_it_does_not() -> None:
    server = made()
    asked: list[str] = []

    def most() -> int:
        asked.append("how many")
        if len(asked) <= 2:
            raise ZeroDivisionError
        return 1

    server.filters.limit("logs/*", count=most, every_s=0.05)
    async with served(server):
        for number in range(3):
            await server.set(f"logs/{number}", number)

        async def shortened() -> bool:
            return await data_of(server, "logs/*") == [2]

        await until(shortened)
        assert len(asked) > 2


async def test_a_node_shows_no_more_than_the_limit_and_deletes_nothing() -> None:
    leader = made()
    async with served(leader) as client:
        node = made(client.url)
        node.filters.limit("logs/*", count=1, order="oldest", every_s=0.05)
        async with served(node) as at_node:
            for number in range(3):
                await client.set(f"logs/{number}", number)

            async def arrived() -> bool:
                return await data_of(node, "logs/*") == [2, 1, 0]

            await until(arrived)
            assert [item.data for item in await at_node.get_list("logs/*")] == [2]
            assert await data_of(leader, "logs/*") == [2, 1, 0]


async def test_entries_go_when_they_are_too_old_and_are_shown_in_the_order_that_is_wanted() -> None:
    now = [10**18]
    server = Server(wall=lambda: now[0])
    setup(server, Config(keys=KEYS))
    server.filters.limit("logs/*", count=2, age_s=10.0, order="oldest", every_s=0.05)
    async with served(server) as client:
        for number in range(3):
            await server.set(f"logs/{number}", number)
            now[0] += 4 * 10**9
        assert [item.data for item in await client.get_list("logs/*")] == [1, 2]
        now[0] += 4 * 10**9
        assert [item.data for item in await client.get_list("logs/*")] == [2]

        async def gone() -> bool:
            return await data_of(server, "logs/*") == [2]

        await until(gone)


@pytest.mark.parametrize(
    ("path", "limit"), [("logs", {"count": 1}), ("logs/*", {}), ("logs/*", {"count": -1}), ("logs/*", {"age_s": 0})]
)
def test_a_limit_that_cannot_be_is_an_error_that_names_the_list(path: str, limit: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="logs"):
        made().filters.limit(path, count=limit.get("count"), age_s=limit.get("age_s"))


# What nodes push -----------------------------------------------------------------------------------------------------


async def test_a_row_that_the_leaders_filter_refuses_is_withdrawn_at_the_node_and_reported() -> None:
    leader, notices = made(), list[Notice]()
    leader.filters.write("users/*", adults_only)
    leader.filters.delete("users/*", nobody)
    async with served(leader) as client:
        await client.set("users/ann", {"age": 41})
        node = made(client.url)
        node.notices.append(notices.append)
        async with served(node) as at_node:
            kept: JsonValue = {"age": 41, "adult": True}

            async def node_has(expected: list[JsonValue]) -> bool:
                return await data_of(node, "users/*") == expected

            await until(lambda: node_has([kept]))
            await at_node.set("users/bob", {"age": 4})  # nothing there at the leader: it goes
            await at_node.set("users/ann", {"age": 5})  # something there: it comes back
            await until(lambda: node_has([kept]))
            await at_node.delete("users/ann")
            await until(lambda: node_has([kept]))
            await at_node.set("users/cid", {"age": 50})  # wanted, and kept as it is
            await until(lambda: node_has([{"age": 50}, kept]))

            async def all_confirmed() -> bool:
                return all(info.outbox == 0 for info in (await get_instance(node).status()).collections)

            await until(all_confirmed)
            assert await data_of(leader, "users/*") == [{"age": 50}, kept]
    refused = [(notice.key, notice.reason) for notice in notices if isinstance(notice, Rejected)]
    assert sorted(set(refused)) == [
        ("users/ann", "users/ann is too young"),
        ("users/ann", "users/ann stays"),
        ("users/bob", "users/bob is too young"),
    ]


async def test_a_filter_that_fails_leaves_a_row_with_the_node_and_takes_the_others() -> None:
    leader, works = made(), list[bool]()

    def fragile(_: str, value: JsonValue) -> JsonValue:
        if value == "odd" and not works:
            raise ZeroDivisionError
        return value

    leader.filters.write("users/*", fragile)
    async with served(leader) as client, served(node := made(client.url)) as at_node:
        await at_node.set("users/ann", "odd")
        await at_node.set("users/bob", "even", ack="leader", ack_timeout_s=20)
        assert await data_of(leader, "users/*") == ["even"]
        assert await data_of(node, "users/*") == ["even", "odd"]
