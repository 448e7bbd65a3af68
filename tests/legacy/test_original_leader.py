"""Our node and a leader of the original, over real HTTP: what its own nodes lose with it, ours does not."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from pivot import Server, Storage, setup
from pivot.client import Client
from pivot.config import Config, Key, Knobs
from pivot.transport.http_client import HttpClient
from simulator.live.proxy import Proxy
from tests.e2e.servers import running, until
from tests.legacy.original import Original

KEYS: Final = ("settings", "users/*")
QUICK: Final = Knobs(
    heartbeat_s=0.1, retry_s_min=0.05, retry_s_max=0.2, greet_s=5.0, push_timeout_s=5.0, ack_repeat_s=0.2, reoffer_s=2.0
)


def following(leader: str) -> Config:
    return Config(keys=tuple(map(Key, KEYS)), cluster_url=leader, knobs=QUICK)


@asynccontextmanager
async def linked(leader: Original) -> AsyncGenerator[tuple[Client, Proxy]]:
    """A node of ours that follows a leader of the original over a link that can be cut."""
    async with leader.running() as url, trio.open_nursery() as nursery:
        link = Proxy(lambda: url.removeprefix("http://"))
        await nursery.start(link.run)
        async with running(following(link.address)) as node, Client(node) as client:
            yield client, link
        nursery.cancel_scope.cancel()


async def table(client: Client) -> dict[str, object]:
    return {key: (await client.get(key)).data async for key in client.keys("")}


async def agree(leader: Original, client: Client, expected: dict[str, object]) -> None:
    async def do() -> bool:
        return leader.values() == expected == await table(client)

    await until(do)


async def status(client: Client) -> dict[str, Any]:
    return await client.status()


async def test_everything_a_leader_has_comes_and_what_is_created_updated_and_deleted_on_each_side_goes_over() -> None:
    leader = Original(KEYS)
    async with linked(leader) as (client, _):
        await leader.set("settings", {"b": 1, "a": [1.5, None]})
        await leader.set("users/ann", 1)
        await client.set("users/bob", 2)
        await agree(leader, client, {"settings": {"a": [1.5, None], "b": 1}, "users/ann": 1, "users/bob": 2})
        await leader.set("users/bob", 3)
        await client.set("users/ann", 4)
        await client.set("settings", "new")
        await agree(leader, client, {"settings": "new", "users/ann": 4, "users/bob": 3})
        await leader.delete("users/ann")
        await client.delete("users/bob")
        await client.delete("settings")
        await agree(leader, client, {})
        assert not [call for call in leader.calls if "_pivot/stream" in call or "_pivot/envelopes" in call]


async def test_what_both_sides_wrote_while_the_link_was_cut_is_on_both_whoever_wrote_last() -> None:
    leader = Original(KEYS)
    async with linked(leader) as (client, link):
        await leader.set("users/old", 1)
        await leader.set("users/gone", 1)
        await leader.set("users/both", 1)
        await agree(leader, client, {"users/both": 1, "users/gone": 1, "users/old": 1})
        link.cut()
        await client.set("users/node", 2)
        await client.set("users/both", "node")
        await client.delete("users/gone")
        await client.set("settings", "node")
        await leader.set("users/leader", 3)
        await leader.set("users/both", "leader")
        link.heal()
        expected: dict[str, object] = {"settings": "node", "users/both": "leader", "users/leader": 3}
        await agree(leader, client, {**expected, "users/node": 2, "users/old": 1})


async def test_a_later_deletion_there_wins_over_a_write_here_and_a_later_write_here_over_a_deletion_there() -> None:
    leader = Original(KEYS)
    async with linked(leader) as (client, link):
        await leader.set("settings", 1)
        await leader.set("users/ann", 1)
        await agree(leader, client, {"settings": 1, "users/ann": 1})
        link.cut()
        await client.set("settings", 2)
        await leader.delete("settings")
        await leader.delete("users/ann")
        await client.set("users/ann", 2)
        link.heal()
        await agree(leader, client, {"users/ann": 2})


async def test_a_leader_that_has_lost_everything_is_filled_again_from_its_node() -> None:
    leader = Original(KEYS)
    async with linked(leader) as (client, link):
        for name in ("ann", "bob", "eve"):
            await leader.set(f"users/{name}", name)
        await client.set("settings", 1)
        everything: dict[str, object] = {"settings": 1, **{f"users/{name}": name for name in ("ann", "bob", "eve")}}
        await agree(leader, client, everything)
        link.cut()
        leader.table.clear()
        leader.tombstones.clear()
        link.heal()
        await agree(leader, client, everything)


async def test_an_older_version_that_reached_the_leader_last_is_replaced_again() -> None:
    leader = Original(KEYS)
    async with linked(leader) as (client, _), HttpClient() as http:
        await leader.set("users/ann", "first")
        late = json.dumps(leader.table["users/ann"]).encode()
        await client.set("users/ann", "second")
        await agree(leader, client, {"users/ann": "second"})
        assert (await http.request("POST", f"{leader.url}/_pivot/pivot/users/ann", content=late)).status == 200
        await leader.set("users/bob", 1)
        await agree(leader, client, {"users/ann": "second", "users/bob": 1})


async def test_a_read_that_fails_deletes_nothing() -> None:
    leader = Original(KEYS)
    failing = False

    @leader.app.before_request
    async def fail() -> tuple[str, int] | None:
        return ("storage: closed", 500) if failing else None

    async with linked(leader) as (client, _):
        await leader.set("settings", 1)
        await leader.set("users/ann", 1)
        await agree(leader, client, {"settings": 1, "users/ann": 1})
        failing = True
        await until(lambda: _is(client, pivotHealthy=False))
        assert await table(client) == {"settings": 1, "users/ann": 1}
        failing = False
        await until(lambda: _is(client, pivotHealthy=True))
        assert await table(client) == {"settings": 1, "users/ann": 1}


async def test_what_was_deleted_there_while_the_node_was_down_is_deleted_and_what_it_had_not_sent_is_sent(
    tmp_path: Path,
) -> None:
    leader = Original(KEYS)
    async with leader.running() as url:
        async with kept(tmp_path, url) as client:
            await leader.set("users/ann", 1)
            await leader.set("users/bob", 2)
            await agree(leader, client, {"users/ann": 1, "users/bob": 2})
        async with kept(tmp_path, "http://127.0.0.1:1") as client:
            await client.set("users/eve", 3)
        await leader.delete("users/ann")
        async with kept(tmp_path, url) as client:
            await agree(leader, client, {"users/bob": 2, "users/eve": 3})


async def test_status_shows_how_such_a_leader_is_followed_and_what_is_weaker() -> None:
    leader = Original(KEYS)
    async with linked(leader) as (client, link):
        await until(lambda: _is(client, pivotHealthy=True))
        said = await status(client)
        assert (said["pivotProtocol"], said["pivotCompatible"]) == ("2.0", True)
        assert list(said["weaker"]) == [link.address]
        assert any("older" in text for text in said["weaker"][link.address])


async def test_a_node_that_may_not_speak_so_leaves_such_a_leader_alone() -> None:
    leader = Original(KEYS)
    async with leader.running() as url:
        only_ours = Config(keys=tuple(map(Key, KEYS)), cluster_url=url, protocols=("native",), knobs=QUICK)
        async with running(only_ours) as node, Client(node) as client:
            await client.set("users/ann", 1)
            await until(lambda: _is(client, pivotProtocol="2.0", pivotCompatible=False, pivotHealthy=False))
            assert set(leader.calls) == {"GET /_pivot/version"}


async def test_two_nodes_of_ours_share_everything_through_such_a_leader() -> None:
    leader = Original(KEYS)
    async with linked(leader) as (one, link), running(following(leader.url)) as url, Client(url) as other:
        link.cut()
        await one.set("users/one", 1)
        await other.set("users/other", 2)
        await agree(leader, other, {"users/other": 2})
        link.heal()
        await agree(leader, other, {"users/one": 1, "users/other": 2})
        await agree(leader, one, {"users/one": 1, "users/other": 2})


@asynccontextmanager
async def kept(folder: Path, leader: str) -> AsyncGenerator[Client]:
    """A node of ours on disk."""
    server = Server(Storage.sqlite(folder))
    setup(server, following(leader))
    async with server.running("127.0.0.1:0") as url, Client(url) as client:
        yield client


async def _is(client: Client, **wanted: object) -> bool:
    return wanted.items() <= (await status(client)).items()
