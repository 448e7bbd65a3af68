"""StorageBehaviour: owns one store; every change of data is decided here.

Layer: core (pure). Theory of operation:

A question that changes data stages its changes and answers with `Persist`, then `Reply`. The runner commits the changes
of all questions in a batch at once and then says `Committed` (staged rows become visible, those who care are told) or
`CommitFailed` (staging is dropped; the runner turned every reply into a refusal). Reads see committed rows only, so
nobody is ever told of a version that a power cut could take back.

    question                              what it may change                                  decided in
    Put, PushItem, Remove, Patch          rows, stamped by our clock                          here
    MergePushed                           rows that are greater than ours                     merging
    MergePage, MergeResync                rows (confirmed), our place; absent rows at an end  merging
    FollowEpoch, Wipe                     confirmations, our place; everything                merging
    Confirm, Restamp, Withdraw            confirmations; rows ahead of every clock; refused   merging
    MergeFromPeer                         rows that are greater than ours                     sharing
    Collect, ConfirmFollowers,            tombstones, followers, our floor                    collecting
      Decommission, HearFloor
    CompareDigest, ReadBuckets,           rows that differ and should not                     mending
      MendBuckets
    Get, ListAll, ListKeys, ReadFeed, ReadOutbox, ReadForPeer, Describe                       here, nothing changes

Start at `StorageBehaviour.step`.
"""

from collections.abc import Mapping
from typing import assert_never, final

from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.collecting import collect, confirm_followers, decommission, hear_floor
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Reply, Report, Tell
from pivot.core.events import Asked, Changed, CommitFailed, Committed, Event
from pivot.core.mending import compare_digest, mend_buckets, read_buckets
from pivot.core.merging import confirm, follow_epoch, merge_page, merge_pushed, merge_resync, restamp, wipe, withdraw
from pivot.core.notices import StorageRefused
from pivot.core.patching import patched
from pivot.core.questions import (
    Collect,
    CompareDigest,
    Confirm,
    ConfirmFollowers,
    Decommission,
    Describe,
    Entries,
    FollowEpoch,
    Get,
    HearFloor,
    Keys,
    ListAll,
    ListKeys,
    MendBuckets,
    MergeFromPeer,
    MergePage,
    MergePushed,
    MergeResync,
    Misfit,
    Patch,
    PushItem,
    Put,
    ReadBuckets,
    ReadFeed,
    ReadForPeer,
    ReadOutbox,
    Remove,
    ReplyTo,
    Restamp,
    Result,
    Wipe,
    Withdraw,
    Written,
)
from pivot.core.sharing import merge_from_peer, read_for_peer
from pivot.core.store import Store
from pivot.errors import BadValueError
from pivot.types import Now


@final
class StorageBehaviour:
    """Decides every change of one store.

    Attributes:
        store: the data.
    """

    def __init__(self, store: Store, *, listeners: Mapping[str, str], knobs: Knobs) -> None:
        """Take charge of a store.

        Args:
            store: loaded, nothing staged.
            listeners: collection -> actor to wake when its feed grew.
            knobs: limits.
        """
        self.store = store
        self._listeners = dict(listeners)
        self._knobs = knobs

    def step(self, now: Now, event: Event) -> list[Effect]:
        """See `Behaviour.step`; events other than questions and the outcome of commits mean nothing here."""
        match event:
            case Asked():
                return self._answer(now, event)
            case Committed():
                return [
                    Tell(self._listeners[collection.path], Changed(collection.path, collection.head))
                    for collection in self.store.commit()
                    if collection.path in self._listeners
                ]
            case CommitFailed():
                self.store.discard()
                return [Report(StorageRefused(event.reason))]
            case _:
                return []

    def _answer(self, now: Now, asked: Asked) -> list[Effect]:
        store, knobs, to = self.store, self._knobs, asked.to
        match asked.question:
            case ReadOutbox() | ReadFeed() as question:  # the most frequent ones first
                return [Reply(to, self._read(question))]
            case MergePage() as question:
                return merge_page(store, now, to, question)
            case Put() | PushItem() | Remove() | Patch() as question:
                return self._write(now, to, question)
            case MergePushed() as question:
                return merge_pushed(store, now, to, question)
            case MergeResync() as question:
                return merge_resync(store, now, to, question)
            case MergeFromPeer() as question:
                return merge_from_peer(store, now, to, question)
            case FollowEpoch() as question:
                return follow_epoch(store, to, question)
            case Wipe() as question:
                return wipe(store, to, question)
            case Confirm() as question:
                return confirm(store, to, question)
            case Withdraw() as question:
                return withdraw(store, now, to, question)
            case Restamp() as question:
                return restamp(store, now, to, question)
            case Collect() as question:
                return collect(store, now, knobs, to, question)
            case ConfirmFollowers() as question:
                return confirm_followers(store, to, question)
            case Decommission() as question:
                return decommission(store, to, question)
            case HearFloor() as question:
                return hear_floor(store, to, question)
            case MendBuckets() as question:
                return mend_buckets(store, to, question)
            case _:
                return [Reply(to, self._read(asked.question))]

    def _read(
        self,
        question: Get
        | ListAll
        | ListKeys
        | ReadFeed
        | ReadOutbox
        | ReadForPeer
        | CompareDigest
        | ReadBuckets
        | Describe,
    ) -> Result:
        store = self.store
        limits = {"rows_max": self._knobs.page_rows, "bytes_max": self._knobs.page_bytes}
        match question:
            case ReadOutbox():
                return store[question.collection].outbox(question.since, **limits)
            case ReadFeed():
                return replace(store[question.collection].feed(question.since, **limits), clock=store.clock.last)
            case Get():
                row = store.collection_of(question.key).get(question.key)
                return Entries(() if row is None or row.entry.deleted else (row.entry,), store.head)
            case ListAll():
                return Entries(tuple(store.live(question.pattern)), store.head)
            case ListKeys():
                return Keys(tuple(store.live_keys(question.containing)))
            case ReadForPeer():
                return read_for_peer(store, self._knobs, question)
            case CompareDigest():
                return compare_digest(store, question)
            case ReadBuckets():
                return read_buckets(store, self._knobs, question)
            case Describe():
                return store.describe()
            case _:
                assert_never(question)

    def _write(self, now: Now, to: ReplyTo, question: Put | PushItem | Remove | Patch) -> list[Effect]:
        writes: list[tuple[str, str | None]]
        match question:
            case Put():
                writes = [(question.key, question.data)]
            case PushItem():
                writes = [(self.store.fresh_key(now.wall_ns, question.pattern), question.data)]
            case Remove():
                writes = [(key, None) for key in self.store.doomed(question.pattern)]
            case Patch():
                return self._patch(now, to, question)
            case _:
                assert_never(question)
        decision = Decision(self.store, to)
        entries = [self.store.next_version(now.wall_ns, key, data) for key, data in writes]
        for entry in entries:
            decision.take(entry, acked=None)
        return decision.effects(Written(tuple(e.key for e in entries), tuple(e.stamp for e in entries)))

    def _patch(self, now: Now, to: ReplyTo, question: Patch) -> list[Effect]:
        key, collection = question.key, self.store.collection_of(question.key)
        decision = Decision(self.store, to)
        row = collection.peek(key)
        if row is None or row.entry.deleted:
            decision.lean_on(collection, key)
            return decision.effects(Written((), ()))
        try:
            data = patched(row.entry.data, question.data)
        except BadValueError as error:
            decision.lean_on(collection, key)
            return decision.effects(Misfit(str(error)))
        entry = self.store.next_version(now.wall_ns, key, data)
        decision.take(entry, acked=None)
        return decision.effects(Written((key,), (entry.stamp,)))
