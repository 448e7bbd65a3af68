"""Servers in this process, on real sockets."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from pivot import Config, Server, setup

WAIT_S = 30.0


@asynccontextmanager
async def running(config: Config, listen: str = "127.0.0.1:0") -> AsyncGenerator[str, None]:
    """A server in memory; its URL."""
    server = Server()
    setup(server, config)
    async with server.running(listen) as url:
        yield url


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something in a server is so."""
    with trio.fail_after(WAIT_S):
        while not await condition():  # noqa: ASYNC110 - what changes is behind HTTP
            await trio.sleep(0.02)
