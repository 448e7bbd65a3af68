"""Nodes on real sockets that read from each other while their leader is away."""

from typing import Any

import msgspec
import trio

from pivot.client import Client
from pivot.config import Config, Key, Knobs
from pivot.core.messages import PROTOCOL, Envelope, Glimpse, Peek, Subscribe
from pivot.errors import NotFoundError
from pivot.transport.codec import decode, encode
from pivot.transport.http_client import HttpClient, Response
from pivot.types import Address, Epoch, MemberId, StoreId
from simulator.live.proxy import Proxy
from tests.e2e.servers import running, until

KNOBS = Knobs(heartbeat_s=0.1, retry_s_min=0.1, retry_s_max=0.5, leader_timeout_s=0.2, greet_s=2.0)
KEYS = (Key("settings"), Key("users/*"))
LEADING = Config(keys=KEYS, nodes_key="things/*", knobs=KNOBS)


def following(leader: str, *, mesh: bool = True) -> Config:
    return Config(keys=KEYS, nodes_key="things/*", cluster_url=leader, mesh=mesh, knobs=KNOBS)


async def status(url: str) -> Any:
    async with HttpClient() as http:
        return msgspec.json.decode((await http.request("GET", url + "/_pivot/status")).body)


async def register(leader: str, **nodes: str) -> None:
    async with Client(leader) as client:
        for name, url in nodes.items():
            ip, port = url.removeprefix("http://").split(":")
            await client.set(f"things/{name}", {"ip": ip, "port": int(port)})


async def has(url: str, key: str, value: object) -> bool:
    async with Client(url) as client:
        try:
            return (await client.get(key)).data == value
        except NotFoundError:
            return False


async def peek(url: str, body: Peek | Subscribe) -> Response:
    envelope = Envelope(PROTOCOL, MemberId("curious"), Address(url), StoreId("s"), Epoch("e"), body)
    async with HttpClient() as http:
        headers = {"content-type": "application/x-ndjson"}
        return await http.request("POST", url + "/_pivot/peek", content=encode(envelope), headers=headers)


async def test_nodes_see_each_others_writes_while_their_leader_is_away_and_agree_when_it_is_back() -> None:
    async with running(LEADING) as leader, trio.open_nursery() as nursery:
        proxy = Proxy(lambda: leader.removeprefix("http://"))
        await nursery.start(proxy.run)
        await see_each_other(leader, proxy)
        nursery.cancel_scope.cancel()


async def see_each_other(leader: str, proxy: Proxy) -> None:
    config = following(proxy.address)
    async with running(config) as one, running(config) as other:
        await register(leader, one=one, other=other)
        async with Client(leader) as client:
            await client.set("settings", "old")
        await until(lambda: has(one, "things/other", {"ip": "127.0.0.1", "port": int(other.rsplit(":")[-1])}))
        await until(lambda: has(other, "settings", "old"))
        proxy.cut()
        async with Client(one) as client:
            await client.set("settings", "new")
            await client.set("users/ann", 1)
        await until(lambda: has(other, "users/ann", 1))
        assert await has(other, "settings", "new")
        assert (await status(other))["readingFrom"] == [one]
        proxy.heal()
        await until(lambda: has(leader, "users/ann", 1))

        async def quiet() -> bool:
            told = [await status(url) for url in (one, other)]
            waiting = sum(each["outbox"] for state in told for each in state["collections"])
            return not waiting and not any(state["readingFrom"] for state in told)

        await until(quiet)
        assert await has(leader, "settings", "new")


async def test_a_node_with_the_mesh_switched_off_shows_nothing_to_others() -> None:
    async with running(following("http://127.0.0.1:1", mesh=False)) as node:
        refused = await peek(node, Peek(1, "users/*", Epoch(""), 0, Epoch(""), 0, ""))
        assert refused.status == 503
        assert msgspec.json.decode(refused.body) == {"error": "this member has nothing to show now"}


async def test_a_peek_is_answered_with_what_is_here_and_anything_else_is_refused() -> None:
    async with running(following("http://127.0.0.1:1")) as node:
        async with Client(node) as client:
            await client.set("users/ann", 1)
        answer = await peek(node, Peek(5, "users/*", Epoch(""), 0, Epoch(""), 0, ""))
        glimpse = decode(answer.body.strip()).body
        assert isinstance(glimpse, Glimpse)
        assert (glimpse.ordinal, [entry.key for entry in glimpse.entries], glimpse.acks) == (5, ["users/ann"], (0,))
        refused = await peek(node, Subscribe("users/*", Epoch(""), 0))
        assert (refused.status, msgspec.json.decode(refused.body)) == (400, {"error": "a subscribe is no peek"})
