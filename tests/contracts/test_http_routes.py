"""A leader's two routes for its nodes, spoken to in raw HTTP: what is refused, why, and that it changes nothing."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import pytest
import trio
import trio.testing
from quart_trio import QuartTrio

from pivot import Config, Key, Server, Storage, setup
from pivot.core.entry import Entry
from pivot.core.messages import PROTOCOL, ROWS_MAX, Ack, Envelope, Message, Push
from pivot.engine.memory import MemoryEngine
from pivot.transport.codec import ENVELOPE_BYTES_MAX, decode, encode
from pivot.transport.http import ENVELOPES_PATH, NDJSON, POST_BYTES_MAX, STREAM_PATH, HttpTransport
from pivot.transport.http_client import HttpClient
from pivot.transport.http_server import add_transport_routes
from pivot.types import Address, Epoch, MemberId, StoreId
from tests.contracts.hosts import FOR_EVER_S, PATIENCE_S, Hosted, hosted, read_to_end, read_until
from tests.contracts.transports import DOWN, HELLO, LEADER, NODE, Recorder, down

EPOCH: Final = Epoch("e1")
ROW: Final = Entry("users/ann", 1, 0, '{"name":"Ann"}', deleted=False, prev=0, origin=StoreId("s1"))


def line_of(body: Message, sender: str = NODE) -> bytes:
    return encode(Envelope(PROTOCOL, MemberId(sender), Address("http://leader"), StoreId("s1"), EPOCH, body))


GOOD: Final = line_of(Push("users/*", 1, EPOCH, 0, (ROW,)))
GREETING: Final = line_of(HELLO)


def with_rows(*rows: Entry) -> bytes:
    return line_of(Push("users/*", 1, EPOCH, 0, rows))


class Leading(Hosted):
    """A running leader."""

    def __init__(self, url: str, server: Server) -> None:
        super().__init__()
        self.url = url
        self.server = server

    async def answer(self, request: bytes) -> tuple[int, str]:
        """Status and reason of the answer to a raw request on a connection of its own."""
        async with await self.connect() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(say, stream, request)
            head, _, body = (await read_until(stream, b"\r\n\r\n")).partition(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head)
            with trio.fail_after(PATIENCE_S):
                while size is not None and len(body) < int(size[1]):
                    body += await stream.receive_some()
            nursery.cancel_scope.cancel()
        return int(head.split()[1]), json.loads(body)["error"] if body.startswith(b"{") else body.decode()

    async def facts(self) -> dict[str, Any]:
        """All that a peer's message could change: the table, the feeds and the peers."""
        status = json.loads((await self.get("/_pivot/status")).partition(b"\r\n\r\n")[2])
        del status["mailboxes"]
        return {**status, "table": self.server.live.stores.own.table()}


async def say(stream: trio.SocketStream, request: bytes) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # a server may answer before it has read all
        await stream.send_all(request)


@asynccontextmanager
async def leading() -> AsyncGenerator[Leading]:
    """A leader of `users/*` that holds nothing, over real sockets."""
    storage = Storage(lambda _: MemoryEngine(store=StoreId("s2"), epoch=EPOCH), called="always the same")
    server = Server(storage, wall=lambda: 10**18)
    setup(server, Config(keys=(Key("users/*"),), name="leader"))
    async with server.running("127.0.0.1:0") as url:
        yield Leading(url, server)


def post(path: str, body: bytes, content_type: str = NDJSON, method: str = "POST") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Type: {content_type}"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def chunked(path: str, body: bytes, size: int = 2**16) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: {NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


# What is refused -----------------------------------------------------------------------------------------------------

MALFORMED: Final[dict[str, tuple[bytes, str]]] = {
    "no JSON": (b"not JSON", "JSON is malformed"),
    "half of it": (GOOD[:-20], "truncated"),
    "not an object": (b"[1]", "Expected `object`, got `array`"),
    "deeply nested": (b'{"version":' + b"[" * 100_000, "got `array`"),
    "followed by something": (GOOD + b" {}", "trailing characters"),
    "invalid UTF-8": (GOOD.replace(b"Ann", b"\xff"), "utf-8"),
    "another encoding": (GOOD.decode().encode("utf-16"), "malformed"),
    "a lone surrogate": (GOOD.replace(b"users/ann", b"\\ud800"), "surrogate"),
    "an unknown version": (GOOD.replace(b'"version":1', b'"version":2'), "message version 2 is not spoken here"),
    "an unknown version of something else": (b'{"version":3,"what":[]}', "message version 3"),
    "a version that is a text": (GOOD.replace(b'"version":1', b'"version":"1"'), "$.version"),
    "a field twice": (GOOD.replace(b'"version":1', b'"version":1,"version":1'), "field 'version' twice"),
    "a field twice in the message": (GOOD.replace(b'"cursor":0', b'"cursor":0,"cursor":0'), "field 'cursor' twice"),
    "a field twice, spelt differently": (GOOD.replace(b'"cursor":0', b'"cursor":0,"curs\\u006fr":0'), "'cursor' twice"),
    "a field missing": (GOOD.replace(b'"store":"s1",', b""), "`store`"),
    "a field too many": (GOOD.replace(b'"version":1', b'"version":1,"colour":1'), "`colour`"),
    "a value of the wrong type": (GOOD.replace(b'"cursor":0', b'"cursor":"0"'), "$.body.cursor"),
    "a number with a fraction": (GOOD.replace(b'"cursor":0', b'"cursor":0.5'), "$.body.cursor"),
    "a number out of range": (GOOD.replace(b'"cursor":0', b'"cursor":1e999'), "$.body.cursor"),
    "an unknown message": (GOOD.replace(b'"push"', b'"shout"'), "'shout'"),
    "a sender that is an address": (line_of(Ack("users/*", EPOCH, 0), "http://elsewhere"), "sender is 'http://elsewhe"),
    "a sender that stands for another": (line_of(Ack("users/*", EPOCH, 0), "2.0:10.0.0.7:80"), "not for peers"),
    "a sender without a name": (line_of(Ack("users/*", EPOCH, 0), ""), "sender is ''"),
    "a sender with a very long name": (line_of(Ack("users/*", EPOCH, 0), "x" * 256), "1 to 255"),
    "a key that is none": (with_rows(Entry("a//b", 1, 0, "1", False, 0, StoreId("s1"))), "'a//b'"),
    "a value that is no JSON": (with_rows(Entry("users/ann", 1, 0, "{", False, 0, StoreId("s1"))), "value"),
    "a row updated before it was made": (with_rows(Entry("users/ann", 5, 4, "1", False, 0, StoreId("s1"))), "updated"),
    "a stamp out of range": (GOOD.replace(b'"users/ann",1', b'"users/ann",' + b"9" * 30), "created is 999"),
    "too many rows": (with_rows(*[ROW] * (ROWS_MAX + 1)), f"at most {ROWS_MAX}"),
    "a line that is too long": (b'"' + b"x" * ENVELOPE_BYTES_MAX + b'"', f"at most {ENVELOPE_BYTES_MAX}"),
}


@pytest.mark.parametrize("path", [ENVELOPES_PATH, STREAM_PATH])
async def test_a_body_is_refused_by_name_and_changes_nothing_when_it_is_malformed(path: str) -> None:
    async with leading() as leader:
        before = await leader.facts()
        for name, (body, words) in MALFORMED.items():
            status, reason = await leader.answer(post(path, body))
            assert status == 400, (name, reason)
            assert words in reason, name
            assert "\n" not in reason, name
            assert await leader.facts() == before, name


async def test_nothing_of_a_post_is_taken_when_one_of_its_lines_is_malformed() -> None:
    async with leading() as leader:
        before = await leader.facts()
        body = b"\n".join([GREETING, GOOD, MALFORMED["a field twice"][0], GOOD])
        assert (await leader.answer(post(ENVELOPES_PATH, body)))[0] == 400
        await trio.testing.wait_all_tasks_blocked()
        assert await leader.facts() == before


@pytest.mark.parametrize(
    ("body", "words"),
    [(GOOD, "begins with a hello"), (GREETING + b"\n" + GREETING, "trailing"), (b"", "truncated")],
)
async def test_a_stream_is_refused_when_it_does_not_begin_with_one_greeting(body: bytes, words: str) -> None:
    async with leading() as leader:
        before = await leader.facts()
        status, reason = await leader.answer(post(STREAM_PATH, body))
        assert status == 400
        assert words in reason
        assert await leader.facts() == before


@pytest.mark.parametrize("path", [ENVELOPES_PATH, STREAM_PATH])
async def test_a_body_is_refused_with_its_limit_when_it_is_too_long(path: str) -> None:
    async with leading() as leader:
        before = await leader.facts()
        status, reason = await leader.answer(chunked(path, GOOD.ljust(POST_BYTES_MAX + 1, b"\n")))
        assert status == 413
        assert str(POST_BYTES_MAX) in reason
        assert await leader.facts() == before


async def test_a_body_is_refused_before_it_is_sent_when_its_length_says_that_it_is_too_long() -> None:
    length = f"Content-Length: {POST_BYTES_MAX + 1}"
    head = f"POST {ENVELOPES_PATH} HTTP/1.1\r\nHost: test\r\nContent-Type: {NDJSON}\r\n{length}\r\n\r\n"
    async with leading() as leader:
        status, reason = await leader.answer(head.encode())
        assert status == 413
        assert str(POST_BYTES_MAX) in reason


@pytest.mark.parametrize("path", [ENVELOPES_PATH, STREAM_PATH])
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_is_refused_when_it_does_not_say_that_it_is_envelopes(path: str, content_type: str) -> None:
    """Such as one that a web page made a browser send."""
    async with leading() as leader:
        before = await leader.facts()
        status, reason = await leader.answer(post(path, GREETING, content_type))
        assert status == 415
        assert repr(content_type) in reason
        assert NDJSON in reason
        assert await leader.facts() == before


@pytest.mark.parametrize("path", [ENVELOPES_PATH, STREAM_PATH])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_a_request_is_refused_when_its_method_is_not_post(path: str, method: str) -> None:
    async with leading() as leader:
        before = await leader.facts()
        status, reason = await leader.answer(post(path, GREETING, method=method))
        assert 400 <= status < 500
        assert reason
        assert await leader.facts() == before


@pytest.mark.parametrize("path", [ENVELOPES_PATH, STREAM_PATH])
@pytest.mark.parametrize("cut", [1, len(GREETING)])
async def test_nothing_is_taken_when_a_client_leaves_within_its_body(path: str, cut: int) -> None:
    async with leading() as leader:
        before = await leader.facts()
        async with await leader.connect() as stream:
            await stream.send_all(post(path, GREETING)[:-cut])
            await stream.send_eof()
            answer = await read_to_end(stream)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert await leader.facts() == before


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2", "1e3"])
async def test_a_request_is_refused_when_its_length_is_no_number(length: str) -> None:
    head = f"POST {ENVELOPES_PATH} HTTP/1.1\r\nHost: test\r\nContent-Type: {NDJSON}\r\nContent-Length: {length}\r\n\r\n"
    async with leading() as leader:
        before = await leader.facts()
        assert (await leader.answer(head.encode() + GREETING))[0] == 400
        assert await leader.facts() == before


# What is taken -------------------------------------------------------------------------------------------------------


async def test_a_push_is_taken_when_it_follows_a_greeting() -> None:
    """The control of all the above: this changes what they look at."""
    async with leading() as leader, await leader.connect() as stream:
        before = await leader.facts()
        await stream.send_all(post(STREAM_PATH, GREETING))
        await read_until(stream, b'"welcome"')
        assert (await leader.answer(post(ENVELOPES_PATH, GOOD)))[0] == 204
        await read_until(stream, b'"push_ack"')
        after = await leader.facts()
        assert after["table"] == {"users/ann": ROW}
        assert [peer["address"] for peer in after["peers"]] == [NODE]
        assert after["collections"] != before["collections"]


async def test_a_push_changes_nothing_and_the_leader_lives_when_its_sender_never_greeted() -> None:
    async with leading() as leader:
        before = await leader.facts()
        for sender in ("stranger", "httpd", "host:80"):
            body = line_of(Push("users/*", 1, EPOCH, 0, (ROW,)), sender)
            assert (await leader.answer(post(ENVELOPES_PATH, body)))[0] == 204
            await trio.testing.wait_all_tasks_blocked()
            assert await leader.facts() == before


# The stream ----------------------------------------------------------------------------------------------------------


async def test_a_stream_ends_when_its_node_greets_again_elsewhere() -> None:
    async with leading() as leader, await leader.connect() as old, await leader.connect() as new:
        await old.send_all(post(STREAM_PATH, GREETING))
        await read_until(old, b'"welcome"')
        await new.send_all(post(STREAM_PATH, GREETING))
        await read_until(new, b'"welcome"')
        await read_until(old, b"0\r\n\r\n")


class Talkative(Recorder):
    """Answers every greeting with several envelopes at once."""

    def __init__(self, transport: HttpTransport) -> None:
        super().__init__()
        self._transport = transport
        transport.attach(self)

    def receive(self, envelope: Envelope, via: Address) -> None:
        super().receive(envelope, via)
        for body in DOWN:
            self._transport.send(down(body, via))


async def test_all_that_is_queued_is_one_chunk_when_the_reader_comes_to_it() -> None:
    async with HttpClient() as client, trio.open_nursery() as nursery:
        transport = HttpTransport(client, leaders=[], silence_s=FOR_EVER_S)
        Talkative(transport)
        await nursery.start(transport.run)
        app = QuartTrio("stream")
        add_transport_routes(app, transport)
        async with hosted(app, grace_s=0.1) as server, await server.connect() as stream:
            await stream.send_all(post(STREAM_PATH, GREETING))
            head, _, rest = (await read_until(stream, b"push_ack")).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert NDJSON.encode() in head
            size, _, chunk = rest.partition(b"\r\n")
            with trio.fail_after(PATIENCE_S):
                while len(chunk) < int(size, 16):
                    chunk += await stream.receive_some()
            lines = chunk[: int(size, 16)].splitlines()
            assert [decode(line) for line in lines] == [down(body) for body in DOWN]
            assert decode(lines[0]).sender == LEADER
            transport.close_downlinks()
            await read_until(stream, b"0\r\n\r\n")
        nursery.cancel_scope.cancel()
