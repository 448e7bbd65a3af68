"""Events: everything that can happen to a behaviour, the questions storage answers, and the notices people get.

Layer: core (pure). Start at `Event`. Questions and results are paired in the table at `Question`.
"""

from typing import TypeAlias

import msgspec

from pivot.core.collection import FeedSlice
from pivot.core.entry import Entry
from pivot.core.messages import Message, RowAck, RowRejected
from pivot.types import Address, Epoch, MemberId, StoreId


class ReplyTo(msgspec.Struct, frozen=True, gc=False):
    """Where the answer to an ask goes.

    Attributes:
        actor: mailbox of this member; empty for somebody outside, such as an HTTP handler.
        token: the asker's own number for the ask.
        life: how often that actor had been restarted; an answer to an earlier life is dropped.
    """

    actor: str
    token: int
    life: int = 0


# Questions to storage, and their results -----------------------------------------------------------------------------


class Put(msgspec.Struct, frozen=True, gc=False):
    """Create or replace one entry; `data` is canonical JSON."""

    key: str
    data: str


class PushItem(msgspec.Struct, frozen=True, gc=False):
    """Create a new entry in a list such as `users/*`; its last segment is drawn from the clock."""

    pattern: str
    data: str


class Remove(msgspec.Struct, frozen=True, gc=False):
    """Replace every live entry that `pattern` (a key or a glob) matches by a tombstone."""

    pattern: str


class Written(msgspec.Struct, frozen=True, gc=False):
    """The write is committed here: the keys it changed, and the stamp that each was given."""

    keys: tuple[str, ...]
    stamps: tuple[int, ...]

    @property
    def stamp(self) -> int:
        """Greatest of the stamps; 0 when a `Remove` found nothing."""
        return max(self.stamps, default=0)


class Get(msgspec.Struct, frozen=True, gc=False):
    """Read one live entry."""

    key: str


class ListAll(msgspec.Struct, frozen=True, gc=False):
    """Read all live entries that a glob matches, newest `created` first."""

    pattern: str


class Entries(msgspec.Struct, frozen=True, gc=False):
    """What was found; empty when nothing was. `seq` numbers this state of the store: it grows with every change."""

    entries: tuple[Entry, ...]
    seq: int


class ListKeys(msgspec.Struct, frozen=True, gc=False):
    """Read the names of all live entries that contain a text, in order."""

    containing: str


class Keys(msgspec.Struct, frozen=True, gc=False):
    """Names of entries, ascending."""

    keys: tuple[str, ...]


class ReadFeed(msgspec.Struct, frozen=True, gc=False):
    """Read a piece of a collection's feed."""

    collection: str
    since: int


class ReadOutbox(msgspec.Struct, frozen=True, gc=False):
    """Read a piece of a collection's outbox."""

    collection: str
    since: int


class MergePushed(msgspec.Struct, frozen=True, gc=False):
    """Merge what a node pushed to us, its leader."""

    collection: str
    entries: tuple[Entry, ...]


class Merged(msgspec.Struct, frozen=True, gc=False):
    """What became of pushed versions, committed."""

    acks: tuple[RowAck, ...]
    rejected: tuple[RowRejected, ...]


class MergePage(msgspec.Struct, frozen=True, gc=False):
    """Merge a page of our leader's feed and move the cursor, if it starts exactly there."""

    collection: str
    epoch: Epoch
    since: int
    entries: tuple[Entry, ...]
    seqs: tuple[int, ...]
    next: int


class FollowEpoch(msgspec.Struct, frozen=True, gc=False):
    """Our leader's life is `epoch`: start at 0 and offer everything, if we still follow `answers`."""

    collection: str
    answers: Epoch
    epoch: Epoch


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where we are in our leader's feed, committed. `applied` says whether the question changed anything."""

    epoch: Epoch
    cursor: int
    applied: bool


class Confirm(msgspec.Struct, frozen=True, gc=False):
    """Our leader, in its life `epoch`, confirmed these versions."""

    collection: str
    epoch: Epoch
    acks: tuple[RowAck, ...]


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """How many rows left the outbox, committed."""

    rows: int


class Describe(msgspec.Struct, frozen=True, gc=False):
    """Tell what the store is and holds, in numbers."""


class CollectionInfo(msgspec.Struct, frozen=True, gc=False):
    """A collection in numbers.

    Attributes:
        path: configured key or glob.
        follows: whether it has an upstream.
        entries: live entries.
        tombstones: deleted ones still remembered.
        head: greatest sequence number.
        epoch: the upstream's life that `cursor` belongs to.
        cursor: how much of the upstream's feed was read.
        outbox: rows the upstream has not confirmed.
    """

    path: str
    follows: bool
    entries: int
    tombstones: int
    head: int
    epoch: Epoch
    cursor: int
    outbox: int


class StoreInfo(msgspec.Struct, frozen=True, gc=False):
    """A store in numbers."""

    store: StoreId
    epoch: Epoch
    clock: int
    conflicts: int
    collections: tuple[CollectionInfo, ...]


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The question was not answered.

    Attributes:
        code: "storage" = the disk refused, certainly not written; "busy" = a mailbox was full, certainly not written;
            "stopped" = the actor ended before it was known.
        reason: one line for people.
    """

    code: str
    reason: str


Question: TypeAlias = (
    Put | PushItem | Remove  # -> Written
    | Get | ListAll  # -> Entries
    | ListKeys  # -> Keys
    | ReadFeed | ReadOutbox  # -> FeedSlice
    | MergePushed  # -> Merged
    | MergePage | FollowEpoch  # -> Position
    | Confirm  # -> Confirmed
    | Describe  # -> StoreInfo
)  # fmt: skip
Result: TypeAlias = Written | Entries | Keys | FeedSlice | Merged | Position | Confirmed | StoreInfo | Failed


# Events --------------------------------------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True, gc=False):
    """The actor runs; always the first event, also after a restart."""


class TimerFired(msgspec.Struct, frozen=True, gc=False):
    """A timer set by this behaviour ran out."""

    name: str


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message came in.

    Attributes:
        sender: member that wrote it.
        store: the sender's store.
        body: the message.
    """

    sender: MemberId
    store: StoreId
    body: Message


class LinkLost(msgspec.Struct, frozen=True, gc=False):
    """The transport noticed that a peer cannot be reached; a hint that may never come."""

    peer: Address
    reason: str


class Asked(msgspec.Struct, frozen=True, gc=False):
    """Somebody puts a question to storage."""

    to: ReplyTo
    question: Question


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The answer to our own ask with this token."""

    token: int
    result: Result


class Changed(msgspec.Struct, frozen=True, gc=False):
    """A collection has changes up to `head`: a wake-up that may be lost, not data."""

    collection: str
    head: int


class Committed(msgspec.Struct, frozen=True, gc=False):
    """What this batch persisted is durable."""


class CommitFailed(msgspec.Struct, frozen=True, gc=False):
    """What this batch wanted to persist is not kept."""

    reason: str


class Heard(msgspec.Struct, frozen=True, gc=False):
    """Health: a sign of life of this peer; watch it from now on and tell `by` when they stop."""

    peer: Address
    by: str


class Unwatch(msgspec.Struct, frozen=True, gc=False):
    """Health: expect nothing more of this peer."""

    peer: Address


class Enrol(msgspec.Struct, frozen=True, gc=False):
    """Health starts and knows nobody: tell it of every peer that is up."""


class PeerSilent(msgspec.Struct, frozen=True, gc=False):
    """Health suspects this peer: nothing heard for `silent_s` seconds, more than `limit_s`."""

    peer: Address
    silent_s: float
    limit_s: float


TellEvent: TypeAlias = Changed | Heard | Unwatch | Enrol | PeerSilent
Event: TypeAlias = Started | TimerFired | Received | LinkLost | Asked | Answer | Committed | CommitFailed | TellEvent


# Notices -------------------------------------------------------------------------------------------------------------


class PeerUp(msgspec.Struct, frozen=True, gc=False, tag="peer_up"):
    """A peer answers and both sides exchange."""

    peer: Address
    role: str


class PeerDown(msgspec.Struct, frozen=True, gc=False, tag="peer_down"):
    """A peer that was up is not, and why we think so."""

    peer: Address
    role: str
    reason: str


class PeerRefused(msgspec.Struct, frozen=True, gc=False, tag="peer_refused"):
    """One side will not replicate with the other, and why."""

    peer: Address
    reason: str


class CaughtUp(msgspec.Struct, frozen=True, gc=False, tag="caught_up"):
    """We have everything of this collection that our leader has; said once per connection."""

    collection: str


class EpochReset(msgspec.Struct, frozen=True, gc=False, tag="reset"):
    """Our leader began a new life: we read it from the start and offer everything again."""

    collection: str
    before: Epoch
    after: Epoch


class Conflict(msgspec.Struct, frozen=True, gc=False, tag="conflict"):
    """Of two versions whose writers had not seen each other one was superseded: a lost update."""

    winner: Entry
    loser: Entry


class Rejected(msgspec.Struct, frozen=True, gc=False, tag="rejected"):
    """A version was not taken by the leader of its collection; it stays in its author's outbox."""

    key: str
    reason: str


class StorageRefused(msgspec.Struct, frozen=True, gc=False, tag="storage_refused"):
    """A commit failed; its writers were told so."""

    reason: str


class ActorRestarted(msgspec.Struct, frozen=True, gc=False, tag="actor_restarted"):
    """An actor crashed, which is our bug, and runs again."""

    actor: str
    error: str


Notice: TypeAlias = (
    PeerUp | PeerDown | PeerRefused | CaughtUp | EpochReset | Conflict | Rejected | StorageRefused | ActorRestarted
)
