"""What the command line says when somebody else than a pivot server answers: one line, exit code 3, never "our bug"."""

import base64
import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from pivot.__main__ import run
from tests.e2e.processes import WAIT_S

HTML = b"<html>\n<h1>Welcome to nginx!</h1>\n</html>"
ENTRY = b'{"created":1,"updated":0,"index":"a","path":"a","data":1}'


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


@asynccontextmanager
async def saying(*parts: bytes) -> AsyncGenerator[str]:
    """The address of a server that answers every request with just this, and closes."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive_some()
            key = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
            accept = hashlib.sha1((key[1] if key else b"") + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            for part in parts:
                await stream.send_all(part.replace(b"ACCEPT", base64.b64encode(accept)))
        except trio.BrokenResourceError:
            pass  # it has seen enough
        await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield "127.0.0.1:{1}".format(*listeners[0].socket.getsockname())
        nursery.cancel_scope.cancel()


async def tell(address: str, *verb: str) -> int:
    with trio.fail_after(WAIT_S):
        return await trio.to_thread.run_sync(run, [*verb, "--url", address])


SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ACCEPT\r\n\r\n"
)


def frame(text: bytes) -> bytes:
    assert len(text) < 126
    return b"\x81" + bytes([len(text)]) + text


STAMPED = "X-Pivot-Stamp: 7"
WRONG: dict[str, tuple[tuple[str, ...], list[bytes], str]] = {
    "a page": (("get", "a"), [answer(HTML)], "Welcome to nginx!"),
    "a page that is not there": (("get", "a"), [answer(HTML, "404 Not Found")], "status 404"),
    "a redirect": (("get", "a"), [answer(b"", "302 Found", "Location: /login")], "status 302"),
    "a proxy without its server": (("get", "a"), [answer(HTML, "502 Bad Gateway")], "Welcome to nginx!"),
    "no entry": (("get", "a"), [answer(b"{}")], "created"),
    "an entry instead of a list": (("get", "a/*"), [answer(ENTRY)], "array"),
    "an abyss": (("get", "a"), [answer(b"[" * 100_000)], "[[["),
    "no UTF-8": (("get", "a"), [answer(ENTRY.replace(b'"data":1', b'"data":"\xff"'))], "created"),
    "a write without a stamp": (("set", "a", "1"), [answer(b'{"index":"a"}')], "x-pivot-stamp is ''"),
    "a bad stamp": (("set", "a", "1"), [answer(b'{"index":"a"}', "200 OK", "X-Pivot-Stamp: soon")], "'soon'"),
    "a stamp without an index": (("push", "a/*", "1"), [answer(HTML, "200 OK", STAMPED)], "Welcome to nginx!"),
    "a delete that is a page": (("del", "a"), [answer(HTML)], "Welcome to nginx!"),
    "no keys": (("ls",), [answer(b'{"hello":"world"}')], "world"),
    "an empty status": (("status",), [answer(b"{}")], "role"),
    "a status of something else": (("status",), [answer(b'"up"')], "up"),
    "a broken connection": (("get", "a"), [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"], "broke"),
    "no HTTP": (("get", "a"), [b"220 mail.example ESMTP\r\n\r\n"], "broke"),
    "too much": (
        ("get", "a"),
        [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x" * 2**27],
        "67108864 bytes",
    ),
    "a page to a watcher": (("watch", "a"), [answer(HTML)], "Welcome to nginx!"),
    "a page to a watcher that is not there": (("watch", "a"), [answer(HTML, "404 Not Found")], "status 404"),
    "no HTTP to a watcher": (("watch", "a"), [b"220 mail.example ESMTP\r\n\r\n"], "cannot be watched"),
    "nothing to a watcher": (("watch", "a"), [], "cannot be watched"),
    "a wrong handshake": (("watch", "a"), [SWITCH.replace(b"ACCEPT", b"no")], "cannot be watched"),
    "a state that is none": (("watch", "a"), [SWITCH, frame(b"hello")], "hello"),
    "a state without its parts": (("watch", "a"), [SWITCH, frame(b'{"data":1}')], "snapshot"),
    "a list that is none": (
        ("watch", "a/*"),
        [SWITCH, frame(b'{"snapshot":true,"version":"1","data":[{"path":"a"}]}')],
        "created",
    ),
    "garbage instead of frames": (("watch", "a"), [SWITCH, b"\xff\xff\xff\xff\xff\xff"], "broke"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_foreign_server_is_3_and_one_line_that_says_what_was_asked_and_what_came(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, said, named = WRONG[name]
    async with saying(*said) as address:
        code = await tell(address, *verb)
        out, err = capsys.readouterr()
        assert (code, out) == (3, ""), err
        assert address in err
        assert named in err
        assert err.count("\n") == 1
        assert len(err) < 600


async def test_a_refused_watch_names_the_status_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    async with saying(answer(b'{"error":"too many watchers"}\n', "429 Too Many Requests")) as address:
        assert await tell(address, "watch", "a") == 3
        assert f"ws://{address}/a answered 429: too many watchers" in capsys.readouterr().err
