"""Merging: what storage does with versions that other stores wrote.

Layer: core (pure). Each function takes one question, checks that it is about where we are now, and decides. Nothing is
ever deleted because it is absent, but at the end of a re-sync, which is the one time when absence says something:

    a local row that the leader does not have        its author's write ...
    confirmed in this life, within what we read      was deleted, and its tombstone collected: drop it
    confirmed beyond it (another node told us)       comes with the next page: it stays
    not confirmed, stamp <= greatest collected       may have been deleted so: write it again under a later stamp
    not confirmed, stamp > greatest collected        cannot have been: it waits in the outbox as before

Start at `merge_page`.
"""

from typing import Final

from msgspec.structs import replace

from pivot.core.collection import ClearAcks, Collection, DropRow, Place, PutRow, Row, SetPlace, SetRetention
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Reply
from pivot.core.entry import Entry, fingerprint, supersedes
from pivot.core.messages import RowAck, RowRejected
from pivot.core.notices import Reissued, Rejected, Withdrawn
from pivot.core.questions import (
    Confirm,
    Confirmed,
    FollowEpoch,
    Merged,
    MergePage,
    MergePushed,
    MergeResync,
    Missed,
    Position,
    ReplyTo,
    Restamp,
    Wipe,
    Withdraw,
)
from pivot.core.store import Store
from pivot.errors import ClockAheadError
from pivot.types import Now

INSTEAD_BYTES_MAX: Final = 2**20
"""About the most bytes of what we have in an answer to rows that a filter does not want."""


def merge_pushed(store: Store, now: Now, to: ReplyTo, question: MergePushed) -> list[Effect]:
    """As the leader: take what is greater, refuse what we cannot judge, and say so row by row.

    Of a sender that cannot say what it has seen, a row that may have been deleted, and its tombstone collected, is
    refused.
    """
    collection = store[question.collection]
    decision = Decision(store, to)
    retention = collection.peek_retention()
    if question.seen is not None and question.seen < retention.floor:
        if retention != collection.retention:  # not kept yet: what we answer stands or falls with that commit
            decision.stage(SetRetention(collection.path, retention))
        return decision.effects(Missed(retention.floor, retention.collected))
    acks: list[RowAck] = []
    rejected: list[RowRejected] = []
    refused, size = {row.key: row for row in question.refused}, 0
    for entry in question.entries:
        row = collection.peek(entry.key)
        stranger = store.stranger(collection, entry)
        ahead = _ahead(store, now, entry, collected=retention.collected)
        perhaps_deleted = ""
        if question.seen is None and row is None and not entry.deleted and entry.stamp <= retention.collected:
            perhaps_deleted = f"stamp {entry.stamp} is not above {retention.collected}: it may have been deleted since"
        unwanted = refused.get(entry.key) if row is None or supersedes(entry, row.entry) else None
        undecided = "" if unwanted is None or unwanted.final else unwanted.reason
        refusal = stranger or ahead or perhaps_deleted or undecided
        if not refusal and unwanted is not None:
            decision.lean_on(collection, entry.key)
            size += 0 if row is None else len(row.entry.data)
            if size > INSTEAD_BYTES_MAX and rejected:
                continue  # not answered: it comes again
            rejected.append(_final(entry, row, unwanted.reason))
            decision.report(Rejected(entry.key, unwanted.reason))
            continue
        if refusal:
            rejected.append(
                RowRejected(entry.key, fingerprint(entry), refusal, bool(ahead), row.entry.stamp if row else 0)
            )
            decision.report(Rejected(entry.key, refusal))
            continue
        decision.meet(row, entry)
        if row is None or supersedes(entry, row.entry):
            row = decision.take(entry, acked=None)
        elif row is not collection.get(entry.key):  # as above
            decision.stage(PutRow(collection.path, row))
        acks.append(RowAck(entry.key, fingerprint(entry), row.seq))
    return decision.effects(Merged(tuple(acks), tuple(rejected)))


def _final(entry: Entry, row: Row | None, reason: str) -> RowRejected:
    """A filter does not want a version, and its writer is to have what we have."""
    instead, seq, held = (None, 0, 0) if row is None else (row.entry, row.seq, row.entry.stamp)
    return RowRejected(entry.key, fingerprint(entry), reason, held=held, final=True, instead=instead, seq=seq)


def merge_page(store: Store, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
    """As a node: take a page that starts at our cursor, and move the cursor in the same commit."""
    collection = store[question.collection]
    place = collection.peek_place()
    fits = question.epoch == place.epoch and question.since == place.cursor
    if not fits or max(question.floor, place.floor) > place.cursor:
        return [Reply(to, where(collection))]
    decision = Decision(store, to)
    _take_all(decision, now, collection, question.entries, question.seqs)
    place = replace(place, cursor=question.next, head=max(place.head, question.next, question.head))
    decision.stage(SetPlace(collection.path, place))
    return decision.effects(Position(place, applied=True))


def merge_resync(store: Store, now: Now, to: ReplyTo, question: MergeResync) -> list[Effect]:
    """As a node: take a page of a re-sync that goes on where the last one ended; judge absence at its end."""
    collection = store[question.collection]
    place = collection.peek_place()
    fits = question.epoch == place.epoch and question.floor >= place.floor
    resync = store.resync(collection.path, question.floor, question.since) if fits else None
    if resync is None:
        return [Reply(to, where(collection))]
    decision = Decision(store, to)
    _take_all(decision, now, collection, question.entries, question.seqs)
    resync.position = question.next
    resync.keys.update((entry.key, None) for entry in question.entries)
    if not question.last:
        return decision.effects(Position(place, applied=True))
    for key in tuple(collection.peek_keys()):
        row = collection.peek(key)
        if row is not None and key not in resync.keys:
            _judge_absent(decision, now, collection, row, question)
    store.end_resync(collection.path)
    collected = max(place.collected, question.collected)
    head = max(place.head, question.next)
    place = replace(place, cursor=question.next, floor=question.floor, collected=collected, head=head)
    decision.stage(SetPlace(collection.path, place))
    return decision.effects(Position(place, applied=True))


def _judge_absent(decision: Decision, now: Now, collection: Collection, row: Row, question: MergeResync) -> None:
    """See the table on top."""
    entry = row.entry
    if row.acked is not None:
        if row.acked <= question.next:
            drop(decision, collection, row, "deleted at the leader while we were away")
    elif entry.stamp <= question.collected:
        above = max(question.clock, question.collected, entry.stamp)
        stamp = decision.store.fresh_stamp(now.wall_ns, entry.key, above=above)
        again = replace(entry, updated=stamp, prev=entry.stamp, origin=decision.store.id)
        decision.take(again, acked=None)
        decision.report(Reissued(entry.key, entry.stamp, stamp, "it may have been deleted while we were away"))


def follow_epoch(store: Store, to: ReplyTo, question: FollowEpoch) -> list[Effect]:
    """As a node: begin to follow another life of our leader; of what it has confirmed, it has no more than `kept`."""
    collection = store[question.collection]
    before = collection.peek_place()
    if question.answers != before.epoch or question.epoch == before.epoch:
        return [Reply(to, where(collection))]
    decision = Decision(store, to)
    store.end_resync(collection.path)
    # A change after `kept` is gone there, and its key is back under its number before, which we may have passed without
    # seeing it: the key had moved on when we read there, or its tombstone had been collected.
    cursor, head = (before.cursor, before.head) if before.head <= question.kept else (0, 0)
    # A floor above our cursor may be gone there, and a re-sync would wait for it; below, it judges what peers give us.
    floor = before.floor if before.floor <= cursor else 0
    # What an earlier life collected may still be somewhere: our next writes must be greater.
    place = Place(question.epoch, cursor, floor, before.collected, before.cluster, head)
    if collection.acked_max > question.kept:  # else there is nothing to look for among all rows
        decision.stage(ClearAcks(collection.path, question.kept))
    decision.stage(SetPlace(collection.path, place))
    return decision.effects(Position(place, applied=True))


def wipe(store: Store, to: ReplyTo, question: Wipe) -> list[Effect]:
    """As a node: forget everything for another cluster's sake, once."""
    collection = store[question.collection]
    if collection.peek_place().cluster == question.cluster:
        return [Reply(to, where(collection))]
    decision = Decision(store, to)
    store.end_resync(collection.path)
    rows = [row for row in map(collection.peek, tuple(collection.peek_keys())) if row is not None]
    for row in rows:
        drop(decision, collection, row, f"wiped to follow cluster {question.cluster!r}")
    place = Place(cluster=question.cluster)
    decision.stage(SetPlace(collection.path, place))
    return decision.effects(Position(place, applied=True))


def confirm(store: Store, to: ReplyTo, question: Confirm) -> list[Effect]:
    """As a node: what our leader has confirmed leaves the outbox, if it is still that version."""
    collection = store[question.collection]
    decision = Decision(store, to)
    for ack in question.acks if question.epoch == collection.peek_place().epoch else ():
        row = collection.peek(ack.key)
        if row is not None and row.acked is None and fingerprint(row.entry) == ack.fingerprint:
            decision.stage(PutRow(collection.path, Row(row.entry, row.seq, ack.seq)))
    return decision.effects(Confirmed(len(decision.changes)))


def restamp(store: Store, now: Now, to: ReplyTo, question: Restamp) -> list[Effect]:
    """As a node: replace versions that our leader refuses for being in its future, once our clock agrees.

    The author's version (or the only one there is) is written again under a stamp of now, later than what the leader
    had for that key, which its author had most likely seen; another's is left to its author, since the leader has
    something for that key. What the leader has by now may be greater than that, and we may have read past it: we read
    from the start again.
    """
    collection = store[question.collection]
    decision = Decision(store, to)
    limit = now.wall_ns + store.clock.ahead_ns_max
    for refused in question.rejected:
        row = collection.peek(refused.key)
        if row is None or row.acked is not None or fingerprint(row.entry) != refused.fingerprint:
            continue
        entry = row.entry
        if entry.stamp <= limit:
            continue
        store.spend(entry)
        store.settle_clock(limit)
        if refused.held and entry.origin != store.id:
            drop(decision, collection, row, "ahead of every clock, and left to its author")
            continue
        stamp = store.fresh_stamp(now.wall_ns, entry.key, above=refused.held)
        created, updated = (entry.created, stamp) if entry.created < stamp else (stamp, 0)
        decision.take(replace(entry, created=created, updated=updated, prev=None, origin=store.id), acked=None)
        decision.report(Reissued(entry.key, entry.stamp, stamp, "it was written while a clock was ahead"))
    if not decision.changes:
        return [Reply(to, where(collection))]
    place = replace(collection.peek_place(), cursor=0)
    decision.stage(SetPlace(collection.path, place))
    return decision.effects(Position(place, applied=True))


def withdraw(store: Store, now: Now, to: ReplyTo, question: Withdraw) -> list[Effect]:
    """As a node: what our leader will not take leaves the outbox, for what the leader has; its writer hears of it.

    The one case in which a version that was acknowledged here gives way to an earlier one.
    """
    collection = store[question.collection]
    decision = Decision(store, to)
    for refused in question.rejected if question.epoch == collection.peek_place().epoch else ():
        row, instead = collection.peek(refused.key), refused.instead
        if row is None or row.acked is not None or fingerprint(row.entry) != refused.fingerprint:
            continue
        if instead is None:
            drop(decision, collection, row, refused.reason)
        elif instead.key == refused.key:
            _ahead(store, now, instead)
            decision.take(instead, acked=refused.seq)
            decision.report(Withdrawn(refused.key, row.entry.stamp, refused.reason))
    return decision.effects(Confirmed(len(decision.changes)))


def drop(decision: Decision, collection: Collection, row: Row, reason: str) -> None:
    """Forget a row; who watches sees the key deleted."""
    entry = row.entry
    decision.stage(DropRow(collection.path, entry.key, row.seq))
    if not entry.deleted:
        decision.publish(replace(entry, data="", deleted=True))
    if not entry.deleted or row.acked is None:  # a deletion that our leader has confirmed is no loss
        decision.report(Withdrawn(entry.key, entry.stamp, reason))


def _take_all(
    decision: Decision, now: Now, collection: Collection, entries: tuple[Entry, ...], seqs: tuple[int, ...]
) -> None:
    """Take our own leader's rows, also from the future; only our clock does not follow there."""
    for entry, seq in zip(entries, seqs, strict=True):
        refusal = decision.store.stranger(collection, entry)
        if refusal:
            decision.report(Rejected(entry.key, refusal))
            continue
        _ahead(decision.store, now, entry)
        row = collection.peek(entry.key)
        decision.meet(row, entry)
        if row is None or supersedes(entry, row.entry):
            decision.take(entry, acked=seq)
        elif entry.version == row.entry.version and row.acked is None:
            decision.stage(PutRow(collection.path, Row(row.entry, row.seq, seq)))


def _ahead(store: Store, now: Now, entry: Entry, *, collected: int = 0) -> str:
    """Move our clock past an entry's stamp; why not, when it is too far ahead of that and of what we `collected`.

    A write to a key whose tombstone was collected must be later than that, also when a clock was ahead then: the entry
    is welcome, and our clock stays.
    """
    try:
        store.clock.observe(entry.stamp, wall_ns=now.wall_ns)
    except ClockAheadError as error:
        return "" if entry.stamp <= collected + store.clock.ahead_ns_max else str(error)
    return ""


def where(collection: Collection) -> Position:
    """What is committed: this answer goes out even when the commit of the batch fails."""
    return Position(collection.place, applied=False)
