"""The HTTP client keeps its promises: nothing leaks, every failure has its name, nothing of the environment is used.

The first group guards against B4, pool slots that are lost when requests are cancelled; it fails with a client that has
a bounded pool and cancels what it calls.
"""

import math
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio
import trio.testing
from quart import Response, redirect, request
from quart_trio import QuartTrio

from pivot.errors import (
    DeadlineError,
    MisuseError,
    NotRunningError,
    RefusedError,
    ResponseTooLargeError,
    TransportError,
    UnreachableError,
)
from pivot.transport.http_client import HttpClient
from tests.contracts.hosts import PATIENCE_S, Hosted, hosted, make_app

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@asynccontextmanager
async def serving(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncGenerator[str]:
    """The URL of a server that does what it likes with its connections."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await handler(stream)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(trio.serve_tcp, partial(handle), 0, host="127.0.0.1")  # pyright: ignore
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
