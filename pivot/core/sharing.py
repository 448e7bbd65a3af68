"""Sharing: what storage gives to other nodes of our leader while it is away, and what it takes from them.

Layer: core (pure). Rows come with what the leader said of them: a version that it has confirmed to the other node, in
the life that we follow, is confirmed for us, too; one that it has not waits in our outbox as well, and whoever reaches
the leader first delivers it. Our cursor stays where it is, for a peer's rows are no prefix of our leader's feed.

Deletions that were collected are the danger: a peer may still have what was deleted, and we have forgotten that it was.
So nothing is taken from a peer that has not seen what was collected as far as we know, nor from one that follows
another life; and a node that has missed such deletions itself neither gives nor takes until it has read everything
again. Start at `merge_from_peer`.
"""

from typing import Final

from pivot.config import Knobs
from pivot.core.collection import Collection, FeedSlice, Place, PutRow, Row
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Reply
from pivot.core.entry import supersedes
from pivot.core.merging import where
from pivot.core.questions import Failed, MergeFromPeer, Position, ReadForPeer, ReplyTo
from pivot.core.store import Store
from pivot.errors import ClockAheadError
from pivot.types import Now

SLICES_MAX: Final = 20
"""Most pages of our feed that are looked through for one answer: what the peer has already is left out."""


def read_for_peer(store: Store, knobs: Knobs, question: ReadForPeer) -> FeedSlice | Failed:
    """What comes next in our feed, without what the leader had confirmed when the peer read its feed."""
    collection = store[question.collection]
    place = collection.place
    if _has_missed(store, collection, place):
        return Failed("busy", "everything is being read again")
    known = question.cursor if question.epoch == place.epoch else 0
    since = question.since if question.since <= collection.head else 0
    next_ = since
    rows: tuple[Row, ...] = ()
    for _ in range(SLICES_MAX):
        piece = collection.feed(next_, rows_max=knobs.page_rows, bytes_max=knobs.page_bytes)
        rows = tuple(row for row in piece.rows if row.acked is None or row.acked > known)
        next_ = piece.next
        if rows or next_ >= piece.head:
            break
    return FeedSlice(since=since, rows=rows, next=next_, head=collection.head, place=place)


def merge_from_peer(store: Store, now: Now, to: ReplyTo, question: MergeFromPeer) -> list[Effect]:
    """Take what is greater, if the peer has seen every deletion that we may have forgotten."""
    collection = store[question.collection]
    place = collection.peek_place()
    if _has_missed(store, collection, place) or not _has_seen(question, place):
        return [Reply(to, where(collection))]
    decision = Decision(store, to)
    for entry, number in zip(question.entries, question.acks, strict=True):
        if store.stranger(collection, entry):
            continue
        try:
            store.clock.observe(entry.stamp, wall_ns=now.wall_ns)
        except ClockAheadError:
            continue  # our leader would refuse it
        acked = number or None
        row = collection.peek(entry.key)
        decision.meet(row, entry)
        if row is None or supersedes(entry, row.entry):
            decision.take(entry, acked=acked)
        elif acked is not None and row.acked is None and entry.version == row.entry.version:
            decision.stage(PutRow(collection.path, Row(row.entry, row.seq, acked)))
    return decision.effects(Position(place, applied=True))


def _has_missed(store: Store, collection: Collection, place: Place) -> bool:
    """Whether we have missed deletions that were collected, and cannot tell old from deleted."""
    return not collection.follows or place.floor > place.cursor or store.resyncing(collection.path)


def _has_seen(question: MergeFromPeer, place: Place) -> bool:
    """Whether a peer has seen what was collected, as far as we know, in the life that we follow."""
    return question.epoch == place.epoch and question.cursor >= place.floor
