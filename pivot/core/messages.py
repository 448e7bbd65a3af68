"""Messages: what members say to each other. One-way; any of them may be lost, repeated or reordered.

Layer: core (pure). Every message can be repeated without harm and is only believed together with the epoch it names:

    node                                    leader
    Hello ------------------------------->          who I am, what I follow
          <------------------------------- Welcome  (or Refused, with the reason)
    Subscribe(epoch, cursor) ------------->         per collection: where I am
          <------------------------------- Reset    that epoch is not mine now: this much of it is; offer me the rest
          <------------------------------- Gone     tombstones after that cursor were collected: read all again
          <------------------------------- Page     rows after `since`; applied only if it starts at the cursor
    Ack(epoch, cursor) ------------------->         opens the window; repeated as a sign of life
    Push(epoch, cursor, rows) ------------>         what you have not confirmed, and how much of you I had seen
          <------------------------------- PushAck  per row: the version and the number under which it is kept
          <------------------------------- Stale    what you had seen is too little to judge those rows: Gone
    Digest(sums) ------------------------->         I have everything of yours, and yet another digest
          <------------------------------- Repair   all of mine in the buckets that differ; offer me yours

    node                                    another node of the same leader
    Peek(position) ----------------------->         our leader is away: what do you have that I lack?
          <------------------------------- Glimpse  that, and how much of our leader I have seen

Start at `Message`; `Envelope` is what a transport carries.
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from pivot.core.entry import Entry
from pivot.types import Address, Epoch, MemberId, StoreId

PROTOCOL: Final = 1
"""Version of these messages; members agree on one that both know."""
ROWS_MAX: Final = 1000
"""Most rows one message may carry, whatever a peer's configuration says."""
COLLECTIONS_MAX: Final = 10_000
"""Most collections one Hello may name."""
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A place in a feed, or how many there were; what an engine can keep."""


class Hello(msgspec.Struct, frozen=True, gc=False, tag="hello", tag_field="type", forbid_unknown_fields=True):
    """A node asks to follow.

    Attributes:
        protocol: lowest and highest message version the node speaks.
        cluster: id of its cluster; empty matches any.
        wall_ns: its wall clock.
        collections: configured keys it wants to follow.
        joins: whether it was told to follow a leader of another cluster, too.
    """

    protocol: tuple[int, int]
    cluster: str
    wall_ns: int
    collections: tuple[str, ...]
    joins: bool = False


class Welcome(msgspec.Struct, frozen=True, gc=False, tag="welcome", tag_field="type", forbid_unknown_fields=True):
    """The leader lets a node in.

    Attributes:
        protocol: message version to use.
        cluster: as in `Hello`.
        wall_ns: the leader's wall clock.
        collections: those of the node's that this member leads.
    """

    protocol: int
    cluster: str
    wall_ns: int
    collections: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True, gc=False, tag="refused", tag_field="type", forbid_unknown_fields=True):
    """The leader does not let a node in, and why."""

    reason: str


class Subscribe(
    msgspec.Struct,
    frozen=True,
    gc=False,
    tag="subscribe",
    tag_field="type",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """Send me what comes after `cursor` of your life `epoch`.

    Attributes:
        collection: which one.
        epoch: the leader's life the node believes in.
        cursor: where to start; within a re-sync a position of its own, which says nothing about what the node has.
        resync: whether all is read again, because collected tombstones were missed.
    """

    collection: str
    epoch: Epoch
    cursor: Number
    resync: bool = False


class Reset(
    msgspec.Struct,
    frozen=True,
    gc=False,
    tag="reset",
    tag_field="type",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """You spoke of a life that is not mine, or not any more.

    Attributes:
        collection: which one.
        answers: epoch the node named; the answer counts only while the node is still there.
        epoch: the leader's own.
        kept: up to this number the life that the node named is the beginning of the leader's own; see `lineage`.
    """

    collection: str
    answers: Epoch
    epoch: Epoch
    kept: Number = 0


class Page(
    msgspec.Struct, frozen=True, gc=False, tag="page", tag_field="type", forbid_unknown_fields=True, omit_defaults=True
):
    """A piece of the leader's feed; an empty one is a heartbeat.

    Attributes:
        since: where it starts (exclusive); a reader applies it only from exactly there.
        entries: versions in feed order, each key once.
        seqs: the leader's number of each entry.
        next: where it ends (inclusive).
        head: end of the feed when it was read.
        floor: tombstones up to here were collected when it was read.
        collected: greatest stamp of one of them, ns.
        clock: greatest stamp the leader has issued or seen, or its wall clock if that is later, ns.
        resync: whether it belongs to a re-sync.
        digest: of all live rows at `next`, on a heartbeat at the end of the feed; empty = not told.
    """

    collection: str
    epoch: Epoch
    since: Number
    entries: tuple[Entry, ...]
    seqs: tuple[Number, ...]
    next: Number
    head: Number
    floor: Number = 0
    collected: Number = 0
    clock: Number = 0
    resync: bool = False
    digest: str = ""


class Ack(
    msgspec.Struct, frozen=True, gc=False, tag="ack", tag_field="type", forbid_unknown_fields=True, omit_defaults=True
):
    """I have kept everything up to `cursor`; within a re-sync that only opens the window."""

    collection: str
    epoch: Epoch
    cursor: Number
    resync: bool = False


class Gone(msgspec.Struct, frozen=True, gc=False, tag="gone", tag_field="type", forbid_unknown_fields=True):
    """Tombstones up to `floor` of my life `epoch` were collected; who is behind it reads everything again."""

    collection: str
    epoch: Epoch
    floor: Number
    collected: Number


class RowRefused(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """A filter of the leader does not want this key's version, and why; if it is not final, it may come again."""

    key: str
    reason: str
    final: bool = True


class Push(
    msgspec.Struct, frozen=True, gc=False, tag="push", tag_field="type", forbid_unknown_fields=True, omit_defaults=True
):
    """Versions that the leader has not confirmed.

    Attributes:
        ordinal: the sender's number of this push, so that the answer says which one it answers.
        epoch: the leader's life the sender believes in when it builds the push.
        cursor: how much of that life it had seen.
        refused: those that filters of the leader do not want; what the sender says here does not count.
    """

    collection: str
    ordinal: Number
    epoch: Epoch
    cursor: Number
    entries: tuple[Entry, ...]
    refused: tuple[RowRefused, ...] = ()


class RowAck(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """The leader holds this version of a key or a greater one, under its number `seq`."""

    key: str
    fingerprint: str
    seq: Number


class RowRejected(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """The leader did not take this version.

    Attributes:
        key: which one.
        fingerprint: of the version.
        reason: why, one line.
        ahead: whether its stamp is too far in the leader's future; then it may come again under another.
        held: stamp of the version of the key that the leader holds; 0 = none.
        final: whether it will not be taken however often it comes: a filter does not want it.
        instead: what the leader holds, when it is final; None = nothing.
        seq: the leader's number of that.
    """

    key: str
    fingerprint: str
    reason: str
    ahead: bool = False
    held: Number = 0
    final: bool = False
    instead: Entry | None = None
    seq: Number = 0


class PushAck(msgspec.Struct, frozen=True, gc=False, tag="push_ack", tag_field="type", forbid_unknown_fields=True):
    """Answer to one push, sent after its rows were committed."""

    collection: str
    ordinal: Number
    epoch: Epoch
    acks: tuple[RowAck, ...]
    rejected: tuple[RowRejected, ...] = ()


class Stale(msgspec.Struct, frozen=True, gc=False, tag="stale", tag_field="type", forbid_unknown_fields=True):
    """Answer to a push whose sender had not seen what was collected: nothing of it was taken; see `Gone`."""

    collection: str
    ordinal: Number
    epoch: Epoch
    floor: Number
    collected: Number


class Digest(msgspec.Struct, frozen=True, gc=False, tag="digest", tag_field="type", forbid_unknown_fields=True):
    """I have all of your life `epoch` up to `cursor`, nothing else, and these bucket sums; see `pivot.core.digest`."""

    collection: str
    epoch: Epoch
    cursor: Number
    sums: tuple[str, ...]


class Repair(msgspec.Struct, frozen=True, gc=False, tag="repair", tag_field="type", forbid_unknown_fields=True):
    """All that I have in these buckets, which differ; merge it, and offer me all that you have in them.

    Attributes:
        collection: which one.
        epoch: the leader's life.
        buckets: those that differ; not all of them when that would be much.
        entries: versions, tombstones included; some of them when one message cannot carry all.
        seqs: the leader's number of each entry.
    """

    collection: str
    epoch: Epoch
    buckets: tuple[Number, ...]
    entries: tuple[Entry, ...]
    seqs: tuple[Number, ...]


class Peek(msgspec.Struct, frozen=True, gc=False, tag="peek", tag_field="type", forbid_unknown_fields=True):
    """A node whose leader is away asks another node for what it has.

    Attributes:
        ordinal: the sender's number of this peek, so that the answer says which one it answers.
        collection: which one.
        life: life of the other node's store that `since` is about; empty = none known.
        since: where to go on in that store's own feed.
        epoch: life of the leader that the sender follows; empty = it knows none.
        cursor: how much of that life the sender has: what the leader confirmed up to there it need not get.
        cluster: id of its cluster; empty matches any.
    """

    ordinal: Number
    collection: str
    life: Epoch
    since: Number
    epoch: Epoch
    cursor: Number
    cluster: str


class Glimpse(msgspec.Struct, frozen=True, gc=False, tag="glimpse", tag_field="type", forbid_unknown_fields=True):
    """Answer to one peek.

    Attributes:
        ordinal: that of the peek.
        collection: which one.
        life: life of the answering store.
        since: where the piece starts in its feed; 0 when it has begun another life.
        entries: versions in feed order.
        acks: the leader's number of each entry; 0 = it has not confirmed that version.
        next: where the piece ends.
        head: end of the feed when it was read.
        epoch: life of the leader that the answering node follows; empty = it knows none.
        cursor: how much of that life it had when the piece was read.
    """

    ordinal: Number
    collection: str
    life: Epoch
    since: Number
    entries: tuple[Entry, ...]
    acks: tuple[Number, ...]
    next: Number
    head: Number
    epoch: Epoch
    cursor: Number


ToLeader: TypeAlias = Hello | Subscribe | Ack | Push | Digest
ToNode: TypeAlias = Welcome | Refused | Reset | Gone | Page | PushAck | Stale | Repair
AmongNodes: TypeAlias = Peek | Glimpse
Message: TypeAlias = (
    Hello | Subscribe | Ack | Push | Digest | Welcome | Refused | Reset | Gone | Page | PushAck | Stale | Repair
    | Peek | Glimpse
)  # fmt: skip


class Envelope(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a transport carries.

    Attributes:
        version: message version of the body.
        sender: member that wrote it.
        target: under which address the sender knows the receiver.
        store: the sender's store.
        epoch: life of that store.
        body: the message.
    """

    version: int
    sender: MemberId
    target: Address
    store: StoreId
    epoch: Epoch
    body: Message
