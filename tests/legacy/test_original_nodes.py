"""Our leader and nodes of the original, over real HTTP: what they lose with their own leader, they do not with ours."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from pivot.client import Client
from pivot.config import Config, Key, Knobs
from pivot.transport.http_client import HttpClient
from simulator.live.proxy import Proxy
from tests.e2e.servers import running, until
from tests.legacy.original import Original

KEYS: Final = ("settings", "users/*")
QUICK: Final = Knobs(heartbeat_s=0.1, retry_s_min=0.05, retry_s_max=0.2, ack_repeat_s=0.2, collect_s=0.2)
LEADING: Final = Config(keys=tuple(map(Key, KEYS)), nodes_key="things/*", node_check_s=0.2, knobs=QUICK)


class Linked:
    """A node of the original, and the two links between it and our leader.

    Attributes:
        node: what it is.
        up: on which it reaches our leader.
        down: on which our leader reaches it.
    """

    def __init__(self, leader: str) -> None:
        self.up = Proxy(lambda: leader.removeprefix("http://"))
        self.down = Proxy(lambda: self.node.url.removeprefix("http://"))
        self.node: Original

    def cut(self) -> None:
        self.up.cut()
        self.down.cut()

    def heal(self) -> None:
        self.up.heal()
        self.down.heal()


@asynccontextmanager
async def linked(leader: str, name: str = "node") -> AsyncGenerator[Linked]:
    """A registered node of the original."""
    async with trio.open_nursery() as nursery:
        links = Linked(leader)
        await nursery.start(links.up.run)
        await nursery.start(links.down.run)
        links.node = Original(KEYS, nodes_key="things/*", leader=links.up.address)
        async with links.node.running(), Client(leader) as client:
            ip, _, port = links.down.address.removeprefix("http://").rpartition(":")
            await client.set(f"things/{name}", {"ip": ip, "port": int(port)})
            yield links
        nursery.cancel_scope.cancel()


async def table(client: Client) -> dict[str, object]:
    return {key: (await client.get(key)).data async for key in client.keys("") if not key.startswith("things/")}


async def agree(client: Client, expected: dict[str, object], *nodes: Original) -> None:
    async def do() -> bool:
        tables = [{**node.values("settings"), **node.values("users/")} for node in nodes]
        return await table(client) == expected and all(table == expected for table in tables)

    await until(do)


async def shown(url: str) -> list[dict[str, Any]]:
    async with HttpClient(connect_s=5) as http:
        shown: list[dict[str, Any]] = json.loads((await http.request("GET", url + "/_pivot/health/nodes")).body)
    return shown


async def are(url: str, *, healthy: bool) -> bool:
    nodes = await shown(url)
    return bool(nodes) and all(node["healthy"] is healthy and node["lastCheck"] for node in nodes)


async def test_what_is_created_updated_and_deleted_on_each_side_goes_over() -> None:
    async with running(LEADING) as leader, Client(leader) as client, linked(leader) as at:
        await client.set("settings", {"b": 1, "a": None})
        await client.set("users/ann", 1)
        await agree(client, {"settings": {"a": None, "b": 1}, "users/ann": 1}, at.node)
        await at.node.set("users/bob", 2)
        await agree(client, {"settings": {"a": None, "b": 1}, "users/ann": 1, "users/bob": 2}, at.node)
        await at.node.set("users/ann", 3)
        await client.set("users/bob", 4)
        await agree(client, {"settings": {"a": None, "b": 1}, "users/ann": 3, "users/bob": 4}, at.node)
        await client.delete("users/ann")
        await at.node.delete("users/bob")
        await at.node.delete("settings")
        await agree(client, {}, at.node)


async def test_what_a_node_wrote_while_it_was_away_is_taken_before_it_is_called_to_read() -> None:
    async with running(LEADING) as leader, Client(leader) as client, linked(leader) as at:
        await client.set("users/old", 1)
        await agree(client, {"users/old": 1}, at.node)
        at.cut()
        await until(lambda: are(leader, healthy=False))
        for number in range(5):
            await at.node.set(f"users/away{number}", number)
        await at.node.set("settings", "away")
        await client.set("users/later", 2)
        at.heal()
        everything: dict[str, object] = {"settings": "away", "users/later": 2, "users/old": 1}
        await agree(client, {**everything, **{f"users/away{number}": number for number in range(5)}}, at.node)


async def test_two_nodes_that_were_both_away_and_both_wrote_lose_nothing() -> None:
    async with (
        running(LEADING) as leader,
        Client(leader) as client,
        linked(leader, "one") as one,
        linked(leader, "other") as other,
    ):
        await client.set("users/old", 1)
        await agree(client, {"users/old": 1}, one.node, other.node)
        one.cut()
        other.cut()
        await until(lambda: are(leader, healthy=False))
        await one.node.set("users/one", 1)
        await other.node.set("users/other", 2)
        one.heal()
        await agree(client, {"users/old": 1, "users/one": 1}, one.node)
        other.heal()
        await agree(client, {"users/old": 1, "users/one": 1, "users/other": 2}, one.node, other.node)


async def test_a_write_that_did_not_reach_us_is_found_though_the_node_was_never_away() -> None:
    async with running(LEADING) as leader, Client(leader) as client, linked(leader) as at:
        await client.set("users/old", 1)
        await agree(client, {"users/old": 1}, at.node)
        at.node.deaf = True
        await at.node.set("users/kept", 2)
        await agree(client, {"users/kept": 2, "users/old": 1}, at.node)


async def test_what_was_deleted_while_a_node_was_away_stays_deleted_though_others_have_seen_it() -> None:
    async with (
        running(LEADING) as leader,
        running(Config(keys=LEADING.keys, nodes_key="things/*", cluster_url=leader, knobs=QUICK)) as url,
        Client(leader) as client,
        Client(url) as ours,
        linked(leader) as at,
        HttpClient(connect_s=5) as http,
    ):
        await client.set("users/gone", 1)
        await client.set("users/old", 1)
        await agree(client, {"users/gone": 1, "users/old": 1}, at.node)
        at.cut()
        await until(lambda: are(leader, healthy=False))
        assert (await http.request("POST", leader + "/_pivot/followers/complete")).status == 204
        await client.delete("users/gone")
        await client.set("settings", 1)

        async def is_gone() -> bool:
            return await table(ours) == {"settings": 1, "users/old": 1}

        await until(is_gone)
        await trio.sleep(3 * QUICK.collect_s)  # time in which the tombstone would be collected
        await at.node.set("users/away", 2)
        at.heal()
        await agree(client, {"settings": 1, "users/away": 2, "users/old": 1}, at.node)


async def test_a_node_is_not_called_for_what_it_has_written_itself() -> None:
    async with (
        running(LEADING) as leader,
        Client(leader) as client,
        linked(leader) as at,
        HttpClient(connect_s=5) as http,
    ):
        call = "GET /_pivot/synchronize/pivot users/*"
        await until(lambda: are(leader, healthy=True))
        await client.set("users/old", 1)

        async def is_called() -> bool:
            return at.node.calls.count(call) > 1 and at.node.calls[-1] == "GET /_pivot/pivot/users/*"

        await until(is_called)
        called = at.node.calls.count(call)
        headers = {"X-Pivot-Originator": at.down.address.removeprefix("http://")}
        for number in range(3):
            wrote = b'{"created":%d,"updated":0,"index":"n","data":1}' % (10**18 + number)
            await http.request("POST", leader + "/_pivot/pivot/users/n", content=wrote, headers=headers)
        await client.set("settings", 1)

        async def has_it() -> bool:
            return at.node.values("settings") == {"settings": 1}

        await until(has_it)
        assert at.node.calls.count(call) == called


async def test_such_a_node_is_shown_with_what_is_weaker_and_left_when_it_is_not_registered_any_more() -> None:
    async with running(LEADING) as leader, Client(leader) as client, linked(leader) as at:
        await until(lambda: are(leader, healthy=True))
        node = (await shown(leader))[0]
        assert (node["protocol"], node["compatible"], node["native"]) == ("2.0", True, False)
        assert any("deleted while it was away" in text for text in node["weaker"])
        await client.delete("things/node")

        async def is_left() -> bool:
            status = await client.status()
            peers = status["peers"]
            assert isinstance(peers, list)
            return not status["nodes"] and not any(isinstance(peer, dict) and peer["healthy"] for peer in peers)

        await until(is_left)
        calls = len(at.node.calls)
        await client.set("settings", 1)
        await trio.sleep(0.3)
        assert len(at.node.calls) == calls
