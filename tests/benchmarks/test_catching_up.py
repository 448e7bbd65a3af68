"""How long a node needs to bring what it wrote while cut off, over real sockets."""

import sys

import pytest
import trio

from pivot import Config, Key, Knobs, Server, setup
from simulator.live.proxy import Proxy

WRITES = 10_000
WITHIN_S = 3.0
QUICK = Knobs(retry_s_min=0.1, retry_s_max=0.1)


def server(cluster_url: str = "") -> Server:
    made = Server()
    setup(made, Config(keys=(Key("users/*"),), cluster_url=cluster_url, knobs=QUICK))
    return made


@pytest.mark.long
async def test_ten_thousand_writes_of_a_cut_off_node_reach_its_leader_within_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    leader = server()
    async with leader.running("127.0.0.1:0") as url, trio.open_nursery() as nursery:
        link = Proxy(lambda: url.removeprefix("http://"))
        await nursery.start(link.run)
        link.cut()
        node = server(link.address)
        async with node.running("127.0.0.1:0"):
            async with trio.open_nursery() as writers:
                for _ in range(100):
                    writers.start_soon(write, node, WRITES // 100)
            member = node.live.stores.own
            assert member.outbox_size() == WRITES
            link.heal()
            begin_s = trio.current_time()
            while member.outbox_size():  # noqa: ASYNC110 - what is measured
                await trio.sleep(0.01)
            took_s = trio.current_time() - begin_s
            assert len(leader.live.stores.own.table()) == WRITES
        nursery.cancel_scope.cancel()
    with capsys.disabled():
        sys.stdout.write(f"\n{WRITES} writes converged {took_s:.2f} s after the link was back\n")
    assert took_s < WITHIN_S


async def write(node: Server, count: int) -> None:
    for number in range(count):
        await node.push("users/*", number)
