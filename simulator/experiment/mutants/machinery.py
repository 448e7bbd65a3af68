"""Machinery: mutants of what carries the protocol: batches and commits, numbers and clocks, windows, reads.

Layer: simulator/experiment/mutants. Each function plants one bug, as in `ring`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from msgspec.structs import replace

from pivot.actors.core import ActorCore
from pivot.core.asks import Asks
from pivot.core.clock import HybridClock
from pivot.core.collection import Change, Collection, FeedSlice, PutRow, Row, SetPlace
from pivot.core.decision import Decision
from pivot.core.effects import Ask, Effect, Persist, Reply
from pivot.core.entry import Entry
from pivot.core.events import Event, Received
from pivot.core.following import Following
from pivot.core.leading import Leading
from pivot.core.messages import Ack, Page
from pivot.core.questions import (
    CompareDigest,
    Describe,
    Entries,
    Get,
    ListAll,
    ListKeys,
    Patch,
    PushItem,
    Put,
    Question,
    ReadBuckets,
    ReadFeed,
    ReadForPeer,
    ReadOutbox,
    Remove,
    ReplyTo,
    Result,
)
from pivot.core.seqindex import SeqIndex
from pivot.core.storage import StorageBehaviour
from pivot.core.store import Store
from pivot.types import Now
from simulator.experiment.mutants.mutant import Mark, Seams
from simulator.world.disk import Disk

Read: TypeAlias = (
    Get | ListAll | ListKeys | ReadFeed | ReadOutbox | ReadForPeer | CompareDigest | ReadBuckets | Describe
)
TOKENS: Final = 1
COARSE_NS: Final = 10_000_000
WAITING_MAX: Final = 2

# Batches and commits -------------------------------------------------------------------------------------------------


def a_failed_commit_is_told_as_kept(seams: Seams, mark: Mark) -> None:
    """Writers are answered although their commit failed."""
    finish = ActorCore.finish

    def finish_(core: ActorCore, now: Now, failure: str | None = None) -> list[Effect]:
        mark.note(failure is not None)
        return finish(core, now)

    seams.setattr(ActorCore, "finish", finish_)


def a_failed_commit_stays_visible(seams: Seams, mark: Mark) -> None:
    """Writes whose commit failed are not taken back."""
    discard = Store.discard

    def discard_(store: Store) -> None:
        for collection in store._dirty.values():
            for change in collection._staged:
                if isinstance(change, PutRow) and change.row.acked is None:
                    mark.note()
                    collection.apply(change)
        discard(store)

    seams.setattr(Store, "discard", discard_)


def a_batch_is_kept_by_half(seams: Seams, mark: Mark) -> None:
    """A commit of several changes keeps the first ones."""
    keep = Disk.keep

    def keep_(disk: Disk, changes: Sequence[Change]) -> None:
        half = changes[: (len(changes) + 1) // 2]
        mark.note(len(half) < len(changes))
        keep(disk, half)

    seams.setattr(Disk, "keep", keep_)


def a_place_is_kept_without_its_page(seams: Seams, mark: Mark) -> None:
    """A node is stopped between keeping its cursor and keeping what it read up to there."""
    keep = Disk.keep

    def keep_(disk: Disk, changes: Sequence[Change]) -> None:
        read = [change for change in changes if isinstance(change, PutRow) and change.row.acked is not None]
        moves = any(isinstance(change, SetPlace) for change in changes)
        mark.note(read and moves)
        keep(disk, [change for change in changes if change not in read] if moves else changes)

    seams.setattr(Disk, "keep", keep_)


def a_group_commit_keeps_its_first_write(seams: Seams, mark: Mark) -> None:
    """Of a batch of several writes only the first is committed; all are answered."""
    begin = ActorCore.begin

    def begin_(core: ActorCore, now: Now, batch: Sequence[Event]) -> list[Change]:
        changes = begin(core, now, batch)
        persisting = [effects for persisted, effects in core._steps if persisted]
        mark.note(len(persisting) > 1)
        if len(persisting) < 2:
            return changes
        return [change for effect in persisting[0] if isinstance(effect, Persist) for change in effect.changes]

    seams.setattr(ActorCore, "begin", begin_)


def reads_see_what_is_not_committed(seams: Seams, mark: Mark) -> None:
    """A read sees a write whose commit may still fail."""
    get = Collection.get

    def get_(collection: Collection, key: str) -> Row | None:
        row = collection.peek(key)
        mark.note(row is not get(collection, key))
        return row

    seams.setattr(Collection, "get", get_)


# Pages and windows ---------------------------------------------------------------------------------------------------


def a_page_that_was_cut_says_it_is_whole(seams: Seams, mark: Mark) -> None:
    """A page that ends at its limit names the head as its end."""
    cut = Collection._slice

    def slice_(collection: Collection, index: SeqIndex, since: int, *, rows_max: int, bytes_max: int) -> FeedSlice:
        piece = cut(collection, index, since, rows_max=rows_max, bytes_max=bytes_max)
        mark.note(piece.next < piece.head)
        return replace(piece, next=max(piece.next, piece.head))

    seams.setattr(Collection, "_slice", slice_)


def a_page_begins_one_row_late(seams: Seams, mark: Mark) -> None:
    """Where a page ends, the next one leaves a row out."""
    after = SeqIndex.after

    def after_(index: SeqIndex, seq: int) -> Iterator[tuple[int, str]]:
        rows = tuple(after(index, seq))
        skipped = seq > 0 and len(rows) > 1
        mark.note(skipped)
        return iter(rows[1:] if skipped else rows)

    seams.setattr(SeqIndex, "after", after_)


def a_page_ends_beyond_what_is_committed(seams: Seams, mark: Mark) -> None:
    """A page that is read while a write is on its way ends after that write."""
    cut = Collection._slice

    def slice_(collection: Collection, index: SeqIndex, since: int, *, rows_max: int, bytes_max: int) -> FeedSlice:
        piece = cut(collection, index, since, rows_max=rows_max, bytes_max=bytes_max)
        staged = max((row.seq for row in collection._staged_rows.values() if row is not None), default=0)
        if piece.next < piece.head or staged <= piece.next:
            return piece
        mark.note()
        return replace(piece, next=staged, head=staged)

    seams.setattr(Collection, "_slice", slice_)


def acknowledgements_open_no_window(seams: Seams, mark: Mark) -> None:
    """A leader counts the pages that it sent, and never those that arrived."""
    ack = Leading.ack

    def ack_(leading: Leading, now: Now, event: Received, said: Ack) -> list[Effect]:
        flow = leading.flows.get(event.sender)
        if flow is None:
            return ack(leading, now, event, said)
        under_way = tuple(flow.under_way)
        effects = ack(leading, now, event, replace(said, cursor=0))
        mark.note(under_way and under_way[0] <= said.cursor)
        return effects

    seams.setattr(Leading, "ack", ack_)


def an_outbox_is_read_once(seams: Seams, mark: Mark) -> None:
    """What was offered before the connection was lost is not offered again."""

    def offer_all(following: Following, now: Now) -> list[Effect]:
        mark.note(following.offered)
        following.offered_all_s = now.monotonic_s
        following.under_way.clear()
        return following.offer()

    seams.setattr(Following, "_offer_all", offer_all)


def every_heartbeat_is_answered_by_a_subscription(seams: Seams, mark: Mark) -> None:
    """A node that has everything asks for more each time that it hears so."""
    page = Following.page

    def page_(following: Following, now: Now, said: Page) -> list[Effect]:
        effects = page(following, now, said)
        nothing_new = said.epoch == following.epoch and said.next <= said.since
        mark.note(nothing_new)
        return [*effects, *following._subscribe(now)] if nothing_new else effects

    seams.setattr(Following, "page", page_)


# Numbers and clocks --------------------------------------------------------------------------------------------------


def tokens_wrap(seams: Seams, mark: Mark) -> None:
    """The counter of questions wraps while answers are on their way."""

    def ask(asks: Asks[object], question: Question, purpose: object) -> list[Ask]:
        if len(asks._open) >= asks.limit:
            return []
        asks._next = asks._next % TOKENS + 1
        mark.note(asks._next in asks._open)
        asks._open[asks._next] = purpose
        return [Ask(asks._next, question)]

    seams.setattr(Asks, "ask", ask)


def numbers_start_again(seams: Seams, mark: Mark) -> None:
    """A store that is opened numbers its changes from 1."""
    load = Store._load

    def load_(store: Store, changes: Iterable[Change]) -> None:
        load(store, changes)
        mark.note(store._seq)
        store._seq = 0

    seams.setattr(Store, "_load", load_)


def stamps_are_coarse(seams: Seams, mark: Mark) -> None:
    """Stamps are in steps of 10 ms, and two writes of one key within a step get the same."""
    tick = HybridClock.tick

    def tick_(clock: HybridClock, *, wall_ns: int, above: int = 0) -> int:
        stamp = tick(clock, wall_ns=wall_ns, above=above)
        coarse = max(wall_ns // COARSE_NS * COARSE_NS, above)
        mark.note(coarse == above)
        return min(coarse, stamp)

    seams.setattr(HybridClock, "tick", tick_)


# Answers -------------------------------------------------------------------------------------------------------------


def writes_wait_for_the_leader(seams: Seams, mark: Mark) -> None:
    """A node that has much to offer does not answer writers any more."""
    write = StorageBehaviour._write

    def write_(
        behaviour: StorageBehaviour, now: Now, to: ReplyTo, question: Put | PushItem | Remove | Patch
    ) -> list[Effect]:
        waiting = max(collection.outbox_size for collection in behaviour.store.replicated())
        effects = write(behaviour, now, to, question)
        if waiting < WAITING_MAX:
            return effects
        mark.note()
        return [effect for effect in effects if not isinstance(effect, Reply)]

    seams.setattr(StorageBehaviour, "_write", write_)


def reads_are_cached(seams: Seams, mark: Mark) -> None:
    """A read shows what the key was when it was read first."""
    read = StorageBehaviour._read
    cached: list[tuple[StorageBehaviour, str, Result]] = []

    def read_(behaviour: StorageBehaviour, question: Read) -> Result:
        now = read(behaviour, question)
        if not isinstance(question, Get) or not isinstance(now, Entries):
            return now
        for owner, key, then in cached:
            if owner is behaviour and key == question.key:
                mark.note(then != now)
                return then
        cached.append((behaviour, question.key, now))
        return now

    seams.setattr(StorageBehaviour, "_read", read_)


def an_update_keeps_the_data_that_was_here(seams: Seams, mark: Mark) -> None:
    """Of an update from another member everything is taken but the data."""
    take = Decision.take

    def take_(decision: Decision, entry: Entry, *, acked: int | None) -> Row:
        row = decision.store.collection_of(entry.key).peek(entry.key)
        if row is not None and acked is not None and not row.entry.deleted and not entry.deleted:
            mark.note(row.entry.data != entry.data)
            entry = replace(entry, data=row.entry.data)
        return take(decision, entry, acked=acked)

    seams.setattr(Decision, "take", take_)
