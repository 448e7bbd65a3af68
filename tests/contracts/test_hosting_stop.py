"""Hosting holds its promises to whoever stops it, and to the app it serves.

The first group guards against B3, clients that do not read; without its fix in `pivot/transport/hosting.py` it fails.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing
from quart import Response

from pivot.transport.hosting import host
from tests.contracts.hosts import FOR_EVER_S, PATIENCE_S, Hosted, get, hosted, make_app, read_to_end, read_until

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


async def test_an_answer_ends_when_its_time_is_over_and_its_app_does_nothing_but_send() -> None:
    """The sends are shielded, so each looks first whether it was cancelled."""
    ended = trio.Event()
    app = make_app()

    @app.get("/timed")
    async def timed() -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
            finally:
                ended.set()

        response = Response(chunks())
        response.timeout = 0.05
        return response

    async with hosted(app) as server, await server.connect() as stream:
        await stream.send_all(get("/timed"))
        with trio.fail_after(PATIENCE_S):
            while not ended.is_set():
                await stream.receive_some()


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
