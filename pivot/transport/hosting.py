"""Hosting: serves an ASGI application (ours is Quart-Trio) with Hypercorn's HTTP/1.1 on Trio; stops in bounded time.

Layer: transport. Start at `host`, then `_Connection`. Hypercorn's protocol code is used as it is. What goes around it,
its worker and its connection, is done here, because three things go wrong there (0.18):

- Idle connections never close. When a response is complete, quart-trio cancels the task that is just sending its end,
  and with it the start of Hypercorn's idle timer. Here a send of HTTP is shielded from that.
- A malformed WebSocket upgrade raises out of its connection and ends the server (Hypercorn's issue 225). Here a
  connection's failure ends that connection, and is one line in the log.
- A client that stops reading is never left: Hypercorn shields its writes. Here a cancelled connection closes its
  socket, which wakes the write, and lifts our own shields.

Those are private parts of Hypercorn: it is pinned below 0.19, and a test fails when they move. Nothing is patched and
nothing is shared: every server of a process has its own configuration, context and nursery.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast, final

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed
from hypercorn.protocol.events import EndBody
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ASGIVersions,
    ConnectionState,
    LifespanState,
    Scope,
)

from pivot.errors import ConfigError

HEADER_BYTES_MAX: Final = 32 * 1024
"""Longest request line and headers together; above it the answer is 431."""
ABORT: Final = "pivot.abort"
"""ASGI extension of a WebSocket: a call without arguments closes the connection at once, whatever waits to be sent."""
_BACKLOG: Final = 1024
_LOG_CHARACTERS_MAX: Final = 300

logger = logging.getLogger("pivot.hosting")
_hypercorn_logger = logging.getLogger("pivot.hosting.hypercorn")
_hypercorn_logger.setLevel(logging.WARNING)


async def host(
    app: ASGIFramework,
    bind: str,
    *,
    shutdown: Callable[[], Awaitable[object]],
    grace_s: float = 1.0,
    keep_alive_s: float = 20.0,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown` returns; then stop within 1.5 times `grace_s`, whatever clients and the app do.

    The stop: no new connections, idle ones close at once, busy ones have `grace_s` to finish and are then closed; last
    the app's own shutdown has half of `grace_s`. Being cancelled closes everything at once. How large a body may be is
    the app's to say.

    Args:
        app: the ASGI application. One that returns from its lifespan early has none; one that raises there ends us.
        bind: `host:port` or `[ipv6]:port`; port 0 lets the system pick.
        shutdown: waited for; its return begins the stop.
        grace_s: how long running requests may take to finish.
        keep_alive_s: how long a connection may be idle, or take to send its headers.
        task_status: started with the bound URL, such as `http://127.0.0.1:8080`, when the app has started up.

    Raises:
        ConfigError: `bind` is no address.
        OSError: `bind` cannot be listened on.
        ExceptionGroup: the app failed to start, its lifespan crashed, or `shutdown` raised.
    """
    server = _Server(app, grace_s=grace_s, keep_alive_s=keep_alive_s)
    async with await _listen(bind) as listener, trio.open_nursery() as nursery:
        lifespan = _Lifespan(app, server.state)
        await lifespan.start(nursery)
        await server.run(listener, shutdown, task_status)
        with trio.move_on_after(grace_s / 2) as patience:
            await lifespan.stop()
        if patience.cancelled_caught:
            logger.warning("the app's shutdown took longer than %g s and was cancelled", grace_s / 2)
        nursery.cancel_scope.cancel()


async def _listen(bind: str) -> trio.SocketListener:
    name, separator, digits = bind.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    if not (separator and name.strip("[]") and digits.isascii() and digits.isdigit() and int(digits) < 2**16):
        raise ConfigError(f"cannot listen on {bind!r}: it must be host:port with a port of 0 to 65535")
    if ":" in name and not bracketed:
        raise ConfigError(f"cannot listen on {bind!r}: an IPv6 address must be in brackets, such as [::1]:8080")
    # A name may have several addresses. One listener, so that port 0 means one port and the URL is the whole truth.
    first, *others = await trio.open_tcp_listeners(int(digits), host=name.strip("[]"), backlog=_BACKLOG)
    for other in others:
        await other.aclose()
    return first


def _url(listener: trio.SocketListener) -> str:
    address, port, *_ = listener.socket.getsockname()
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


@final
class _Server:
    """Accepts connections until told to stop; what they have in common."""

    def __init__(self, app: ASGIFramework, *, grace_s: float, keep_alive_s: float) -> None:
        self.app = app
        self.state = LifespanState({})
        self.context = WorkerContext(max_requests=None)
        self.config = Config()
        self.config.graceful_timeout = grace_s
        self.config.keep_alive_timeout = cast("int", keep_alive_s)  # annotated by its default; used as a float
        self.config.keep_alive_max_requests = 2**31  # peers keep their connections for good
        self.config.h11_max_incomplete_size = HEADER_BYTES_MAX
        self.config.include_server_header = False
        self.config.accesslog = None
        # Given a logger, Hypercorn leaves handlers and levels of the process alone.
        self.config.errorlog = _hypercorn_logger

    async def run(
        self,
        listener: trio.SocketListener,
        shutdown: Callable[[], Awaitable[object]],
        task_status: trio.TaskStatus[str],
    ) -> None:
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(
                    partial(trio.serve_listeners, self._serve, [listener], handler_nursery=connections)
                )
                task_status.started(_url(listener))
                await shutdown()
                accepting.cancel_scope.cancel()
            await self.context.terminated.set()
            connections.cancel_scope.deadline = trio.current_time() + self.config.graceful_timeout

    async def _serve(self, stream: trio.SocketStream) -> None:
        await _Connection(self, stream).serve()


@final
class _Connection(TCPServer):
    """One client's connection; its failure is its own."""

    def __init__(self, server: _Server, stream: trio.SocketStream) -> None:
        tls = cast("trio.SSLStream[trio.SocketStream]", stream)  # TCPServer takes both and is annotated for one
        super().__init__(self._call_app, server.config, server.context, server.state, tls)
        self._server = server
        self._socket = stream.socket
        self._shields: set[trio.CancelScope] = set()
        self._leaving = False

    async def serve(self) -> None:
        """Serve the client until either side ends it; log a failure."""
        try:
            client, ours = self._socket.getpeername()[:2], self._socket.getsockname()[:2]
        except OSError:
            return  # the client has gone already
        try:
            async with trio.open_nursery() as nursery, TaskGroup() as tasks:
                nursery.start_soon(self._leave_when_cancelled)
                self._task_group = tasks
                # As `TCPServer.run` does, but without the wrapper that changes to HTTP/2 when the client says so.
                protocol = _Http11(
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState(self.state),
                    ssl=False,
                    client=client,
                    server=ours,
                    send=self.protocol_send,
                )
                self.protocol = cast("Any", protocol)  # annotated as that wrapper
                await protocol.initiate()
                await self.idle_task.restart(tasks, self._idle_timeout)  # pyright: ignore[reportUnknownMemberType]
                await self._read_data()
                # The client has gone, or we have closed. Hypercorn would still wait for its idle timer.
                nursery.cancel_scope.cancel()
        except* Exception as failures:
            cause: BaseException = failures
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            logger.warning("connection of %s:%d failed: %s", *client, repr(cause)[:_LOG_CHARACTERS_MAX])
            logger.debug("connection of %s:%d failed", *client, exc_info=failures)

    async def _leave_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._leaving = True
            for shield in self._shields:
                shield.shield = False
            self._socket.close()

    async def _call_app(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        async def shielded_send(event: ASGISendEvent) -> None:
            # Without it an app that does nothing but send could not be cancelled at all.
            await trio.lowlevel.checkpoint_if_cancelled()
            with trio.CancelScope(shield=not self._leaving) as shield:
                self._shields.add(shield)
                try:
                    await send(event)
                finally:
                    self._shields.discard(shield)

        if scope["type"] == "websocket":
            scope["extensions"][ABORT] = cast("dict[object, object]", self._socket.close)  # annotated for plain data
        await self._server.app(scope, receive, shielded_send if scope["type"] == "http" else send)


@final
class _Http11(H11Protocol):
    """HTTP/1.1 without ways out of it."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore an offer of HTTP/2, as HTTP allows: the request is answered in HTTP/1.1."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Begin to serve a request whose headers are not too long: h11 looks at their length only while they come."""
        size = len(request.method) + len(request.target) + len(b"  HTTP/1.1\r\n\r\n")
        size += sum(len(name) + len(value) + len(b": \r\n") for name, value in request.headers)
        if size <= HEADER_BYTES_MAX:
            await super()._create_stream(request)
        else:
            await self._send_error_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a part of a response; after a refused WebSocket handshake close, which Hypercorn forgets."""
        refused = isinstance(event, EndBody) and isinstance(self.stream, WSStream)
        await super().stream_send(event)
        if refused:
            await self.send(Closed())


@final
class _Lifespan:
    """The app's life, as ASGI tells it: it starts up before the first request and shuts down after the last."""

    def __init__(self, app: ASGIFramework, state: LifespanState) -> None:
        self._app = app
        self._state = state
        self._received = 0
        self._started = trio.Event()
        self._stopping = trio.Event()
        self._stopped = trio.Event()

    async def start(self, nursery: trio.Nursery) -> None:
        """Have the app start up, and wait until it has, or turns out to have no lifespan."""
        nursery.start_soon(self._run)
        await self._started.wait()

    async def stop(self) -> None:
        """Have the app shut down, and wait until it has."""
        self._stopping.set()
        await self._stopped.wait()

    async def _run(self) -> None:
        asgi: ASGIVersions = {"spec_version": "2.0", "version": "3.0"}
        await self._app({"type": "lifespan", "asgi": asgi, "state": self._state}, self._receive, self._send)
        self._started.set()
        self._stopped.set()

    async def _receive(self) -> ASGIReceiveEvent:
        self._received += 1
        if self._received == 1:
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, event: ASGISendEvent) -> None:
        match event["type"]:
            case "lifespan.startup.complete":
                self._started.set()
            case "lifespan.shutdown.complete":
                self._stopped.set()
            case _:
                raise RuntimeError(f"the app does not start or stop: {event}")
