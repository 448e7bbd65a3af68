"""What nodes that do not answer cost the writers of their leader: nothing.

pytest -m long -s -n 0 tests/benchmarks/test_unreachable_nodes.py
"""

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter, process_time
from typing import Final

import pytest
import trio

from pivot.config import Config, Key
from pivot.transport.http_client import HttpClient
from tests.benchmarks.yardstick import show
from tests.e2e.servers import running, until

NODES: Final = 50
WRITES: Final = 100
TURNS: Final = 5
TIMES_CPU_MAX: Final = 1.3
"""How many times as much work a write may be."""
TIMES_MAX: Final = 2.0
"""How many times as long it may take, on a machine with neighbours; one that waited for a node would take 500 ms."""


@asynccontextmanager
async def hung() -> AsyncGenerator[str]:
    """An address that lets everybody in and never says a word."""
    with trio.socket.socket() as socket:
        await socket.bind(("127.0.0.1", 0))
        socket.listen(1)
        yield f"127.0.0.1:{socket.getsockname()[1]}"


async def write(http: HttpClient, url: str) -> tuple[float, float]:
    """Mean seconds of one acknowledged write, of this process's work and by the clock."""
    begun_s, worked_s = perf_counter(), process_time()
    for number in range(WRITES):
        answer = await http.request("POST", f"{url}/users/{number % 10}", content=b"1", timeout_s=30)
        assert answer.status == 200
    return (process_time() - worked_s) / WRITES, (perf_counter() - begun_s) / WRITES


@pytest.mark.long
async def test_a_leader_with_fifty_unreachable_nodes_acknowledges_writes_as_fast_as_one_with_none() -> None:
    config = Config(keys=(Key("users/*"),), nodes_key="things/*")
    async with AsyncExitStack() as stack:
        alone, crowded = [await stack.enter_async_context(running(config)) for _ in range(2)]
        http = await stack.enter_async_context(HttpClient(connect_s=10))
        for number in range(NODES):
            address = f"127.0.0.1:{number + 1}" if number % 2 else await stack.enter_async_context(hung())
            ip, _, port = address.partition(":")
            entry = json.dumps({"ip": ip, "port": port}).encode()
            await http.request("POST", f"{crowded}/things/{number}", content=entry)

        async def all_are_unhealthy() -> bool:
            nodes = json.loads((await http.request("GET", crowded + "/_pivot/health/nodes")).body)
            return len(nodes) == NODES and all(node["lastCheck"] and not node["healthy"] for node in nodes)

        await until(all_are_unhealthy)
        turns: dict[str, list[tuple[float, float]]] = {alone: [], crowded: []}
        for _ in range(TURNS):
            for url, taken in turns.items():
                taken.append(await write(http, url))
    (work_s, fast_s), (more_s, slow_s) = (tuple(map(min, zip(*turns[url], strict=True))) for url in (alone, crowded))
    show(
        f"one acknowledged write, best of {TURNS} turns of {WRITES}",
        {
            "no node": f"{work_s * 1e3:.2f} ms of CPU, {fast_s * 1e3:.2f} ms",
            f"{NODES} unreachable nodes": f"{more_s * 1e3:.2f} ms of CPU, {slow_s * 1e3:.2f} ms",
            "ratio": f"{more_s / work_s:.2f} (at most {TIMES_CPU_MAX}), {slow_s / fast_s:.2f} (at most {TIMES_MAX})",
        },
    )
    assert more_s <= work_s * TIMES_CPU_MAX
    assert slow_s <= fast_s * TIMES_MAX
