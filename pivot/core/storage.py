"""StorageBehaviour: owns one store; every change of data is decided here.

Layer: core (pure). Theory of operation:

A question that changes data stages its changes and answers with `Persist`, then `Reply`. The runner commits the changes
of all questions in a batch at once and then says `Committed` (staged rows become visible, those who care are told) or
`CommitFailed` (staging is dropped; the runner turned every reply into a refusal). Reads see committed rows only, so
nobody is ever told of a version that a power cut could take back.

    question                     changes                                            answer
    Put, PushItem, Remove        PutRow, stamped by our clock                       Written
    MergePushed                  PutRow per version greater than ours               Merged
    MergePage                    PutRow (confirmed) per greater version, SetCursor  Position
    FollowEpoch                  ClearAcks, SetCursor to 0                          Position
    Confirm                      PutRow with `acked`, if it still is that version   Confirmed
    Get, ListAll, ListKeys, ReadFeed, ReadOutbox, Describe                          what was read

Start at `StorageBehaviour.step`.
"""

from collections.abc import Mapping
from typing import assert_never, final

from pivot.config import Knobs
from pivot.core.collection import Change, ClearAcks, Collection, PutRow, Row, SetCursor
from pivot.core.effects import Effect, Persist, Publish, Reply, Report, Tell
from pivot.core.entry import Entry, fingerprint, supersedes
from pivot.core.events import (
    Asked,
    Changed,
    CommitFailed,
    Committed,
    Confirm,
    Confirmed,
    Describe,
    Entries,
    Event,
    FollowEpoch,
    Get,
    Keys,
    ListAll,
    ListKeys,
    Merged,
    MergePage,
    MergePushed,
    Position,
    PushItem,
    Put,
    ReadFeed,
    ReadOutbox,
    Rejected,
    Remove,
    ReplyTo,
    Result,
    StorageRefused,
    Written,
)
from pivot.core.messages import RowAck, RowRejected
from pivot.core.store import Store
from pivot.errors import ClockAheadError
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
        match asked.question:
            case Put() | PushItem() | Remove() as question:
                return self._write(now, asked.to, question)
            case MergePushed() as question:
                return self._merge_pushed(now, asked.to, question)
            case MergePage() as question:
                return self._merge_page(now, asked.to, question)
            case FollowEpoch() as question:
                return self._follow_epoch(asked.to, question)
            case Confirm() as question:
                return self._confirm(asked.to, question)
            case Get() | ListAll() | ListKeys() | ReadFeed() | ReadOutbox() | Describe() as question:
                return [Reply(asked.to, self._read(question))]
            case _:
                assert_never(asked.question)

    def _read(self, question: Get | ListAll | ListKeys | ReadFeed | ReadOutbox | Describe) -> Result:
        limits = {"rows_max": self._knobs.page_rows, "bytes_max": self._knobs.page_bytes}
        match question:
            case Get():
                row = self.store.collection_of(question.key).get(question.key)
                return Entries(() if row is None or row.entry.deleted else (row.entry,), self.store.head)
            case ListAll():
                return Entries(tuple(self.store.live(question.pattern)), self.store.head)
            case ListKeys():
                return Keys(tuple(self.store.live_keys(question.containing)))
            case ReadFeed():
                return self.store[question.collection].feed(question.since, **limits)
            case ReadOutbox():
                return self.store[question.collection].outbox(question.since, **limits)
            case Describe():
                return self.store.describe()
            case _:
                assert_never(question)

    def _write(self, now: Now, to: ReplyTo, question: Put | PushItem | Remove) -> list[Effect]:
        writes: list[tuple[str, str | None]]
        match question:
            case Put():
                writes = [(question.key, question.data)]
            case PushItem():
                writes = [(self.store.fresh_key(now.wall_ns, question.pattern), question.data)]
            case Remove():
                writes = [(key, None) for key in self.store.doomed(question.pattern)]
            case _:
                assert_never(question)
        entries = tuple(self.store.next_version(now.wall_ns, key, data) for key, data in writes)
        written = Written(tuple(entry.key for entry in entries), tuple(entry.stamp for entry in entries))
        changes: list[Change] = [self.store.stage_entry(entry, acked=None) for entry in entries]
        return _decided(changes, Reply(to, written), list(entries), [])

    def _merge_pushed(self, now: Now, to: ReplyTo, question: MergePushed) -> list[Effect]:
        collection = self.store[question.collection]
        changes: list[Change] = []
        fresh: list[Entry] = []
        reports: list[Effect] = []
        acks: list[RowAck] = []
        rejected: list[RowRejected] = []
        for entry in question.entries:
            refusal = self._stranger(collection, entry) or self._ahead(now, entry)
            if refusal:
                rejected.append(RowRejected(entry.key, fingerprint(entry), refusal))
                reports.append(Report(Rejected(entry.key, refusal)))
                continue
            row = collection.peek(entry.key)
            reports += self._conflict(row, entry)
            if row is None or supersedes(entry, row.entry):
                change = self.store.stage_entry(entry, acked=None)
                row = change.row
                changes.append(change)
                fresh.append(entry)
            elif row is not collection.get(entry.key):  # not kept yet: what we answer stands or falls with that commit
                changes.append(PutRow(collection.path, row))
            acks.append(RowAck(entry.key, fingerprint(entry), row.seq))
        return _decided(changes, Reply(to, Merged(tuple(acks), tuple(rejected))), fresh, reports)

    def _merge_page(self, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        collection = self.store[question.collection]
        epoch, cursor = collection.peek_cursor()
        if question.epoch != epoch or question.since != cursor:
            return [Reply(to, _where(collection))]
        changes: list[Change] = []
        fresh: list[Entry] = []
        reports: list[Effect] = []
        for entry, seq in zip(question.entries, question.seqs, strict=True):
            refusal = self._stranger(collection, entry)
            if refusal:
                reports.append(Report(Rejected(entry.key, refusal)))
                continue
            self._ahead(now, entry)  # our own leader's rows are taken all the same; only the clock does not follow
            row = collection.peek(entry.key)
            reports += self._conflict(row, entry)
            if row is None or supersedes(entry, row.entry):
                changes.append(self.store.stage_entry(entry, acked=seq))
                fresh.append(entry)
            elif entry.version == row.entry.version and row.acked is None:
                changes.append(self.store.stage(PutRow(collection.path, Row(row.entry, row.seq, seq))))
        changes.append(self.store.stage(SetCursor(collection.path, epoch, question.next)))
        return _decided(changes, Reply(to, Position(epoch, question.next, applied=True)), fresh, reports)

    def _follow_epoch(self, to: ReplyTo, question: FollowEpoch) -> list[Effect]:
        collection = self.store[question.collection]
        epoch, _ = collection.peek_cursor()
        if question.answers != epoch or question.epoch == epoch:
            return [Reply(to, _where(collection))]
        changes: list[Change] = [
            self.store.stage(ClearAcks(collection.path)),
            self.store.stage(SetCursor(collection.path, question.epoch, 0)),
        ]
        return _decided(changes, Reply(to, Position(question.epoch, 0, applied=True)), [], [])

    def _confirm(self, to: ReplyTo, question: Confirm) -> list[Effect]:
        collection = self.store[question.collection]
        epoch, _ = collection.peek_cursor()
        changes: list[Change] = []
        for ack in question.acks if question.epoch == epoch else ():
            row = collection.peek(ack.key)
            if row is not None and row.acked is None and fingerprint(row.entry) == ack.fingerprint:
                changes.append(self.store.stage(PutRow(collection.path, Row(row.entry, row.seq, ack.seq))))
        return _decided(changes, Reply(to, Confirmed(len(changes))), [], [])

    def _stranger(self, collection: Collection, entry: Entry) -> str:
        """Why an entry may not be merged into a collection; empty when it may."""
        if self.store.collection_of(entry.key) is collection:
            return ""
        return f"key {entry.key!r} is not in collection {collection.path!r}"

    def _ahead(self, now: Now, entry: Entry) -> str:
        """Move our clock past an entry's stamp; why not, when it is too far ahead."""
        try:
            self.store.clock.observe(entry.stamp, wall_ns=now.wall_ns)
        except ClockAheadError as error:
            return str(error)
        return ""

    def _conflict(self, row: Row | None, entry: Entry) -> list[Effect]:
        conflict = self.store.conflict(row, entry)
        return [] if conflict is None else [Report(conflict)]


def _where(collection: Collection) -> Position:
    """What is committed: this answer goes out even when the commit of the batch fails."""
    return Position(collection.epoch, collection.cursor, applied=False)


def _decided(changes: list[Change], reply: Reply, fresh: list[Entry], reports: list[Effect]) -> list[Effect]:
    """The effects of a decision, in the one order that is safe: commit, then tell."""
    effects: list[Effect] = [Persist(tuple(changes))] if changes else []
    effects.append(reply)
    if fresh:
        effects.append(Publish(tuple(fresh)))
    return effects + reports
