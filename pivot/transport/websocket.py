"""WebSocket: opens one as a client, and closes it for sure; the one place that knows how trio-websocket fails.

Layer: transport. trio-websocket waits out its whole timeout when a server hangs up instead of answering, raises what
h11 raises when the answer is no HTTP, and leaves the connection open when it is refused. So the stream is ours here.
Start at `open_websocket`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast, final
from urllib.parse import urlsplit

import h11
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError

from pivot.errors import UnreachableError, root_reason

FRAME_BYTES_MAX: Final = 64 * 2**20
"""Longest message that is accepted."""
GOODBYE_S: Final = 1.0
"""How long the server may take to say goodbye; then the connection is closed without."""
_NO_WEBSOCKET: Final = (OSError, trio.TooSlowError, trio.BrokenResourceError, ProtocolError, h11.ProtocolError)


@asynccontextmanager
async def open_websocket(
    url: str, *, timeout_s: float, reader: Callable[[WebSocketConnection], Awaitable[None]] | None = None
) -> AsyncGenerator[WebSocketConnection]:
    """A connection that is open; it is closed on the way out, and never wraps an error in a group.

    Args:
        url: begins with `ws://` or `wss://`.
        timeout_s: longest that opening it may take, s.
        reader: runs beside the block with the connection, until the block ends.

    Raises:
        UnreachableError: nobody is there, or somebody who does not speak HTTP.
        ConnectionRejected: the answer is no.
    """
    handshake = _Handshake()
    deadline = trio.current_time() + timeout_s
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_at(deadline):
                stream = await _connect(url)
            # trio-websocket names two kinds of streams, and uses what all have.
            ours = cast("trio.SocketStream", _Stream(stream, handshake))
            try:
                parts = urlsplit(url)
                with trio.fail_at(deadline):
                    socket = await wrap_client_stream(
                        nursery,
                        ours,
                        parts.netloc,
                        (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                        max_message_size=FRAME_BYTES_MAX,
                    )
                handshake.done = True
                if reader is not None:
                    nursery.start_soon(reader, socket)
                yield socket
                with trio.move_on_after(GOODBYE_S):
                    await socket.aclose()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = group.exceptions[0] if len(group.exceptions) == 1 else group  # without our own nursery's wrapping
    else:
        return
    if isinstance(error, _NO_WEBSOCKET) and not handshake.done:
        why = f"no answer within {timeout_s:g} s" if isinstance(error, trio.TooSlowError) else root_reason(error)
        raise UnreachableError(f"{url} cannot be watched: {why}") from None
    raise error


async def _connect(url: str) -> trio.abc.Stream:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "wss":
        return await trio.open_ssl_over_tcp_stream(host, parts.port or 443, https_compatible=True)
    return await trio.open_tcp_stream(host, parts.port or 80)


@final
@dataclass(slots=True)
class _Handshake:
    """How far opening a WebSocket has come."""

    done: bool = False


@final
class _Stream(trio.abc.Stream):
    """A stream whose end is an error before the handshake is done: trio-websocket would wait on."""

    def __init__(self, stream: trio.abc.Stream, handshake: _Handshake) -> None:
        self._stream = stream
        self._handshake = handshake

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            received = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError:
            await self._end("it broke the connection instead of answering")
            raise
        if not received:
            await self._end("it hung up instead of answering")
        return received

    async def aclose(self) -> None:
        await self._stream.aclose()
        await self._end("its answer is no WebSocket")

    async def _end(self, why: str) -> None:
        await (
            trio.lowlevel.checkpoint()
        )  # whoever waits for the handshake and was woken is run, and says that it is done
        if not self._handshake.done:
            raise ConnectionResetError(why) from None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()
