"""Questions: what storage can be asked, and what it answers.

Layer: core (pure). Questions and results are paired in the table at `Question`.
"""

from typing import TypeAlias

import msgspec

from pivot.core.collection import FeedSlice, Follower, Place, Retention, Row
from pivot.core.entry import Entry
from pivot.core.messages import RowAck, RowRefused, RowRejected
from pivot.types import Epoch, StoreId


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


class Patch(msgspec.Struct, frozen=True, gc=False):
    """Merge an object into the one that a live entry has; `data` is canonical JSON. See `pivot.core.patching`."""

    key: str
    data: str


class Misfit(msgspec.Struct, frozen=True, gc=False):
    """A patch cannot be merged into what is here, and nothing was changed."""

    reason: str


class Written(msgspec.Struct, frozen=True, gc=False):
    """The write is committed here: the keys it changed, and the stamp that each was given."""

    keys: tuple[str, ...]
    stamps: tuple[int, ...]

    @property
    def stamp(self) -> int:
        """Greatest of the stamps; 0 when a `Remove` or `Patch` found nothing."""
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
    """Merge what a node pushed to us when it had seen our feed up to `seen`; None = it could not say."""

    collection: str
    seen: int | None
    entries: tuple[Entry, ...]
    refused: tuple[RowRefused, ...] = ()


class Merged(msgspec.Struct, frozen=True, gc=False):
    """What became of pushed versions, committed."""

    acks: tuple[RowAck, ...]
    rejected: tuple[RowRejected, ...]


class Missed(msgspec.Struct, frozen=True, gc=False):
    """Nothing of a push was merged: its sender had not seen which tombstones were collected."""

    floor: int
    collected: int


class MergePage(msgspec.Struct, frozen=True, gc=False):
    """Merge a page of our leader's feed, whose end was `head`, and move the cursor, if it starts exactly there."""

    collection: str
    epoch: Epoch
    since: int
    entries: tuple[Entry, ...]
    seqs: tuple[int, ...]
    next: int
    floor: int
    head: int = 0


class MergeResync(msgspec.Struct, frozen=True, gc=False):
    """Merge a page of a re-sync with our leader, if it starts exactly where that is; at 0 one begins.

    Attributes:
        collection: which one.
        epoch: the leader's life.
        since: where the page starts.
        entries: its versions.
        seqs: the leader's number of each.
        next: where it ends.
        floor: the leader's floor, the same for all pages of one re-sync.
        collected: greatest stamp of a tombstone that was collected, ns.
        clock: the leader's clock, ns.
        last: whether the leader has nothing beyond it; then what was absent is judged, and the cursor moves to `next`.
    """

    collection: str
    epoch: Epoch
    since: int
    entries: tuple[Entry, ...]
    seqs: tuple[int, ...]
    next: int
    floor: int
    collected: int
    clock: int
    last: bool


class HearFloor(msgspec.Struct, frozen=True, gc=False):
    """Our leader, in its life `epoch`, has collected tombstones up to `floor`; `collected` is the greatest stamp."""

    collection: str
    epoch: Epoch
    floor: int
    collected: int


class FollowEpoch(msgspec.Struct, frozen=True, gc=False):
    """Our leader's life is `epoch`, if we still follow `answers`: only what that had up to `kept` holds in it, too."""

    collection: str
    answers: Epoch
    epoch: Epoch
    kept: int = 0


class Wipe(msgspec.Struct, frozen=True, gc=False):
    """Forget everything of this collection in order to follow a leader of this cluster, unless that was done."""

    collection: str
    cluster: str


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where we are in our leader's feed, committed. `applied` says whether the question changed anything."""

    place: Place
    applied: bool


class Confirm(msgspec.Struct, frozen=True, gc=False):
    """Our leader, in its life `epoch`, confirmed these versions."""

    collection: str
    epoch: Epoch
    acks: tuple[RowAck, ...]


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """How many rows left the outbox, committed."""

    rows: int


class ReadForPeer(msgspec.Struct, frozen=True, gc=False):
    """Read a piece of our feed for another node, which has `cursor` of our leader's life `epoch`."""

    collection: str
    since: int
    epoch: Epoch
    cursor: int


class MergeFromPeer(msgspec.Struct, frozen=True, gc=False):
    """Merge what another node has, when it had seen `cursor` of our leader's life `epoch`.

    `acks` has the leader's number of each version, 0 where it has confirmed none.
    """

    collection: str
    epoch: Epoch
    cursor: int
    entries: tuple[Entry, ...]
    acks: tuple[int, ...]


class Restamp(msgspec.Struct, frozen=True, gc=False):
    """Our leader refused these versions for being ahead of its clock: replace those that are ahead of ours, too."""

    collection: str
    rejected: tuple[RowRejected, ...]


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """Our leader, in its life `epoch`, will not take these versions: have what it has instead."""

    collection: str
    epoch: Epoch
    rejected: tuple[RowRejected, ...]


class Collect(msgspec.Struct, frozen=True, gc=False):
    """Note who follows our feed and how far, and drop tombstones that all of them have."""

    collection: str
    followers: tuple[Follower, ...]


class Retained(msgspec.Struct, frozen=True, gc=False):
    """How many tombstones were collected, or followers forgotten, committed."""

    changed: int


class ConfirmFollowers(msgspec.Struct, frozen=True, gc=False):
    """The operator says that the list of those who follow us is complete."""


class Decommission(msgspec.Struct, frozen=True, gc=False):
    """The operator says that this store will not come back."""

    store: StoreId


class CompareDigest(msgspec.Struct, frozen=True, gc=False):
    """Whether our live rows are those of our leader's life `epoch` at `cursor`, if that is just where we are."""

    collection: str
    epoch: Epoch
    cursor: int
    digest: str


class Digested(msgspec.Struct, frozen=True, gc=False):
    """Our bucket sums, when they differ from our leader's; empty when they do not, or cannot be compared."""

    sums: tuple[str, ...]


class ReadBuckets(msgspec.Struct, frozen=True, gc=False):
    """Read all rows in buckets in which a follower at `cursor` has other sums than we, if that is our end."""

    collection: str
    cursor: int
    sums: tuple[str, ...]


class Buckets(msgspec.Struct, frozen=True, gc=False):
    """Buckets that differ, and our rows in them."""

    buckets: tuple[int, ...]
    rows: tuple[Row, ...]


class MendBuckets(msgspec.Struct, frozen=True, gc=False):
    """Merge what our leader has in these buckets, and offer it what we have in them."""

    collection: str
    epoch: Epoch
    buckets: tuple[int, ...]
    entries: tuple[Entry, ...]
    seqs: tuple[int, ...]


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
        newest: greatest stamp of a version that was ever kept, tombstones included, ns; 0 = there was none.
        place: where we are in the upstream's feed.
        outbox: rows the upstream has not confirmed.
        retention: what became of our own tombstones.
        followers: who follows it here.
    """

    path: str
    follows: bool
    entries: int
    tombstones: int
    head: int
    newest: int
    place: Place
    outbox: int
    retention: Retention
    followers: tuple[Follower, ...]


class StoreInfo(msgspec.Struct, frozen=True, gc=False):
    """A store in numbers."""

    store: StoreId
    epoch: Epoch
    clock: int
    conflicts: int
    collections: tuple[CollectionInfo, ...]


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The question was not answered: after "storage" and "busy" nothing was written, after "stopped" it is unknown."""

    code: str
    reason: str


Question: TypeAlias = (
    Put | PushItem | Remove  # -> Written
    | Patch  # -> Written or Misfit
    | Get | ListAll  # -> Entries
    | ListKeys  # -> Keys
    | ReadFeed | ReadOutbox | ReadForPeer  # -> FeedSlice
    | MergePushed  # -> Merged or Missed
    | MergePage | MergeResync | MergeFromPeer | FollowEpoch | HearFloor | Restamp | Wipe  # -> Position
    | Confirm | Withdraw | MendBuckets  # -> Confirmed
    | Collect | ConfirmFollowers | Decommission  # -> Retained
    | CompareDigest  # -> Digested
    | ReadBuckets  # -> Buckets
    | Describe  # -> StoreInfo
)  # fmt: skip
Result: TypeAlias = (
    Written | Misfit | Entries | Keys | FeedSlice | Merged | Missed | Position | Confirmed | Retained | Digested
    | Buckets | StoreInfo | Failed
)  # fmt: skip
