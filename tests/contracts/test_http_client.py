"""The HTTP client keeps its promises: nothing leaks, every failure has its name, nothing of the environment is used.

The first group guards against B4, pool slots that are lost when requests are cancelled. Its first story is also told
over a pool of two connections, the plain httpx way, where it must be seen to fail.
"""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing
from quart import Response, redirect, request
from werkzeug.wrappers import Response as WsgiResponse

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
from tests.contracts.hosts import FOR_EVER_S, PATIENCE_S, hosted, make_app

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
ROUNDS = 60
SHORT_S = 0.05
"""Limits that are meant to be reached."""

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[str]:
    """The URL of a server that does with its connections whatever it likes."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await handler(stream)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, handle, listeners))
        yield url_of(listeners[0].socket)
        nursery.cancel_scope.cancel()


def url_of(bound: "trio.socket.SocketType | socket.socket") -> str:
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


def saying(*parts: bytes, then: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint) -> Handler:
    """Read a request, say all this, do something, and leave."""

    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        for part in parts:
            await stream.send_all(part)
        await then()

    return handler


async def stay_silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def drip(stream: trio.SocketStream) -> None:
    """Answer without an end, a byte now and then."""
    await stream.send_all(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"1\r\nx\r\n")
        await trio.sleep(SHORT_S / 10)


@contextmanager
def raising(kind: type[Exception], *words: str) -> Generator[None]:
    """Something of just this kind is raised, in bounded time; its message, one line, says all of these."""
    with trio.fail_after(PATIENCE_S), pytest.raises(kind, match=r"\A.+\Z") as caught:
        yield
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value)


# B4: what was cancelled or abandoned ---------------------------------------------------------------------------------


async def rounds_until_stuck(client: HttpClient, url: str, *, stuck_s: float) -> int | None:
    """Cancel requests, each time a little later; after how many rounds another gets no connection, None = never."""
    for turn in range(ROUNDS):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.request, "GET", url)
            for _ in range(turn + 1):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        with trio.move_on_after(stuck_s) as patience:
            assert (await client.request("GET", url)).body == b"here"
        if patience.cancelled_caught:
            return turn
    return None


async def answer_and_close(stream: trio.SocketStream) -> None:
    """Every request makes way for one that waits, which gets a new connection: what is cancelled just then is lost."""
    with suppress(trio.BrokenResourceError):
        if b"/never" in await stream.receive_some():
            await trio.sleep_forever()
        await stream.send_all(HEAD + b"Connection: close\r\nContent-Length: 4\r\n\r\nhere")


@pytest.mark.parametrize("turns", [2, 1000], ids=["they wait for their turn", "all at once"])
async def test_the_next_request_works_when_many_were_cancelled_at_any_moment(turns: int) -> None:
    async with serving(answer_and_close) as url, HttpClient(requests_per_peer=turns, connect_s=PATIENCE_S) as client:
        assert await rounds_until_stuck(client, url, stuck_s=PATIENCE_S) is None


async def test_the_story_above_gets_stuck_when_the_pool_is_bounded() -> None:
    """When this fails httpx has been mended, and HttpClient may be simpler."""
    bounded = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=2))
    async with (
        serving(answer_and_close) as url,
        HttpClient(requests_per_peer=1000, connect_s=PATIENCE_S, transport=bounded) as client,
    ):
        assert await rounds_until_stuck(client, url, stuck_s=1.0) is not None


async def test_nobody_waits_for_a_connection_of_the_pool_however_many_are_open() -> None:
    """Who waits there can be cancelled there; httpx's own default is 100 connections."""
    async with (
        serving(answer_and_close) as url,
        HttpClient(requests_per_peer=1000, connect_s=PATIENCE_S) as client,
        trio.open_nursery() as nursery,
    ):
        for _ in range(150):
            nursery.start_soon(client.request, "GET", url + "/never")
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(PATIENCE_S):
            assert (await client.request("GET", url + "/")).body == b"here"
        nursery.cancel_scope.cancel()


async def test_the_next_request_works_when_many_ran_out_of_time() -> None:
    async with hosted(grace_s=0.1) as server, HttpClient(requests_per_peer=2) as client:
        for turn in range(ROUNDS):
            with pytest.raises(TransportError):
                await client.request("GET", server.url + "/never", timeout_s=0.001 * (turn % 5))
        with trio.fail_after(PATIENCE_S):
            assert (await client.request("GET", server.url + "/")).body == b"here"


@pytest.mark.parametrize("way", ["cancelled", "left", "broken off"])
async def test_the_next_request_works_and_no_stream_stays_open_when_many_were_abandoned(way: str) -> None:
    open_streams = 0
    closed = trio.Event()

    async def stream(connection: trio.SocketStream) -> None:
        nonlocal open_streams, closed
        open_streams += 1
        await connection.receive_some()
        await connection.send_all(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n")
        assert await connection.receive_some() == b""  # the client has gone
        open_streams -= 1
        closed.set()

    async def read(client: HttpClient, url: str, first: trio.Event) -> None:
        async with client.stream_lines("GET", url, silence_s=FOR_EVER_S) as lines:
            async for line in lines:
                assert line == b"a"
                first.set()
                if way == "left":
                    return
                if way == "broken off":
                    raise ZeroDivisionError

    async with serving(stream) as url, hosted(grace_s=0.1) as server, HttpClient(requests_per_peer=2) as client:
        for _ in range(ROUNDS):
            first = trio.Event()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read, client, url, first)
                    await first.wait()
                    if way == "cancelled":
                        nursery.cancel_scope.cancel()
            except* ZeroDivisionError:
                pass
        with trio.fail_after(PATIENCE_S):
            assert (await client.request("GET", server.url + "/")).body == b"here"
            while open_streams:
                closed = trio.Event()
                await closed.wait()


async def test_streams_take_no_turns_from_requests_when_they_are_open() -> None:
    async with (
        hosted(grace_s=0.1) as server,
        HttpClient(requests_per_peer=1) as client,
        client.stream_lines("GET", server.url + "/endless", silence_s=FOR_EVER_S),
        client.stream_lines("GET", server.url + "/endless", silence_s=FOR_EVER_S),
    ):
        assert (await client.request("GET", server.url + "/", timeout_s=PATIENCE_S)).body == b"here"


# Limits of time ------------------------------------------------------------------------------------------------------


async def test_an_unreachable_peer_is_named_when_it_refuses() -> None:
    with socket.socket() as bound:  # bound, so that nobody else has the port, and not listening
        bound.bind(("127.0.0.1", 0))
        async with HttpClient() as client:
            with raising(UnreachableError, f"GET {url_of(bound)}/x", "no connection", "refused"):
                await client.request("GET", url_of(bound) + "/x")


async def occupy(port: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port):
        await trio.sleep_forever()


async def test_an_unreachable_peer_is_named_when_connecting_takes_too_long() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        async with trio.open_nursery() as nursery, HttpClient(connect_s=SHORT_S) as client:
            for _ in range(4):  # more than it has room for
                nursery.start_soon(occupy, full.getsockname()[1])
            await trio.testing.wait_all_tasks_blocked(0.05)
            with raising(UnreachableError, f"GET {url_of(full)}/x", f"no connection within {SHORT_S:g} s"):
                await client.request("GET", url_of(full) + "/x")
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("handler", [stay_silent, drip], ids=["says nothing", "says a byte now and then"])
async def test_the_deadline_is_named_when_an_answer_is_not_complete(handler: Handler) -> None:
    async with serving(handler) as url, HttpClient(total_s=FOR_EVER_S) as client:
        with raising(DeadlineError, f"GET {url}/x", f"no complete answer within {SHORT_S:g} s"):
            await client.request("GET", url + "/x", timeout_s=SHORT_S)
    async with serving(handler) as url, HttpClient(total_s=SHORT_S) as client:
        with raising(DeadlineError, f"GET {url}/x", f"no complete answer within {SHORT_S:g} s"):
            await client.request("GET", url + "/x")


async def test_the_deadline_is_named_when_a_peer_does_not_read() -> None:
    async with serving(stay_silent) as url, HttpClient(total_s=SHORT_S) as client:
        with raising(DeadlineError, f"POST {url}/x", f"within {SHORT_S:g} s"):
            await client.request("POST", url + "/x", content=bytes(2**25))


async def test_the_number_of_requests_is_named_when_one_gets_no_turn() -> None:
    async with (
        hosted(grace_s=0.1) as server,
        HttpClient(requests_per_peer=1) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.request, "GET", server.url + "/never")
        await trio.testing.wait_all_tasks_blocked()
        with raising(UnreachableError, "no turn", f"within {SHORT_S:g} s", "1 requests"):
            await client.request("GET", server.url + "/", timeout_s=SHORT_S)
        nursery.cancel_scope.cancel()


async def test_silence_is_named_when_a_stream_says_nothing_for_too_long() -> None:
    handler = saying(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n", then=trio.sleep_forever)
    async with serving(handler) as url, HttpClient() as client:
        with raising(UnreachableError, f"GET {url}/x", f"silent for {SHORT_S:g} s"):
            async with client.stream_lines("GET", url + "/x", silence_s=SHORT_S) as lines:
                assert await anext(lines) == b"a"
                await anext(lines)


# Limits of size, and answers that are none ---------------------------------------------------------------------------


def sized(size: int) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size


async def test_an_answer_is_refused_with_its_limit_when_it_is_one_byte_too_long() -> None:
    async with serving(saying(sized(1000))) as url, HttpClient(response_bytes_max=1000) as client:
        assert (await client.request("GET", url)).body == b"x" * 1000
    async with serving(saying(sized(1001))) as url, HttpClient(response_bytes_max=1000) as client:
        with raising(ResponseTooLargeError, f"GET {url}", "1000 bytes"):
            await client.request("GET", url)


async def test_an_answer_is_refused_when_it_has_no_end() -> None:
    async with hosted(grace_s=0.1) as server, HttpClient() as client:
        with raising(ResponseTooLargeError, server.url, "bytes"):
            await client.request("GET", server.url + "/endless")


async def test_a_line_is_refused_with_its_limit_when_it_is_one_byte_too_long() -> None:
    async with HttpClient(line_bytes_max=1000) as client:
        fits = saying(HEAD + b"\r\n" + b"x" * 1000 + b"\n")
        async with serving(fits) as url, client.stream_lines("GET", url, silence_s=PATIENCE_S) as lines:
            assert [line async for line in lines] == [b"x" * 1000]
        async with serving(saying(HEAD + b"\r\n" + b"x" * 1001 + b"\n")) as url:
            with raising(ResponseTooLargeError, f"GET {url}", "1000 bytes"):
                async with client.stream_lines("GET", url, silence_s=PATIENCE_S) as lines:
                    await anext(lines)


async def test_lines_are_whole_when_they_come_in_pieces() -> None:
    handler = saying(HEAD + b"\r\n", b"on", b"e\ntw", b"o\n\nthree\r\n", b"\xff\n")
    async with (
        serving(handler) as url,
        HttpClient() as client,
        client.stream_lines("GET", url, silence_s=PATIENCE_S) as lines,
    ):
        assert [line async for line in lines] == [b"one", b"two", b"", b"three\r", b"\xff"]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"", "broke"),
        (b"not HTTP\r\n\r\n", "broke"),
        (HEAD + b"Content-Length: 9\r\n\r\nhalf", "broke"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", "broke"),
    ],
)
async def test_a_broken_connection_is_named_when_an_answer_is_not_whole(said: bytes, word: str) -> None:
    async with serving(saying(said)) as url, HttpClient() as client:
        with raising(TransportError, f"GET {url}", word):
            await client.request("GET", url)
        with raising(TransportError, f"GET {url}", word):
            async with client.stream_lines("GET", url, silence_s=PATIENCE_S) as lines:
                await anext(lines)


async def test_the_bytes_of_it_are_counted_when_a_stream_ends_within_a_line() -> None:
    async with serving(saying(HEAD + b"\r\nwhole\nhalf")) as url, HttpClient() as client:
        with raising(TransportError, f"GET {url}", "within a line, after 4 bytes"):
            async with client.stream_lines("GET", url, silence_s=PATIENCE_S) as lines:
                assert [line async for line in lines]


async def test_status_and_reason_are_named_when_a_stream_is_refused() -> None:
    async with hosted(grace_s=0.1) as server, HttpClient() as client:
        with raising(RefusedError, server.url, "404"):
            async with client.stream_lines("GET", server.url + "/nothing", silence_s=PATIENCE_S):
                pass


# What it does not do -------------------------------------------------------------------------------------------------


async def test_a_redirect_is_an_answer_like_any_other_when_it_comes() -> None:
    app = make_app()
    visited: list[str] = []

    @app.get("/from")
    async def leave() -> WsgiResponse:
        return redirect("/to")

    @app.get("/to")
    async def arrive() -> str:
        visited.append("/to")
        return "arrived"

    async with hosted(app) as server, HttpClient() as client:
        answer = await client.request("GET", server.url + "/from")
    assert answer.status == 302
    assert answer.headers["location"] == "/to"
    assert not visited


@pytest.fixture
def netrc(tmp_path: Path) -> Path:
    """A file with a password for our own address."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login user password secret\n")
    return path


async def test_the_environment_is_ignored_when_it_names_proxies_or_passwords(
    monkeypatch: pytest.MonkeyPatch, netrc: Path
) -> None:
    app = make_app()
    seen: list[dict[str, str]] = []

    @app.get("/headers")
    async def headers() -> Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        response = Response("seen")
        response.set_cookie("crumb", "1")
        return response

    monkeypatch.setenv("NETRC", str(netrc))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, url_of(nobody))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with hosted(app) as server, HttpClient() as client:
            for _ in range(2):
                assert (await client.request("GET", server.url + "/headers")).body == b"seen"
    for headers_seen in seen:
        assert "authorization" not in headers_seen
        assert "cookie" not in headers_seen


@pytest.mark.parametrize("url", ["", "/x", "host:80/x", "ftp://host/x", "http://", "http://\x00/"])
async def test_the_caller_is_blamed_when_there_can_be_no_such_request(url: str) -> None:
    async with HttpClient() as client:
        with raising(MisuseError, "GET"):
            await client.request("GET", url)


async def test_the_caller_is_blamed_when_the_client_is_closed() -> None:
    async with HttpClient() as client:
        pass
    with raising(NotRunningError, "closed"):
        await client.request("GET", "http://127.0.0.1:1/")
