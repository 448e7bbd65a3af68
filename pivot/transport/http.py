"""HttpTransport: carries envelopes over HTTP/1.1; a node's connection to its leader, and a leader's to its nodes.

Layer: transport. Theory of operation:

A node comes to its leader, so nodes behind NAT work. Its Hello opens one long-lived request, `POST /_pivot/stream`,
whose response is NDJSON, one envelope a line, everything that is queued in one chunk. What the node has to say
otherwise is posted, again all that is queued at once, to `/_pivot/envelopes`. A later Hello opens a new stream instead
of the old one.

    send to our leader's URL   ->  Uplink: Hello opens the stream, the rest is queued and posted
    send to a member id        ->  queued for that member's open stream, or lost when it has none

Nothing waits and everything is bounded: a full queue ends its connection, and the protocol resumes from its cursors.
Whoever loses a connection hears `link_lost`. Start at `HttpTransport.send`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, final

import trio

from pivot.core.messages import Envelope, Hello
from pivot.errors import PeerError, RefusedError, TransportError
from pivot.transport.base import Receiver
from pivot.transport.codec import ENVELOPE_BYTES_MAX, decode, encode
from pivot.transport.http_client import HttpClient
from pivot.types import Address, MemberId

STREAM_PATH: Final = "/_pivot/stream"
ENVELOPES_PATH: Final = "/_pivot/envelopes"
POST_BYTES_MAX: Final = 2 * ENVELOPE_BYTES_MAX
"""Longest body of one post of envelopes."""
QUEUE_BYTES_MAX: Final = 32 * 2**20
"""Most bytes that wait for one peer."""
QUEUE_LINES_MAX: Final = 10_000
"""Most envelopes that wait for one peer."""


@final
class LineQueue:
    """Encoded envelopes that wait for one peer."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._closed = False
        self._woken = trio.Event()

    def put(self, line: bytes) -> bool:
        """Add a line unless the queue is full; says whether it was added."""
        if len(self._lines) >= QUEUE_LINES_MAX or self._size + len(line) > QUEUE_BYTES_MAX:
            return False
        self._lines.append(line)
        self._size += len(line) + 1
        self._woken.set()
        return True

    def close(self) -> None:
        """End `chunks`; what waits is lost."""
        self._closed = True
        self._woken.set()

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
        self, url: Address, *, client: HttpClient, receiver: Receiver, nursery: trio.Nursery, silence_s: float
    ) -> None:
        """Begin without a stream.

        Args:
            url: the leader's address.
            client: makes the requests.
            receiver: who takes what comes in.
            nursery: in which the requests run.
            silence_s: a stream that says nothing for so long is given up.
        """
        self._url = url
        self._client = client
        self._receiver = receiver
        self._nursery = nursery
        self._silence_s = silence_s
        self._queue = LineQueue()
        self._stream = trio.CancelScope()
        nursery.start_soon(self._post)

    def send(self, envelope: Envelope) -> None:
        """Post an envelope, or open a new stream with it when it is a Hello."""
        line = encode(envelope)
        if isinstance(envelope.body, Hello):
            self._stream.cancel()
            self._stream = trio.CancelScope()
            self._nursery.start_soon(self._read, line, self._stream)
        elif not self._queue.put(line):
            self._receiver.link_lost(
                self._url, f"{QUEUE_LINES_MAX} envelopes or {QUEUE_BYTES_MAX} bytes wait to be posted"
            )

    async def _read(self, hello: bytes, scope: trio.CancelScope) -> None:
        """Open the stream with a Hello and take envelopes from it until it ends."""
        reason = "the leader ended the stream"
        with scope:
            try:
                async with self._client.stream_lines(
                    "POST", self._url + STREAM_PATH, content=hello, silence_s=self._silence_s
                ) as lines:
                    async for line in lines:
                        self._receiver.receive(decode(line), self._url)
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
                    response = await self._client.request("POST", self._url + ENVELOPES_PATH, content=chunk)
                except TransportError as error:
                    self._receiver.link_lost(self._url, str(error))
                    continue
                if response.status >= 300:
                    reason = response.body[:200].decode(errors="replace").strip()
                    self._receiver.link_lost(self._url, f"the leader answered {response.status}: {reason}")


@final
class HttpTransport:
    """One member's way to the others, both as a node and as a leader. Runs with `run`."""

    def __init__(self, client: HttpClient, *, silence_s: float) -> None:
        """Begin unconnected.

        Args:
            client: makes the requests.
            silence_s: a stream that says nothing for so long is given up.
        """
        self._client = client
        self._silence_s = silence_s
        self._receiver: Receiver | None = None
        self._nursery: trio.Nursery | None = None
        self._uplinks: dict[Address, Uplink] = {}
        self._downlinks: dict[MemberId, LineQueue] = {}

    def attach(self, receiver: Receiver) -> None:
        """See `Transport.attach`."""
        self._receiver = receiver

    def send(self, envelope: Envelope) -> None:
        """See `Transport.send`; before and after `run` everything is lost."""
        target = envelope.target
        downlink = self._downlinks.get(MemberId(target))
        if downlink is not None:
            if not downlink.put(encode(envelope)):
                downlink.close()
        elif target.startswith("http") and self._nursery is not None:
            uplink = self._uplinks.get(target)
            if uplink is None:
                assert self._receiver is not None, "attach comes before send"
                uplink = self._uplinks[target] = Uplink(
                    target,
                    client=self._client,
                    receiver=self._receiver,
                    nursery=self._nursery,
                    silence_s=self._silence_s,
                )
            uplink.send(envelope)

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
        """End the streams to our nodes, so that they come again, or go elsewhere."""
        for downlink in self._downlinks.values():
            downlink.close()

    # The server's side (called by `http_server`) ------------------------------------------------------------------

    def deliver(self, envelope: Envelope) -> None:
        """Hand a node's envelope to the member."""
        assert self._receiver is not None, "attach comes before receive"
        self._receiver.receive(envelope, Address(envelope.sender))

    async def stream(self, hello: Envelope) -> AsyncGenerator[bytes, None]:
        """The response to a node's Hello: everything for that member, until its next Hello or either side ends it."""
        assert self._receiver is not None, "attach comes before stream"
        queue = LineQueue()
        before = self._downlinks.get(hello.sender)
        self._downlinks[hello.sender] = queue
        if before is not None:
            before.close()
        self.deliver(hello)
        try:
            async with aclosing(queue.chunks(QUEUE_BYTES_MAX)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            if self._downlinks.get(hello.sender) is queue:
                del self._downlinks[hello.sender]
                self._receiver.link_lost(Address(hello.sender), "its stream has ended")
