"""The trace: what the world did, as a rolling hash (always) and as records (when asked to keep them).

Layer: simulator/world. Start at `Trace.record`. Two runs are the same run exactly when their hashes are equal.

The hash runs over the msgpack encoding of every event: one call in C, and no two different events encode alike.
"""

from hashlib import blake2b
from typing import Final, Literal, TypeAlias, final

import msgspec

Kind: TypeAlias = Literal[
    "sent",  # a member handed a message to the network
    "duplicated",  # the network made one more copy of it
    "delivered",  # a copy reached its target
    "held",  # a copy waits until the link is released
    "corrupted",  # a copy is under way with another content
    "lost",  # a copy will not; `why` says why
    "cut",  # one more cause cuts the link member -> peer
    "healed",  # that cause no longer does
    "started",  # a member began to live
    "stopped",  # it ended in good order
    "crashed",  # it ended in no order
    "paused",  # it stands still
    "resumed",  # it goes on
    "fault",  # the nemesis did something else
    "op",  # a client's operation began or ended
    "state",  # a fact about a member's state
]
"""All kinds of events: the one place where they are named."""

LossReason: TypeAlias = Literal["cut", "reset", "loss", "queue", "no link", "down", "sender down", "overflow"]
"""Why a message was lost: the link is cut; its connection was reset; bad luck; the queue of a narrow link is full;
there is no link; the target does not run (or is another incarnation than when it was sent); the sender no longer runs;
too many messages are in flight."""

_FLUSH_BYTES: Final = 2**15
"""Hashing in big pieces is cheaper, and the same hash."""


@final
class TraceEvent(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened.

    Attributes:
        time_ns: virtual time.
        seq: number of the event in its trace, from 0.
        kind: see `Kind`.
        member: whose event it is: the sender of a message (also when it is delivered or lost), the source of a link.
        peer: the other side, else empty.
        label: what it was, in a word: a message's type, a cut's name.
        why: reason of a loss, details of a fault.
        size: bytes of the payload.
        message: `seq` of the "sent" event of the message that this is about; -1 when there is none.
        payload: what the event is about, in bytes; a message's is with its "sent" event alone.
    """

    time_ns: int
    seq: int
    kind: Kind
    member: str
    peer: str
    label: str
    why: str
    size: int
    message: int
    payload: bytes

    def __str__(self) -> str:
        """In one line, for people."""
        who = f"{self.member} -> {self.peer}" if self.peer else self.member
        what = " ".join(filter(None, (self.label, self.why and f"({self.why})")))
        of = f" of #{self.message}" if self.message >= 0 else ""
        size = f", {self.size} bytes" if self.size else ""
        return f"#{self.seq} {self.time_ns / 1e9:.9f} s  {self.kind}{of}: {who} {what}{size}"


@final
class Trace:
    """Takes down what happens.

    Attributes:
        count: events so far.
        keep: whether records are kept (memory grows with the run), not only the hash.
    """

    __slots__ = ("_buffer", "_encode_into", "_events", "_hash", "count", "keep")

    def __init__(self, *, keep: bool = False) -> None:
        self.count = 0
        self.keep = keep
        self._events: list[TraceEvent] = []
        self._hash = blake2b(digest_size=16)
        self._buffer = bytearray()
        self._encode_into = msgspec.msgpack.Encoder().encode_into

    def record(
        self,
        time_ns: int,
        kind: Kind,
        member: str,
        peer: str = "",
        *,
        label: str = "",
        why: str = "",
        payload: bytes = b"",
        size: int = 0,
        message: int = -1,
    ) -> int:
        """Take down one event; the hash covers all of it. Returns its `seq`.

        Only a "sent" event needs the payload: later ones of that message name its `message` and `size`.
        """
        seq = self.count
        self.count = seq + 1
        buffer = self._buffer
        self._encode_into((time_ns, seq, kind, member, peer, label, why, payload, size, message), buffer, -1)
        if len(buffer) > _FLUSH_BYTES:
            self._hash.update(buffer)
            buffer.clear()
        if self.keep:
            size = len(payload) or size
            self._events.append(TraceEvent(time_ns, seq, kind, member, peer, label, why, size, message, payload))
        return seq

    @property
    def hash(self) -> str:
        """32 hex digits over every event so far; asking does not change it."""
        self._hash.update(self._buffer)
        self._buffer.clear()
        return self._hash.hexdigest()

    @property
    def events(self) -> tuple[TraceEvent, ...]:
        """Every event so far when `keep`, else none."""
        return tuple(self._events)
