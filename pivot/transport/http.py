"""HttpTransport: carries envelopes over HTTP/1.1; a node's connection to its leader, and a leader's to its nodes.

Layer: transport. Theory of operation:

A node comes to its leader, so nodes behind NAT work. Its Hello opens one long-lived request, `POST /_pivot/stream`,
whose response is NDJSON, one envelope a line, everything that is queued in one chunk. What the node has to say
otherwise is posted, again all that is queued at once, to `/_pivot/envelopes`. A later Hello opens a new stream instead
of the old one.

    send to a leader's URL     ->  Uplink: Hello opens the stream, the rest is queued and posted
    send to anybody else       ->  queued for that member's open stream, or lost when it has none

So a peer that calls itself by an address cannot make us send requests there. Nodes whose leader is away ask each other,
and for that need no connection that lasts: a Peek is one request, `POST /_pivot/peek`, its response the Glimpse.

Nothing waits and everything is bounded: a full queue ends its connection, and the protocol resumes from its cursors.
Whoever loses a connection hears `link_lost`; what is lost on our side is counted. Start at `HttpTransport.send`.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from http import HTTPStatus
from typing import Final, final

import msgspec
import trio

from pivot.core.messages import Envelope, Glimpse, Hello, Peek
from pivot.errors import PeerError, RefusedError, TransportError
from pivot.transport.base import Receiver
from pivot.transport.codec import ENVELOPE_BYTES_MAX, decode, encode
from pivot.transport.http_client import HttpClient, one_line
from pivot.types import Address, MemberId

STREAM_PATH: Final = "/_pivot/stream"
ENVELOPES_PATH: Final = "/_pivot/envelopes"
PEEK_PATH: Final = "/_pivot/peek"
NDJSON: Final = "application/x-ndjson"
POST_BYTES_MAX: Final = 2 * ENVELOPE_BYTES_MAX
"""Longest body of one post of envelopes."""
QUEUE_BYTES_MAX: Final = 32 * 2**20
"""Most bytes that wait for one peer."""
QUEUE_LINES_MAX: Final = 10_000
"""Most envelopes that wait for one peer."""
PEEKS_MAX: Final = 100
"""Most peeks under way, and as many of others that wait for our answer."""
PEEK_S: Final = 5.0
"""Longest that a peek may take."""

# Why envelopes are lost.
NO_STREAM: Final = "no stream"  # for a member that is not connected
NOT_RUNNING: Final = "not running"
FULL: Final = "queue full"
ENDED: Final = "stream ended"  # they waited for it
UNREACHABLE: Final = "unreachable"
REFUSED: Final = "refused"

_HEADERS: Final = {"content-type": NDJSON}
_FULL_REASON: Final = f"{QUEUE_LINES_MAX} envelopes or {QUEUE_BYTES_MAX} bytes wait already"


class HttpStatistics(msgspec.Struct, frozen=True):
    """What a transport did since it began.

    Attributes:
        sent: envelopes it was given.
        received: envelopes it handed to its member.
        lost: envelopes it knows to be lost, by reason; those on a connection that broke are not known.
        waiting: envelopes queued now, for all peers.
        downlinks: nodes whose streams are open.
    """

    sent: int
    received: int
    lost: dict[str, int]
    waiting: int
    downlinks: int


@final
class Tally:
    """Counts for `HttpStatistics`."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.lost: dict[str, int] = {}

    def lose(self, why: str, count: int = 1) -> None:
        """Count lost envelopes."""
        if count:
            self.lost[why] = self.lost.get(why, 0) + count


@final
class LineQueue:
    """Encoded envelopes that wait for one peer."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._closed = False
        self._woken = trio.Event()

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, line: bytes) -> bool:
        """Add a line unless the queue is full or closed; says whether it was added."""
        if self._closed or len(self._lines) >= QUEUE_LINES_MAX or self._size + len(line) > QUEUE_BYTES_MAX:
            return False
        self._lines.append(line)
        self._size += len(line) + 1
        self._woken.set()
        return True

    def close(self) -> int:
        """End `chunks`; what waits is lost, says how many lines."""
        self._closed = True
        self._woken.set()
        lost, self._lines, self._size = len(self._lines), [], 0
        return lost

    async def chunks(self, bytes_max: int) -> AsyncGenerator[bytes, None]:
        """Everything that waits, as few chunks as `bytes_max` allows, each line with its newline; until closed."""
        while True:
            await self._woken.wait()
            if self._closed:
                return
            count, size = 0, 0
            for line in self._lines:
                if count and size + len(line) + 1 > bytes_max:
                    break
                count, size = count + 1, size + len(line) + 1
            taken, self._lines = self._lines[:count], self._lines[count:]
            self._size -= size
            if not self._lines:
                self._woken = trio.Event()
            yield b"\n".join([*taken, b""])


@final
class Uplink:
    """A node's connection to its leader."""

    def __init__(
        self,
        url: Address,
        *,
        client: HttpClient,
        receiver: Receiver,
        tally: Tally,
        nursery: trio.Nursery,
        silence_s: float,
    ) -> None:
        """Begin without a stream.

        Args:
            url: the leader's address.
            client: makes the requests.
            receiver: who takes what comes in.
            tally: counts what becomes of envelopes.
            nursery: in which the requests run.
            silence_s: a stream that says nothing for so long is given up.
        """
        self._url = url
        self._client = client
        self._receiver = receiver
        self._tally = tally
        self._nursery = nursery
        self._silence_s = silence_s
        self._queue = LineQueue()
        self._stream = trio.CancelScope()
        nursery.start_soon(self._post)

    @property
    def waiting(self) -> int:
        """How many envelopes wait to be posted."""
        return len(self._queue)

    def send(self, envelope: Envelope) -> None:
        """Post an envelope, or open a new stream with it when it is a Hello."""
        line = encode(envelope)
        if isinstance(envelope.body, Hello):
            self._stream.cancel()
            self._stream = trio.CancelScope()
            self._nursery.start_soon(self._read, line, self._stream)
        elif not self._queue.put(line):
            self._tally.lose(FULL)
            self._receiver.link_lost(self._url, _FULL_REASON)

    async def _read(self, hello: bytes, scope: trio.CancelScope) -> None:
        """Open the stream with a Hello and take envelopes from it until it ends."""
        reason = "the leader ended the stream"
        with scope:
            try:
                async with self._client.stream_lines(
                    "POST", self._url + STREAM_PATH, content=hello, headers=_HEADERS, silence_s=self._silence_s
                ) as lines:
                    async for line in lines:
                        envelope = decode(line)
                        self._tally.received += 1
                        self._receiver.receive(envelope, self._url)
            except RefusedError as error:
                reason = f"the leader answered {error.status}: {error.reason}"
            except (TransportError, PeerError) as error:
                reason = str(error)
            if self._stream is scope:
                self._receiver.link_lost(self._url, reason)

    async def _post(self) -> None:
        """Post what is queued, in order; what cannot be posted is lost, and the receiver hears of it."""
        async with aclosing(self._queue.chunks(POST_BYTES_MAX)) as chunks:
            async for chunk in chunks:
                try:
                    response = await self._client.request(
                        "POST", self._url + ENVELOPES_PATH, content=chunk, headers=_HEADERS
                    )
                except TransportError as error:
                    self._tally.lose(UNREACHABLE, chunk.count(b"\n"))
                    self._receiver.link_lost(self._url, str(error))
                    continue
                if response.status >= 300:
                    self._tally.lose(REFUSED, chunk.count(b"\n"))
                    reason = f"the leader answered {response.status}: {one_line(response.body)}"
                    self._receiver.link_lost(self._url, reason)


@final
class HttpTransport:
    """One member's way to the others, both as a node and as a leader. Runs with `run`."""

    def __init__(self, client: HttpClient, *, leaders: Iterable[Address], silence_s: float) -> None:
        """Begin unconnected.

        Args:
            client: makes the requests.
            leaders: URLs of those we follow; nobody else is ever called.
            silence_s: a stream that says nothing for so long is given up.
        """
        self._client = client
        self._leaders = dict.fromkeys(leaders)
        self._silence_s = silence_s
        self._receiver: Receiver | None = None
        self._nursery: trio.Nursery | None = None
        self._uplinks: dict[Address, Uplink] = {}
        self._downlinks: dict[MemberId, LineQueue] = {}
        self._peeking = 0
        self._peeks: dict[tuple[MemberId, int], LineQueue] = {}
        self._tally = Tally()

    def attach(self, receiver: Receiver) -> None:
        """See `Transport.attach`."""
        self._receiver = receiver

    def send(self, envelope: Envelope) -> None:
        """See `Transport.send`; before and after `run` everything is lost."""
        target = envelope.target
        self._tally.sent += 1
        downlink = self._downlinks.get(MemberId(target))
        if isinstance(envelope.body, Glimpse):
            downlink = self._peeks.get((MemberId(target), envelope.body.ordinal))
        if self._nursery is None:
            self._tally.lose(NOT_RUNNING)
        elif isinstance(envelope.body, Peek):
            self._send_peek(envelope, self._nursery)
        elif target in self._leaders:
            self._uplink(target, self._nursery).send(envelope)
        elif downlink is None:
            self._tally.lose(NO_STREAM)
        elif not downlink.put(encode(envelope)):
            self._tally.lose(FULL)
            self.end(MemberId(target), downlink, _FULL_REASON)

    def _send_peek(self, envelope: Envelope, nursery: trio.Nursery) -> None:
        if self._peeking >= PEEKS_MAX:
            self._tally.lose(FULL)
        else:
            self._peeking += 1
            nursery.start_soon(self._peek, envelope)

    async def _peek(self, envelope: Envelope) -> None:
        """Ask another node; whoever asks hears nothing when that fails, and asks again."""
        assert self._receiver is not None, "attach comes before send"
        url, line = envelope.target, encode(envelope)
        try:
            response = await self._client.request(
                "POST", url + PEEK_PATH, content=line, headers=_HEADERS, timeout_s=PEEK_S
            )
            if response.status == HTTPStatus.OK:
                glimpse = decode(response.body.strip())
                self._tally.received += 1
                self._receiver.receive(glimpse, url)
            else:
                self._tally.lose(REFUSED)
        except (TransportError, PeerError):
            self._tally.lose(UNREACHABLE)
        finally:
            self._peeking -= 1

    def _uplink(self, leader: Address, nursery: trio.Nursery) -> Uplink:
        uplink = self._uplinks.get(leader)
        if uplink is None:
            assert self._receiver is not None, "attach comes before send"
            uplink = self._uplinks[leader] = Uplink(
                leader,
                client=self._client,
                receiver=self._receiver,
                tally=self._tally,
                nursery=nursery,
                silence_s=self._silence_s,
            )
        return uplink

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry envelopes until cancelled; open streams end then."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self._uplinks.clear()
                self.close_downlinks()

    def close_downlinks(self) -> None:
        """End the streams to our nodes, so that they come again, or go elsewhere.

        Our member, which is about to stop, hears of no lost links.
        """
        for downlink in self._downlinks.values():
            self._tally.lose(ENDED, downlink.close())
        self._downlinks.clear()

    def statistics(self) -> HttpStatistics:
        """What it did so far."""
        return HttpStatistics(
            sent=self._tally.sent,
            received=self._tally.received,
            lost=dict(self._tally.lost),
            waiting=sum(map(len, self._downlinks.values())) + sum(link.waiting for link in self._uplinks.values()),
            downlinks=len(self._downlinks),
        )

    # The server's side (called by `http_server`) ------------------------------------------------------------------

    def deliver(self, envelope: Envelope) -> None:
        """Hand a node's envelope to the member."""
        assert self._receiver is not None, "attach comes before receive"
        self._tally.received += 1
        self._receiver.receive(envelope, Address(envelope.sender))

    def open(self, hello: Envelope, queue: LineQueue) -> None:
        """Let what is for a node that says Hello go into this queue, and hand the Hello to the member."""
        before = self._downlinks.get(hello.sender)
        self._downlinks[hello.sender] = queue
        if before is not None:
            self._tally.lose(ENDED, before.close())
        self.deliver(hello)

    async def answer_peek(self, envelope: Envelope, ordinal: int) -> bytes:
        """The response to another node's Peek: its Glimpse; empty when our member gives none, or not in time."""
        key = (envelope.sender, ordinal)
        if len(self._peeks) >= PEEKS_MAX or key in self._peeks:
            return b""
        queue = self._peeks[key] = LineQueue()
        try:
            self.deliver(envelope)
            async with aclosing(queue.chunks(QUEUE_BYTES_MAX)) as chunks:
                with trio.move_on_after(PEEK_S):
                    return await anext(chunks)
            return b""
        finally:
            del self._peeks[key]

    def end(self, member: MemberId, downlink: LineQueue, reason: str) -> None:
        """End a stream; unless it was replaced by another, our member hears that the link is lost."""
        self._tally.lose(ENDED, downlink.close())
        if self._downlinks.get(member) is downlink:
            del self._downlinks[member]
            assert self._receiver is not None, "attach comes before stream"
            self._receiver.link_lost(Address(member), reason)


async def stream(transports: Iterable[HttpTransport], hello: Envelope) -> AsyncGenerator[bytes, None]:
    """The response to a node's Hello: all that these have for that member, until its next Hello or either end's."""
    queue, open_at = LineQueue(), tuple(transports)
    for transport in open_at:
        transport.open(hello, queue)
    try:
        async with aclosing(queue.chunks(QUEUE_BYTES_MAX)) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        for transport in open_at:
            transport.end(hello.sender, queue, "its stream has ended")
