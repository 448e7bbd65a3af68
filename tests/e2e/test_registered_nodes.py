"""A leader and the nodes that are registered with it: which answer, which may be spoken to, and who is back at once."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from pivot.client import Client
from pivot.config import Config, Key, Knobs
from pivot.transport.http_client import HttpClient
from tests.e2e.servers import running, until
from tests.e2e.test_foreign_servers import answer, saying

KEYS: Final = (Key("settings"),)
QUICK: Final = Knobs(heartbeat_s=0.05, retry_s_min=0.05, retry_s_max=0.1, greet_s=1.0, ack_repeat_s=0.1)
SLOW: Final = Knobs(heartbeat_s=0.05, retry_s_min=60.0, retry_s_max=600.0, greet_s=1.0, ack_repeat_s=0.1)


def leading(check_s: float = 0.05) -> Config:
    return Config(keys=KEYS, nodes_key="things/*", node_check_s=check_s, knobs=QUICK)


def following(leader: str, knobs: Knobs = QUICK) -> Config:
    return Config(keys=KEYS, nodes_key="things/*", cluster_url=leader, knobs=knobs)


async def health(url: str) -> dict[str, Any]:
    async with HttpClient() as http:
        said = await http.request("GET", url + "/_pivot/health/nodes", timeout_s=9)
    return {each["address"]: each for each in json.loads(said.body)}


async def register(leader: str, name: str, address: str, **spelling: str) -> None:
    ip, _, port = address.removeprefix("http://").rpartition(":")
    async with Client(leader) as client:
        await client.set(f"things/{name}", {spelling.get("ip", "ip"): ip, spelling.get("port", "port"): port})


async def shows(leader: str, address: str, **wanted: object) -> bool:
    """Whether a leader says this of a node."""
    status = (await health(leader)).get(address.removeprefix("http://"))
    return status is not None and wanted.items() <= status.items()


async def test_a_node_is_shown_in_every_spelling_of_its_entry_and_plain_data_is_none() -> None:
    async with running(leading()) as leader:
        await register(leader, "a", "127.0.0.1:1")
        await register(leader, "b", "127.0.0.1:2", ip="IP", port="Port")
        await register(leader, "c", "127.0.0.1:0")
        await register(leader, "d", "8.8.8.8:80")
        await until(partial(shows, leader, "127.0.0.1:2", healthy=False, protocol="unknown", compatible=False))
        assert list(await health(leader)) == ["127.0.0.1:1", "127.0.0.1:2"]
        assert (await health(leader))["127.0.0.1:1"]["lastCheck"].startswith("20")
        async with Client(leader) as client:
            await client.delete("things/b")

        async def one_is_left() -> bool:
            return list(await health(leader)) == ["127.0.0.1:1"]

        await until(one_is_left)


async def test_a_node_that_follows_is_healthy_and_one_that_stopped_is_not() -> None:
    async with running(leading(check_s=0.05)) as leader:
        async with running(following(leader)) as node:
            await register(leader, "n", node)
            await until(partial(shows, leader, node, healthy=True, protocol="2.0", compatible=True, native=True))
            assert await health(node) == {}
        await until(partial(shows, leader, node, healthy=False))
        async with running(following(leader), node.removeprefix("http://")):
            await until(partial(shows, leader, node, healthy=True, reason=""))


async def test_a_node_that_is_back_is_healthy_at_once_though_the_next_check_is_far_away() -> None:
    async with running(leading(check_s=3600)) as leader:
        async with running(following(leader)) as node:
            await register(leader, "n", node)
            await until(partial(shows, leader, node, healthy=True))
        await until(partial(shows, leader, node, healthy=False))
        async with running(following(leader), node.removeprefix("http://")):
            await until(partial(shows, leader, node, healthy=True))


async def test_a_registered_node_that_waits_to_try_again_comes_when_its_leader_calls_it() -> None:
    async with _free_address() as address:
        leader = f"http://{address}"
        async with running(following(leader, SLOW)) as node, Client(node) as at_node:
            await at_node.set("settings", 1)
            await until(partial(_is_down, node))
            async with running(leading(), address), Client(leader) as at_leader:
                await register(leader, "n", node)

                async def has_it() -> bool:
                    return [key async for key in at_leader.keys("settings")] == ["settings"]

                await until(has_it)


async def test_a_node_that_speaks_otherwise_is_left_alone_and_shown() -> None:
    spoken = answer(b'{"protocol":"3.7","package":"another"}')
    async with saying(spoken) as address, running(leading()) as leader:
        await register(leader, "n", address)
        wanted = partial(shows, leader, address, healthy=True, protocol="3.7", compatible=False)
        await until(wanted)
        assert "3.7" in (await health(leader))[address]["reason"]


async def test_a_leader_that_speaks_otherwise_is_left_alone_and_shown() -> None:
    async with (
        saying(answer(b'{"protocol":"3.7","package":"another"}')) as address,
        running(following(f"http://{address}")) as node,
        HttpClient() as http,
        Client(node) as client,
    ):

        async def is_shown() -> bool:
            status = json.loads((await http.request("GET", node + "/_pivot/status", timeout_s=9)).body)
            said = (status["pivotProtocol"], status["pivotCompatible"], status["pivotHealthy"])
            return said == ("3.7", False, False) and "'3.7' of another is not spoken here" in status["last_error"]

        await until(is_shown)
        await client.set("settings", 1)
        assert (await client.get("settings")).data == 1


async def _is_down(node: str) -> bool:
    async with HttpClient() as http:
        ready = await http.request("GET", node + "/_pivot/ready", timeout_s=9)
    return json.loads(ready.body) == {"ready": True, "degraded": True}


@asynccontextmanager
async def _free_address() -> AsyncGenerator[str]:
    """An address at which nobody listens, and that nobody else gets."""
    with trio.socket.socket() as socket:
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        await socket.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*socket.getsockname())
