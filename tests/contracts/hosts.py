"""A small application, a server that hosts it or another, and raw HTTP to speak to it."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from quart import Response, request, websocket
from quart_trio import QuartTrio

from pivot.transport.hosting import host

PATIENCE_S = 10.0
"""Guards only: long enough for the slowest machine, and less than any grace given below as "for ever"."""
FOR_EVER_S = 600.0


def make_app() -> QuartTrio:
    app = QuartTrio("test_hosting")

    @app.get("/")
    async def index() -> str:
        return "here"

    @app.post("/length")
    async def length() -> str:
        return str(len(await request.get_data(as_text=False)))

    @app.get("/endless")
    async def endless() -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65536

        response = Response(chunks())
        response.timeout = None
        return response

    @app.get("/never")
    async def never() -> str:
        await trio.sleep_forever()
        return "unreachable"

    @app.websocket("/echo")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())

    return app


class Hosted:
    """A server under test: where it is, how to stop it, and how to know that it has stopped."""

    def __init__(self) -> None:
        self.url = ""
        self.stop = trio.Event()
        self.stopped = trio.Event()

    async def connect(self) -> trio.SocketStream:
        name, _, port = self.url.removeprefix("http://").rpartition(":")
        return await trio.open_tcp_stream(name.strip("[]"), int(port))

    async def get(self, path: str) -> bytes:
        """The whole answer to a request on a connection of its own."""
        async with await self.connect() as stream:
            await stream.send_all(get(path, "Connection: close"))
            return await read_to_end(stream)


@asynccontextmanager
async def hosted(
    app: Callable[..., Awaitable[None]] | None = None,
    bind: str = "127.0.0.1:0",
    *,
    grace_s: float = FOR_EVER_S,
    keep_alive_s: float = FOR_EVER_S,
) -> AsyncGenerator[Hosted]:
    """A server that is stopped at the end of the block, or within it."""
    server = Hosted()

    async def run(*, task_status: trio.TaskStatus[str]) -> None:
        await host(
            app or make_app(),
            bind,
            shutdown=server.stop.wait,
            grace_s=grace_s,
            keep_alive_s=keep_alive_s,
            task_status=task_status,
        )
        server.stopped.set()

    async with trio.open_nursery() as nursery:
        server.url = await nursery.start(run)
        yield server
        server.stop.set()
        with trio.fail_after(PATIENCE_S):
            await server.stopped.wait()


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *headers, "", ""]).encode("latin1")


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    received = b""
    with trio.fail_after(PATIENCE_S):
        while end not in received:
            chunk = await stream.receive_some()
            assert chunk, f"connection ended after {received!r}"
            received += chunk
    return received


async def read_to_end(stream: trio.SocketStream) -> bytes:
    """All until the server closes; a reset, which follows what we sent unread, counts as closing."""
    received = b""
    with trio.fail_after(PATIENCE_S):
        try:
            while chunk := await stream.receive_some():
                received += chunk
        except trio.BrokenResourceError:
            pass
    return received
