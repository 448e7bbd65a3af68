"""How long a node needs to bring what it wrote while cut off, over real sockets."""

import sys

import pytest
import trio

from pivot.actors.entropy import SystemEntropy
from pivot.actors.ref import Ref
from pivot.actors.wallclock import system_clock
from pivot.config import Config, Key, Knobs
from pivot.core.questions import PushItem
from pivot.engine.memory import MemoryEngine
from pivot.server.server import Server
from pivot.types import Epoch, StoreId
from simulator.live.proxy import Proxy

WRITES = 10_000
WITHIN_S = 3.0
QUICK = Knobs(retry_s_min=0.1, retry_s_max=0.1)


def server(cluster_url: str = "") -> Server:
    entropy = SystemEntropy()
    engine = MemoryEngine(store=StoreId(entropy.new_id()), epoch=Epoch(entropy.new_id()))
    config = Config(keys=(Key("users/*"),), cluster_url=cluster_url, knobs=QUICK)
    return Server(config, engine=engine, wall=system_clock, entropy=entropy)


@pytest.mark.long
async def test_ten_thousand_writes_of_a_cut_off_node_reach_its_leader_within_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with trio.open_nursery() as nursery:

        async def serve(server: Server, *, task_status: trio.TaskStatus[str]) -> None:
            await server.run("127.0.0.1:0", shutdown=trio.sleep_forever, task_status=task_status)

        leader = server()
        url: str = await nursery.start(serve, leader)
        link = Proxy(lambda: url.removeprefix("http://"))
        await nursery.start(link.run)
        link.cut()
        node = server(link.address)
        await nursery.start(serve, node)
        async with trio.open_nursery() as writers:
            for _ in range(100):
                writers.start_soon(write, node, WRITES // 100)
        assert node.member.outbox_size() == WRITES
        link.heal()
        begin_s = trio.current_time()
        while node.member.outbox_size():  # noqa: ASYNC110 - what is measured
            await trio.sleep(0.01)
        took_s = trio.current_time() - begin_s
        assert len(leader.member.table()) == WRITES
        nursery.cancel_scope.cancel()
    with capsys.disabled():
        sys.stdout.write(f"\n{WRITES} writes converged {took_s:.2f} s after the link was back\n")
    assert took_s < WITHIN_S


async def write(node: Server, count: int) -> None:
    for number in range(count):
        await Ref(node.member).ask(PushItem("users/*", str(number)), deadline_s=30.0)
