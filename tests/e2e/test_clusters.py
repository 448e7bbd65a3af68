"""Members of two clusters that meet: refused by default; wiped or merged when that is configured."""

from dataclasses import dataclass

import msgspec
import pytest
import trio

from pivot.client import Client
from pivot.config import Config, ForeignCluster, Key, Knobs
from pivot.transport.http_client import HttpClient
from simulator.live.proxy import Proxy
from tests.e2e.servers import running, until

KEYS = (Key("settings"), Key("users/*"))
QUICK = Knobs(heartbeat_s=0.1, retry_s_min=0.05, retry_s_max=0.2, greet_s=1.0, push_timeout_s=0.5, ack_repeat_s=0.2)


@dataclass
class Met:
    leader: dict[str, object]
    node: dict[str, object]


async def table(url: str) -> dict[str, object]:
    async with Client(url) as client:
        return {key: (await client.get(key)).data async for key in client.keys("")}


async def last_error(url: str) -> str:
    async with HttpClient() as http:
        said = await http.request("GET", url + "/_pivot/status")
    error: str = msgspec.json.decode(said.body)["last_error"]
    return error


async def meet(policy: ForeignCluster, expected: Met) -> None:
    """A leader of cluster `b` with one entry, a node of cluster `a` with another, and the end that is expected."""
    leading = Config(keys=KEYS, cluster_id="b", knobs=QUICK)
    async with running(leading) as leader, Client(leader) as at_leader, trio.open_nursery() as nursery:
        link = Proxy(lambda: leader.removeprefix("http://"))
        await nursery.start(link.run)
        link.cut()
        following = Config(keys=KEYS, cluster_id="a", cluster_url=link.address, foreign_cluster=policy, knobs=QUICK)
        async with running(following) as node, Client(node) as at_node:
            await at_leader.set("users/theirs", 1)
            await at_node.set("users/ours", 2)
            link.heal()
            if policy == "refuse":
                await until(lambda: _says(node, "cluster id 'a' is not ours, 'b'"))
            await until(lambda: _are(leader, node, expected))
            if policy == "wipe":  # once: what is written from now on is not foreign any more
                link.cut()
                await at_node.set("users/later", 3)
                link.heal()
                both: dict[str, object] = {"users/theirs": 1, "users/later": 3}
                await until(lambda: _are(leader, node, Met(both, both)))
        nursery.cancel_scope.cancel()


async def _says(node: str, reason: str) -> bool:
    return reason in await last_error(node)


async def _are(leader: str, node: str, expected: Met) -> bool:
    return (await table(leader), await table(node)) == (expected.leader, expected.node)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("refuse", Met({"users/theirs": 1}, {"users/ours": 2})),
        ("wipe", Met({"users/theirs": 1}, {"users/theirs": 1})),
        ("merge", Met({"users/theirs": 1, "users/ours": 2}, {"users/theirs": 1, "users/ours": 2})),
    ],
)
async def test_a_node_of_another_cluster_is(policy: ForeignCluster, expected: Met) -> None:
    await meet(policy, expected)
