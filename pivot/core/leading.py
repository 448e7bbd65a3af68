"""Leading: one collection that this member leads: its feed for those who follow, and what they have of it.

Layer: core (pure). Theory of operation:

*Feeding.* Per subscriber the leader keeps one position in its feed, not a copy of rows: whatever is new when the window
is open goes into the next page. At most `page_window` pages are under way without an acknowledgement. Nothing here
repairs a lost page: each heartbeat says where the next page starts, so a reader that missed one subscribes again from
its cursor, and its repeated acknowledgement opens a window whose acknowledgements were lost. Subscribers at one
position share one read. A position below the floor gets Gone instead of pages, unless it belongs to a re-sync; what a
re-sync acknowledges opens its window and says nothing about what that node has.

*Retaining.* What nodes acknowledge is remembered here and now and then handed to storage, which keeps it and drops the
tombstones that everybody has.

Start at `Leading.subscribe`.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

import msgspec
from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.asks import Asks
from pivot.core.collection import FeedSlice, Follower
from pivot.core.digest import NO_DIGEST
from pivot.core.effects import Effect, Send
from pivot.core.events import Received
from pivot.core.messages import Ack, Digest, Gone, Page, Push, PushAck, Repair, Stale, Subscribe
from pivot.core.questions import (
    Buckets,
    Collect,
    Merged,
    MergePushed,
    Missed,
    ReadBuckets,
    ReadFeed,
    Result,
    Retained,
)
from pivot.types import Address, Epoch, MemberId, Now, StoreId

PENDING_MAX: Final = 1024
"""Most questions to storage without an answer; what is above it comes again by itself."""


@final
@dataclass(slots=True)
class Flow:
    """What one subscriber gets.

    Attributes:
        target: where its pages go.
        position: everything up to here was sent.
        resync: whether everything is read again; only then may it be below our floor.
        under_way: where each page ends that was sent and not acknowledged.
        reading: whether storage was asked for the next page.
        dropped: whether the subscriber is gone; a read under way for it is then for nothing.
    """

    target: Address
    position: int
    resync: bool
    under_way: deque[int] = field(default_factory=deque[int])
    reading: bool = False
    dropped: bool = False


@final
class ForPage(msgspec.Struct, frozen=True, gc=False):
    """Purpose of a question: the next page for every flow at this position."""

    collection: str
    since: int


@final
class ForPush(msgspec.Struct, frozen=True, gc=False):
    """Purpose of a question: the answer to this push."""

    collection: str
    target: Address
    ordinal: int


@final
class ForRepair(msgspec.Struct, frozen=True, gc=False):
    """Purpose of a question: rows of buckets that differ, for this node."""

    collection: str
    target: Address


@final
class ForRetention(msgspec.Struct, frozen=True, gc=False):
    """Purpose of a question: these followers are noted."""

    collection: str
    followers: tuple[Follower, ...]


Purpose: TypeAlias = ForPage | ForPush | ForRepair | ForRetention


def _nothing_read() -> FeedSlice:
    return FeedSlice(since=0, rows=(), next=0, head=0)


@final
@dataclass(slots=True, kw_only=True)
class Leading:
    """One collection that we lead.

    Attributes:
        path: configured key or glob.
        epoch: life of our store.
        knobs: timings and limits.
        asks: open questions, shared by all collections.
        head: greatest end of our feed that we heard of; wake-ups may be lost.
        end: what storage said of the feed when it was last read, without the rows.
        flows: who is fed now.
        readers: position -> flows that wait for the same read.
        followers: who has kept how much, until storage knows.
    """

    path: str
    epoch: Epoch
    knobs: Knobs
    asks: Asks[Purpose]
    head: int = 0
    end: FeedSlice = field(default_factory=_nothing_read)
    flows: dict[MemberId, Flow] = field(default_factory=dict[MemberId, Flow])
    readers: dict[int, list[Flow]] = field(default_factory=dict[int, list[Flow]])
    followers: dict[StoreId, Follower] = field(default_factory=dict[StoreId, Follower])

    def changed(self, head: int) -> list[Effect]:
        """Our feed has grown: feed everybody whose window is open."""
        self.head = max(self.head, head)
        return [effect for flow in self.flows.values() for effect in self._pump(flow)]

    def drop(self, member: MemberId) -> None:
        """Feed this member no more."""
        flow = self.flows.pop(member, None)
        if flow is not None:
            flow.dropped = True

    # What nodes say ----------------------------------------------------------------------------------------------

    def subscribe(self, now: Now, event: Received, said: Subscribe | Ack) -> list[Effect]:
        """Feed a node from where it is."""
        self._note(now, event, said)
        self.drop(event.sender)
        flow = self.flows[event.sender] = Flow(Address(event.sender), said.cursor, said.resync)
        return self._pump(flow, certain=False)

    def ack(self, now: Now, event: Received, ack: Ack) -> list[Effect]:
        """Open a node's window."""
        flow = self.flows.get(event.sender)
        if flow is None:  # its Subscribe was lost, or came before a repeated Hello; this says the same
            return self.subscribe(now, event, ack)
        self._note(now, event, ack)
        if flow.resync != ack.resync:
            return []
        while flow.under_way and flow.under_way[0] <= ack.cursor:
            flow.under_way.popleft()
        flow.position = max(flow.position, ack.cursor)
        return self._pump(flow)

    def push(self, event: Received, push: Push) -> list[Effect]:
        """Let storage merge what a node offers."""
        purpose = ForPush(self.path, Address(event.sender), push.ordinal)
        return [*self.asks.ask(MergePushed(self.path, push.cursor, push.entries, push.refused), purpose)]

    def compare(self, event: Received, digest: Digest) -> list[Effect]:
        """A node that should be equal to us is not: read what differs."""
        purpose = ForRepair(self.path, Address(event.sender))
        return [*self.asks.ask(ReadBuckets(self.path, digest.cursor, digest.sums), purpose)]

    def _note(self, now: Now, event: Received, said: Subscribe | Ack) -> None:
        """Remember how far a store has kept our feed."""
        before = self.followers.get(event.store)
        if before is None:  # another store of the same member takes its place
            others = [store for store, follower in self.followers.items() if follower.name == event.sender]
            for store in others:
                del self.followers[store]
        cursor = max(0 if said.resync else said.cursor, 0 if before is None else before.cursor)
        self.followers[event.store] = Follower(event.store, event.sender, cursor, now.wall_ns)

    # Pages -------------------------------------------------------------------------------------------------------

    def _pump(self, flow: Flow, *, certain: bool = True) -> list[Effect]:
        """Ask for the next page when there is one and the window is open.

        `certain` says that the head we know is enough to decide; wake-ups may have been lost.
        """
        if flow.reading or len(flow.under_way) >= self.knobs.page_window:
            return []
        if certain and (flow.position >= self.head or not self._may_read(flow)):
            return []
        waiting = self.readers.get(flow.position)
        if waiting is not None:
            flow.reading = True
            waiting.append(flow)
            return []
        effects = self.asks.ask(ReadFeed(self.path, flow.position), ForPage(self.path, flow.position))
        if effects:
            flow.reading = True
            self.readers[flow.position] = [flow]
        return [*effects]

    def heartbeat(self, now: Now) -> list[Effect]:
        """Show every subscriber that we live, where its next page starts, and what must be true there."""
        effects: list[Effect] = []
        for flow in self.flows.values():
            effects += self._pump(flow, certain=False)
            if flow.position > self.head:
                continue  # we have just begun and storage has not told us yet how far our own feed goes
            if self._may_read(flow):
                at_end = self.end.head == self.head == flow.position
                digest = self.end.digest if at_end else NO_DIGEST
                beat = replace(self.end, since=flow.position, next=flow.position, head=self.head, digest=digest)
                effects.append(Send(flow.target, self._page(now, flow, beat)))
            else:
                effects.append(Send(flow.target, self._gone()))
        return effects

    def collect(self) -> list[Effect]:
        """Hand to storage what we know of our followers; it drops the tombstones that all have."""
        noted = tuple(self.followers.values())
        return [*self.asks.ask(Collect(self.path, noted), ForRetention(self.path, noted))]

    def _may_read(self, flow: Flow) -> bool:
        """Whether a flow has not missed collected tombstones, or makes up for it."""
        return flow.resync or flow.position >= self.end.floor

    def _gone(self) -> Gone:
        return Gone(self.path, self.epoch, self.end.floor, self.end.collected)

    def _page(self, now: Now, flow: Flow, piece: FeedSlice) -> Page:
        return Page(
            collection=self.path,
            epoch=self.epoch,
            since=piece.since,
            entries=tuple(row.entry for row in piece.rows),
            seqs=tuple(row.seq for row in piece.rows),
            next=piece.next,
            head=piece.head,
            floor=piece.floor,
            collected=piece.collected,
            clock=max(now.wall_ns, piece.clock),
            resync=flow.resync,
            digest=piece.digest,
        )

    # Answers from storage ----------------------------------------------------------------------------------------

    def answered(self, now: Now, purpose: Purpose, result: Result) -> list[Effect]:
        """Go on where the question was asked; what storage refused comes again by itself."""
        match purpose, result:
            case ForPage(), _:
                return self._read(now, purpose, result)
            case ForPush(), Merged():
                ack = PushAck(self.path, purpose.ordinal, self.epoch, result.acks, result.rejected)
                return [Send(purpose.target, ack)]
            case ForPush(), Missed():
                stale = Stale(self.path, purpose.ordinal, self.epoch, result.floor, result.collected)
                return [Send(purpose.target, stale)]
            case ForRepair(), Buckets():
                return self._repair(purpose, result)
            case ForRetention(), Retained():
                self._forget(purpose)
            case _:
                pass
        return []

    def _read(self, now: Now, purpose: ForPage, result: Result) -> list[Effect]:
        flows = [flow for flow in self.readers.pop(purpose.since) if not flow.dropped]
        for flow in flows:
            flow.reading = False
        if not isinstance(result, FeedSlice):
            return []  # the next heartbeat asks again
        self.head = max(self.head, result.head)
        self.end = replace(result, rows=())
        effects: list[Effect] = []
        for flow in flows:
            if not self._may_read(flow):
                effects.append(Send(flow.target, self._gone()))
            elif flow.position == result.since and result.next > result.since:
                flow.position = result.next
                flow.under_way.append(result.next)
                effects.append(Send(flow.target, self._page(now, flow, result)))
            effects += self._pump(flow)
        return effects

    def _repair(self, purpose: ForRepair, found: Buckets) -> list[Effect]:
        """Send what we have in buckets that differ, in as many messages as it takes."""
        effects: list[Effect] = []
        rows = found.rows
        while found.buckets and (rows or not effects):
            count, size = 0, 0
            for row in rows[: self.knobs.page_rows]:
                size += len(row.entry.key) + len(row.entry.data) + 80
                if count and size > self.knobs.page_bytes:
                    break
                count += 1
            piece, rows = rows[:count], rows[count:]
            repair = Repair(
                collection=self.path,
                epoch=self.epoch,
                buckets=found.buckets,
                entries=tuple(row.entry for row in piece),
                seqs=tuple(row.seq for row in piece),
            )
            effects.append(Send(purpose.target, repair))
        return effects

    def _forget(self, purpose: ForRetention) -> None:
        """What storage has noted need not be remembered here."""
        for follower in purpose.followers:
            if self.followers.get(follower.store) == follower:
                del self.followers[follower.store]
