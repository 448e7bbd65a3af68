"""Hosting holds its promises to clients: where it listens, idle connections, malformed requests.

Two groups guard against one defect each of the libraries below; without its fix in `pivot/transport/hosting.py` each
fails: B1 idle connections, B2 malformed upgrades. B3, clients that do not read, is in `test_hosting_stop.py`.
"""

import inspect
import logging

import hypercorn.trio.run
import pytest
import trio
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer

from pivot.errors import ConfigError
from pivot.transport import hosting
from pivot.transport.hosting import HEADER_BYTES_MAX, host
from tests.contracts.hosts import FOR_EVER_S, PATIENCE_S, get, hosted, make_app, read_to_end, read_until

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


async def test_a_request_is_refused_when_its_headers_come_complete_at_once_and_are_too_long() -> None:
    async with hosted() as server:
        for size, status in ((HEADER_BYTES_MAX - 100, b"200"), (40_000, b"431")):
            async with await server.connect() as stream:
                await stream.send_all(get("/", "Connection: close", "X-Long: " + "x" * size))
                assert (await read_to_end(stream)).startswith(b"HTTP/1.1 " + status)


def test_the_private_parts_of_hypercorn_are_where_hosting_expects_them() -> None:
    """When this fails after an update of Hypercorn, read its `trio/tcp_server.py` beside `hosting.py`."""
    connection = hosting._Connection  # pyright: ignore[reportPrivateUsage] - what must not move
    assert vars(hypercorn.trio.run)["TCPServer"] is TCPServer
    assert issubclass(connection, TCPServer)
    assert list(inspect.signature(TCPServer).parameters) == ["app", "config", "context", "state", "stream"]
    for used in ("protocol_send", "_read_data", "_idle_timeout", "_close"):
        assert inspect.iscoroutinefunction(getattr(TCPServer, used)), used
        assert used not in vars(connection), used
    names = ["app", "config", "context", "task_group", "connection_state", "ssl", "client", "server", "send"]
    assert list(inspect.signature(H11Protocol).parameters) == names
    assert "H11Protocol(" in inspect.getsource(ProtocolWrapper)
    for method in ("_check_protocol", "_create_stream", "stream_send", "_send_error_response"):
        assert inspect.iscoroutinefunction(getattr(H11Protocol, method)), method
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
