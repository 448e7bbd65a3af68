"""Hosting holds its promises to clients, to the app and to whoever stops it.

Three tests guard against one defect each of the libraries below; without its fix in `pivot/transport/hosting.py` each
fails: B1 idle connections, B2 malformed upgrades, B3 clients that do not read.
"""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import hypercorn.trio.run
import pytest
import trio
import trio.testing
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from quart import Response, request, websocket
from quart_trio import QuartTrio

from pivot.errors import ConfigError
from pivot.transport import hosting
from pivot.transport.hosting import HEADER_BYTES_MAX, host

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
) -> AsyncIterator[Hosted]:
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


# Where it listens ----------------------------------------------------------------------------------------------------


async def test_the_bound_url_is_reported_when_the_port_is_left_to_the_system() -> None:
    async with hosted() as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert not server.url.endswith(":0")
        assert (await server.get("/")).endswith(b"here")


async def test_an_ipv6_address_is_served_when_it_is_in_brackets() -> None:
    try:
        await (await trio.open_tcp_listeners(0, host="::1"))[0].aclose()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with hosted(bind="[::1]:0") as server:
        assert server.url.startswith("http://[::1]:")
        assert (await server.get("/")).endswith(b"here")


async def test_one_port_is_served_when_a_name_has_several_addresses() -> None:
    async with hosted(bind="localhost:0") as server:
        assert (await server.get("/")).endswith(b"here")


@pytest.mark.parametrize("bind", ["", "127.0.0.1", ":80", "[]:80", "a:b", "a:65536", "a:-1", "a:", "::1:80", "a:²"])
async def test_a_bad_address_is_named_when_it_is_refused(bind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await host(make_app(), bind, shutdown=trio.sleep_forever)
    assert repr(bind) in str(caught.value)


async def test_an_os_error_is_raised_when_the_port_is_taken() -> None:
    async with hosted() as server:
        with pytest.raises(OSError, match="in use"):
            await host(make_app(), server.url.removeprefix("http://"), shutdown=trio.sleep_forever)


async def test_servers_share_nothing_when_they_run_side_by_side() -> None:
    async with hosted() as staying:
        async with hosted(keep_alive_s=1.0) as leaving:
            assert leaving.url != staying.url
        assert leaving.stopped.is_set()
        assert (await staying.get("/")).endswith(b"here")


# B1: idle connections ------------------------------------------------------------------------------------------------


async def test_shutdown_does_not_wait_for_the_grace_when_connections_are_idle() -> None:
    async with hosted(grace_s=FOR_EVER_S) as server, await server.connect() as fresh, await server.connect() as stream:
        for _ in range(2):
            await stream.send_all(get("/"))
            await read_until(stream, b"here")
        server.stop.set()
        with trio.fail_after(PATIENCE_S):
            await server.stopped.wait()
        assert await read_to_end(stream) == b""
        assert await read_to_end(fresh) == b""


async def test_an_idle_connection_is_closed_when_its_time_is_over() -> None:
    async with hosted(keep_alive_s=0.05) as server, await server.connect() as stream:
        await stream.send_all(get("/"))
        assert (await read_to_end(stream)).endswith(b"here")


async def test_a_connection_is_closed_when_its_headers_do_not_come() -> None:
    async with hosted(keep_alive_s=0.05) as server, await server.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: te")
        assert await read_to_end(stream) == b""


async def test_an_idle_connection_is_closed_when_its_client_has_closed() -> None:
    async with hosted(keep_alive_s=FOR_EVER_S) as server, await server.connect() as stream:
        await stream.send_all(get("/"))
        await read_until(stream, b"here")
        await stream.send_eof()
        assert await read_to_end(stream) == b""


async def test_a_connection_is_kept_when_it_has_served_thousands_of_requests() -> None:
    async with hosted() as server, await server.connect() as stream:
        for _ in range(1100):
            await stream.send_all(get("/"))
            assert b"connection: close" not in (await read_until(stream, b"here"))


# B2: what malformed requests do --------------------------------------------------------------------------------------

UPGRADE = ("Upgrade: websocket", "Connection: Upgrade")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"
FRAME = b"\x81\x81\0\0\0\0a"

MALFORMED = {
    "no key": get("/echo", *UPGRADE, VERSION),
    "a key that is not base64": get("/echo", *UPGRADE, VERSION, "Sec-WebSocket-Key: \xff\xfe"),
    "an empty key": get("/echo", *UPGRADE, VERSION, "Sec-WebSocket-Key:"),
    "no version": get("/echo", *UPGRADE, KEY),
    "a bad version": get("/echo", *UPGRADE, KEY, "Sec-WebSocket-Version: 99"),
    "no connection header": get("/echo", UPGRADE[0], KEY, VERSION),
    "a protocol outside ASCII": get("/echo", *UPGRADE, KEY, VERSION, "Sec-WebSocket-Protocol: \xff"),
    "an extension outside ASCII": get("/echo", *UPGRADE, KEY, VERSION, "Sec-WebSocket-Extensions: \xff"),
    "a connection header outside ASCII": get("/echo", UPGRADE[0], "Connection: Upgrade, \xff", KEY, VERSION),
    "HTTP/1.0": get("/echo", *UPGRADE, KEY, VERSION).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "frames before the answer": get("/echo", *UPGRADE, KEY, VERSION) + FRAME,
    "frames after a bad upgrade": get("/echo", *UPGRADE, VERSION) + FRAME,
    "frames to nobody": get("/nobody", *UPGRADE, KEY, VERSION) + FRAME,
    "a body": get("/echo", *UPGRADE, KEY, VERSION, "Content-Length: 3") + b"abc",
    "two at once": get("/echo", *UPGRADE, VERSION) * 2,
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x00\xff\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_the_server_serves_on_when_an_upgrade_is_malformed(name: str) -> None:
    async with hosted(grace_s=FOR_EVER_S) as server, await server.connect() as stream:
        await stream.send_all(MALFORMED[name])
        await stream.send_eof()
        await read_to_end(stream)
        assert (await server.get("/")).endswith(b"here")


async def test_a_failed_connection_is_one_line_in_the_log_when_it_is_contained(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with hosted() as server, await server.connect() as stream:
        await stream.send_all(MALFORMED["a protocol outside ASCII"])
        await read_to_end(stream)
        assert (await server.get("/")).endswith(b"here")
    [record] = [record for record in caplog.records if record.name.startswith(("pivot", "hypercorn"))]
    assert record.name == "pivot.hosting"
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert "connection of 127.0.0.1:" in record.getMessage()
    assert "UnicodeDecodeError" in record.getMessage()
    assert "\n" not in record.getMessage()


async def test_a_connection_is_closed_when_its_upgrade_was_refused() -> None:
    async with hosted() as server, await server.connect() as stream:
        await stream.send_all(MALFORMED["no key"])
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 400")


async def test_a_websocket_works_when_its_upgrade_is_well_formed() -> None:
    async with hosted() as server, await server.connect() as stream:
        await stream.send_all(get("/echo", *UPGRADE, KEY, VERSION))
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        await stream.send_all(FRAME)
        assert await read_until(stream, b"\x81\x01a") == b"\x81\x01a"


async def test_an_upgrade_to_http2_is_ignored_when_it_is_offered() -> None:
    offer = get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    async with hosted() as server, await server.connect() as stream:
        await stream.send_all(offer)
        assert (await read_until(stream, b"here")).startswith(b"HTTP/1.1 200")


async def test_a_request_is_refused_when_its_headers_are_too_long() -> None:
    async with hosted() as server, await server.connect() as stream:
        await stream.send_all(get("/", "X-Long: " + "x" * HEADER_BYTES_MAX)[: HEADER_BYTES_MAX + 1])
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 431")


def test_the_private_parts_of_hypercorn_are_where_hosting_expects_them() -> None:
    """When this fails after an update of Hypercorn, read its `trio/tcp_server.py` beside `hosting.py`."""
    connection = hosting._Connection
    assert vars(hypercorn.trio.run)["TCPServer"] is TCPServer
    assert issubclass(connection, TCPServer)
    assert list(inspect.signature(TCPServer).parameters) == ["app", "config", "context", "state", "stream"]
    for used in ("protocol_send", "_read_data", "_idle_timeout", "_close"):
        assert inspect.iscoroutinefunction(getattr(TCPServer, used)), used
        assert used not in vars(connection), used
    names = ["app", "config", "context", "task_group", "connection_state", "ssl", "client", "server", "send"]
    assert list(inspect.signature(H11Protocol).parameters) == names
    assert "H11Protocol(" in inspect.getsource(ProtocolWrapper)
    for overridden in ("_check_protocol", "stream_send"):
        assert inspect.iscoroutinefunction(getattr(H11Protocol, overridden)), overridden
    # What `_Connection.serve` does instead of `run`: the same lines, with something around them.
    source = inspect.getsource(TCPServer.run)
    for line in (
        "async with TaskGroup() as task_group:",
        "self._task_group = task_group",
        "await self.protocol.initiate()",
        "await self.idle_task.restart(self._task_group, self._idle_timeout)",
        "await self._read_data()",
    ):
        assert line in source, line


# B3: clients that do not read, and other ways to stop ----------------------------------------------------------------


async def fill_up(server: Hosted) -> trio.SocketStream:
    """A client that asked for an endless answer, saw its beginning, and reads no more."""
    stream = await server.connect()
    await stream.send_all(get("/endless"))
    await read_until(stream, b"xxxx")
    return stream


async def test_shutdown_ends_when_a_client_has_stopped_reading() -> None:
    async with hosted(grace_s=0.1) as server, await fill_up(server), await fill_up(server):
        await trio.testing.wait_all_tasks_blocked(0.05)  # the server cannot write any more
        server.stop.set()
        with trio.fail_after(PATIENCE_S):
            await server.stopped.wait()


async def test_a_cancelled_server_ends_when_a_client_has_stopped_reading() -> None:
    server = Hosted()
    scope = trio.CancelScope()

    async def run(*, task_status: trio.TaskStatus[str]) -> None:
        with scope:
            await host(make_app(), "127.0.0.1:0", shutdown=trio.sleep_forever, task_status=task_status)
        server.stopped.set()

    async with trio.open_nursery() as nursery:
        server.url = await nursery.start(run)
        async with await fill_up(server):
            await trio.testing.wait_all_tasks_blocked(0.05)
            scope.cancel()
            with trio.fail_after(PATIENCE_S):
                await server.stopped.wait()


async def test_an_answer_is_given_whole_when_the_stop_comes_before_it() -> None:
    asked, answer = trio.Event(), trio.Event()
    app = make_app()

    @app.get("/slow")
    async def slow() -> str:
        asked.set()
        await answer.wait()
        return "late"

    async with hosted(app, grace_s=FOR_EVER_S) as server, await server.connect() as stream:
        await stream.send_all(get("/slow"))
        await asked.wait()
        server.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not server.stopped.is_set()
        answer.set()
        assert (await read_to_end(stream)).endswith(b"late")


async def test_a_running_request_is_given_up_when_the_grace_is_over() -> None:
    async with hosted(grace_s=0.05) as server, await server.connect() as stream:
        await stream.send_all(get("/never"))
        await trio.testing.wait_all_tasks_blocked(0.05)
        server.stop.set()
        with trio.fail_after(PATIENCE_S):
            await server.stopped.wait()


async def test_a_handler_is_cancelled_when_its_client_goes_away() -> None:
    """Also one that does nothing but send: its sends are shielded, and nothing else would notice."""
    cancelled = trio.Event()
    app = make_app()

    @app.get("/watched")
    async def watched() -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
            finally:
                cancelled.set()

        response = Response(chunks())
        response.timeout = None
        return response

    async with hosted(app) as server:
        async with await server.connect() as stream:
            await stream.send_all(get("/watched"))
            await read_until(stream, b"x")
        with trio.fail_after(PATIENCE_S):
            await cancelled.wait()


async def test_a_body_is_read_whole_when_it_is_longer_than_any_buffer() -> None:
    body = b"y" * 2_000_000
    async with hosted() as server, await server.connect() as stream:
        await stream.send_all(
            f"POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        assert (await read_until(stream, b"2000000")).startswith(b"HTTP/1.1 200")


async def test_shutdown_ends_when_an_app_answers_a_body_that_it_does_not_read() -> None:
    """The queue to such an app is full, so the end of its answer cannot be told to it: a shielded send hangs."""

    async def app(scope: dict[str, object], receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        if scope["type"] == "http":
            await trio.testing.wait_all_tasks_blocked()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})

    async with hosted(app, grace_s=0.05) as server, await server.connect() as stream:
        head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send_all(head + b"1\r\nx\r\n" * 100)
        await read_until(stream, b"200")
        server.stop.set()
        with trio.fail_after(PATIENCE_S):
            await server.stopped.wait()


# The app's own life --------------------------------------------------------------------------------------------------


async def test_the_app_starts_before_the_first_request_and_stops_after_the_last_when_it_has_hooks() -> None:
    app = make_app()
    told: list[str] = []

    @app.before_serving
    async def start() -> None:
        told.append("start")

    @app.after_serving
    async def stop() -> None:
        told.append("stop")

    async with hosted(app) as server:
        assert told == ["start"]
        await server.get("/")
    assert told == ["start", "stop"]


async def test_the_stop_ends_when_the_app_does_not_want_to(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    @app.after_serving
    async def linger() -> None:
        await trio.sleep_forever()

    async with hosted(app, grace_s=0.1):
        pass
    assert "shutdown took longer than 0.05 s" in caplog.text


async def test_the_caller_hears_of_it_when_the_app_does_not_start() -> None:
    app = make_app()

    @app.before_serving
    async def refuse() -> None:
        raise ValueError("no database")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="no database"), flatten_subgroups=True):
        await host(app, "127.0.0.1:0", shutdown=trio.sleep_forever)


async def test_the_caller_hears_of_it_when_a_task_of_the_app_crashes() -> None:
    app = make_app()

    async def crash() -> None:
        raise ValueError("crashed in the app's nursery")

    async def shutdown() -> None:
        app.nursery.start_soon(crash)
        await trio.sleep_forever()

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="crashed in the app"), flatten_subgroups=True):
        await host(app, "127.0.0.1:0", shutdown=shutdown)


async def test_the_caller_hears_of_it_when_waiting_for_the_stop_fails() -> None:
    async def shutdown() -> None:
        raise ValueError("no signal")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="no signal"), flatten_subgroups=True):
        await host(make_app(), "127.0.0.1:0", shutdown=shutdown)


async def test_an_app_is_served_when_it_has_no_lifespan() -> None:
    async def app(scope: dict[str, object], receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"plain"})

    async with hosted(app) as server:
        assert b"plain" in await server.get("/")


async def test_a_request_gets_500_when_its_handler_crashes() -> None:
    app = make_app()

    @app.get("/crash")
    async def crash() -> str:
        raise ValueError("in a handler")

    async with hosted(app) as server:
        assert (await server.get("/crash")).startswith(b"HTTP/1.1 500")
        assert (await server.get("/")).endswith(b"here")
