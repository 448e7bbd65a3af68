"""Servers in this process, on real sockets."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from pivot.actors.entropy import SystemEntropy
from pivot.actors.wallclock import system_clock
from pivot.config import Config
from pivot.engine.memory import MemoryEngine
from pivot.server.server import Server
from pivot.types import Epoch, StoreId

WAIT_S = 30.0


@asynccontextmanager
async def running(config: Config, listen: str = "127.0.0.1:0") -> AsyncGenerator[str, None]:
    """A server in memory; its URL."""
    entropy = SystemEntropy()
    engine = MemoryEngine(store=StoreId(entropy.new_id()), epoch=Epoch(entropy.new_id()))
    server = Server(config, engine=engine, wall=system_clock, entropy=entropy)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[str]) -> None:
            await server.run(listen, shutdown=stop.wait, task_status=task_status)

        yield await nursery.start(run)
        stop.set()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something in a server is so."""
    with trio.fail_after(WAIT_S):
        while not await condition():  # noqa: ASYNC110 - what changes is behind HTTP
            await trio.sleep(0.02)
