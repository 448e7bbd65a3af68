"""Clients that mean harm, over real sockets: whatever they send is refused or dropped, and nothing changes by it.

More wrong keys and values are in `test_routes.py`, gzip in `test_requests.py`, forged versions of entries in
`test_cluster_routes.py`, WebSocket handshakes in `tests/contracts/test_hosting.py`. Here are connections that are
abused, and all of it at once for a long time.
"""

import gzip
import json
import os
import random
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from pivot.client import Client
from pivot.config import Config, Key
from tests.e2e.processes import serving
from tests.e2e.servers import running

SECONDS = float(os.environ.get("PIVOT_ABUSE_SECONDS", "600"))
"""How long the abuse of the long form lasts."""
ABUSERS = 8
GROWTH_MAX = 1.25
"""How much more memory there may be at the end than after the first fifth."""
LIMIT = 2**20
ANSWERED_S = 20.0
"""Longest that anything is waited for, s; a bound for what hangs, not a measure."""
UPGRADE = b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def post(path: bytes, body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    lines = [
        b"POST " + path + b" HTTP/1.1",
        b"Host: x",
        b"Content-Length: %d" % (len(body) if length is None else length),
    ]
    return b"\r\n".join([*lines, *headers, b"", b""]) + body


BOMB = gzip.compress(b'"' + b"x" * 30_000_000 + b'"', 9)
REFUSED: dict[str, tuple[bytes, int]] = {
    "a key of other letters": (post("/ключ".encode(), b"1"), 400),
    "a key with a NUL": (post(b"/a%00b", b"1"), 400),
    "a key that climbs": (post(b"/a/%2e%2e/b", b"1"), 400),
    "a key with a line break": (post(b"/a%0ab", b"1"), 400),
    "a key that is too long": (post(b"/" + b"k" * 600, b"1"), 400),
    "a key of the cluster": (post(b"/_pivot/x", b"1"), 400),
    "a deep value": (post(b"/settings", b"[" * 200_000), 400),
    "a number that is none": (post(b"/settings", b"NaN"), 400),
    "a number beyond all": (post(b"/settings", b"1e999"), 400),
    "a number of a million digits": (post(b"/settings", b"9" * 900_000), 400),
    "a name twice": (post(b"/settings", b'{"a":1,"a":2}'), 400),
    "bytes that are no UTF-8": (post(b"/settings", b'"\xc3\x28"'), 400),
    "a lone surrogate": (post(b"/settings", b'"\\udfff"'), 400),
    "a long body": (post(b"/settings", b'"' + b"x" * LIMIT + b'"'), 413),
    "a body that says it is huge": (post(b"/settings", b"", length=10**15), 413),
    "a length that is none": (b"POST /settings HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "two lengths": (b"POST /settings HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n11", 400),
    "a bomb": (post(b"/settings", BOMB, b"Content-Encoding: gzip"), 413),
    "a packing nobody knows": (post(b"/settings", b"1", b"Content-Encoding: zstd"), 415),
    "endless headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 50_000, 431),
    "one endless header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000, 431),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "an upgrade without a key": (b"GET /settings HTTP/1.1\r\n" + UPGRADE + b"Sec-WebSocket-Version: 13\r\n\r\n", 400),
    "envelopes that are none": (post(b"/_pivot/envelopes", b"{}\n", b"Content-Type: application/x-ndjson"), 400),
    "a stamp of a far future": (
        post(b"/_pivot/pivot/settings", b'{"created":%d,"updated":0,"index":"settings","data":1}' % (2**63 - 1)),
        400,
    ),
    "a negative stamp": (
        post(b"/_pivot/pivot/settings", b'{"created":-1,"updated":0,"index":"settings","data":1}'),
        400,
    ),
    "an index of another key": (
        post(b"/_pivot/pivot/settings", b'{"created":1,"updated":0,"index":"s","data":1}'),
        400,
    ),
}


async def connect(url: str) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))


async def send(stream: trio.SocketStream, data: bytes) -> None:
    """Send; a server may close before it has read all, once it has said why."""
    with suppress(trio.BrokenResourceError):
        await stream.send_all(data)


async def status_of(url: str, data: bytes) -> int:
    """The status that is answered to these bytes."""
    async with await connect(url) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(send, stream, data)
        answer = b""
        with trio.fail_after(ANSWERED_S):
            while b"\r\n" not in answer and (part := await stream.receive_some()):
                answer += part
        nursery.cancel_scope.cancel()
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found is not None, answer[:200]
    return int(found[1])


# Connections that are abused -----------------------------------------------------------------------------------------


async def half_a_request(url: str) -> None:
    async with await connect(url) as stream:
        await send(stream, post(b"/settings", b'"half', length=100))


async def half_a_header(url: str) -> None:
    async with await connect(url) as stream:
        await send(stream, b"POST /settings HTTP/1.1\r\nHo")


async def a_slow_writer(url: str) -> None:
    async with await connect(url) as stream:
        await send(stream, post(b"/settings", b"", length=50))
        for _ in range(20):
            await send(stream, b"1")
            await trio.sleep(0.02)


async def a_slow_reader(url: str) -> None:
    async with await connect(url) as stream:
        await send(stream, b"GET /users/* HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        await trio.sleep(0.4)


async def a_subscriber_that_never_reads(url: str) -> None:
    async with await connect(url) as stream:
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        await send(stream, b"GET /users/* HTTP/1.1\r\n" + UPGRADE + key)
        await trio.sleep(0.4)


async def a_subscriber_that_sends_rubbish(url: str) -> None:
    async with await connect(url) as stream:
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        await send(stream, b"GET /settings HTTP/1.1\r\n" + UPGRADE + key + b"\xff" * 5000)


ABUSES = (half_a_request, half_a_header, a_slow_writer, a_slow_reader, a_subscriber_that_never_reads,
          a_subscriber_that_sends_rubbish)  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_a_client_sends_is_refused_and_nothing_changes(name: str) -> None:
    data, status = REFUSED[name]
    async with running(Config(keys=(Key("settings"), Key("users/*")))) as url, Client(url) as client:
        await client.set("settings", "kept")
        before = await client.get("settings")
        assert await status_of(url, data) == status
        assert await client.get("settings") == before
        assert await client.get_list("*") == [before]


@pytest.mark.parametrize("abuse", ABUSES, ids=lambda abuse: abuse.__name__)
async def test_others_are_served_and_nothing_changes_while_a_connection_is_abused(
    abuse: Callable[[str], Awaitable[None]],
) -> None:
    async with running(Config(keys=(Key("settings"), Key("users/*")))) as url, Client(url) as client:
        await client.set("settings", "kept")
        for number in range(20):
            await client.set(f"users/{number}", "x" * 10_000)
        before = await client.get("settings")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(abuse, url)
            for number in range(5):
                await client.set("users/0", number)
                assert (await client.get("users/0")).data == number
        assert await client.get("settings") == before


# All at once ---------------------------------------------------------------------------------------------------------


def memory_of(pid: int) -> int:
    """What a process has in memory, KiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 300)
def test_memory_stays_flat_and_all_is_served_under_abuse_of_every_kind(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with serving(tmp_path, "--key", "settings", "--key", "users/*") as member:
        curve: list[int] = []
        tried: dict[str, int] = {}
        trio.run(_abuse_all, member.url, member.process.pid, curve, tried)
        record_property("memory_kib", json.dumps(curve))
        sys.stdout.write(f"{sum(tried.values())} abuses of {len(tried)} kinds, memory {curve} KiB\n")
        settled = curve[len(curve) // 5]
        assert max(curve[-3:]) <= GROWTH_MAX * settled, curve
        assert set(tried) == {*REFUSED, *(abuse.__name__ for abuse in ABUSES)}
        assert member.stop() == 0


async def _abuse_all(url: str, pid: int, curve: list[int], tried: dict[str, int]) -> None:
    chance = random.Random(7)
    every = SECONDS / 20
    async with Client(url) as client:
        await client.set("settings", "kept")
        for number in range(50):
            await client.set(f"users/{number}", "x" * 10_000)
        before = await client.get("settings")

        async def abuse() -> None:
            while True:
                name = chance.choice([*REFUSED, *(each.__name__ for each in ABUSES)])
                tried[name] = tried.get(name, 0) + 1
                if name in REFUSED:
                    data, status = REFUSED[name]
                    assert await status_of(url, data) == status, name
                else:
                    await next(each for each in ABUSES if each.__name__ == name)(url)

        async with trio.open_nursery() as nursery:
            for _ in range(ABUSERS):
                nursery.start_soon(abuse)
            for number in range(20):
                await trio.sleep(every)
                with trio.fail_after(ANSWERED_S):
                    await client.set("users/0", number)
                    assert (await client.get("users/0")).data == number
                    assert await client.get("settings") == before
                curve.append(memory_of(pid))
            nursery.cancel_scope.cancel()
