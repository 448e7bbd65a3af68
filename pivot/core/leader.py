"""LeaderBehaviour: answers the nodes that follow this member.

Layer: core (pure). Theory of operation:

Per subscriber and collection the leader keeps one position in its feed, not a copy of rows: whatever is new when the
window is open goes into the next page. At most `page_window` pages are under way without an acknowledgement. Nothing
here repairs a lost page: each heartbeat says where the next page starts, so a reader that missed one subscribes again
from its cursor, and its repeated acknowledgement opens a window whose acknowledgements were lost.

    event                       effect
    Hello                       Welcome or Refused; the peer is watched
    Subscribe, our epoch        position = its cursor, then pages
    Subscribe, Push, other      Reset(answers that epoch, ours)
    Ack                         opens the window; a position behind the cursor moves up to it; without a
                                subscription it is one
    Push                        merged by storage; PushAck when that is committed
    Changed                     pages to everybody whose window is open
    PeerSilent, LinkLost        the subscriber is dropped; it resumes from its cursor

Subscribers at one position share one read. Start at `LeaderBehaviour.step`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, final

from pivot.config import Knobs
from pivot.core.asks import Asks
from pivot.core.collection import FeedSlice
from pivot.core.effects import Effect, Report, Send, SetTimer, Tell
from pivot.core.events import (
    Answer,
    Changed,
    Enrol,
    Event,
    Heard,
    LinkLost,
    Merged,
    MergePushed,
    PeerDown,
    PeerRefused,
    PeerSilent,
    PeerUp,
    ReadFeed,
    Received,
    Result,
    Started,
    TimerFired,
    Unwatch,
)
from pivot.core.messages import PROTOCOL, Ack, Hello, Page, Push, PushAck, Refused, Reset, Subscribe, Welcome
from pivot.types import Address, Epoch, MemberId, Now, StoreId

HEARTBEAT: Final = "heartbeat"
PENDING_MAX: Final = 1024
"""Most questions to storage without an answer; pushes above it are dropped and come again."""


@final
@dataclass(slots=True)
class _Flow:
    """What one subscriber gets of one collection.

    Attributes:
        target: where its pages go.
        position: everything up to here was sent.
        under_way: where each page ends that was sent and not acknowledged.
        reading: whether storage was asked for the next page.
        dropped: whether the subscriber is gone; a read under way for it is then for nothing.
    """

    target: Address
    position: int
    under_way: deque[int] = field(default_factory=deque[int])
    reading: bool = False
    dropped: bool = False


@final
@dataclass(slots=True, frozen=True)
class _Read:
    """Purpose of a question: the next page for every flow at this position."""

    collection: str
    since: int


@final
@dataclass(slots=True, frozen=True)
class _Merge:
    """Purpose of a question: the answer to this push."""

    target: Address
    collection: str
    ordinal: int


@final
@dataclass(slots=True)
class _Peer:
    """One node that said Hello."""

    store: StoreId
    heard_s: float
    flows: dict[str, _Flow] = field(default_factory=dict[str, _Flow])

    def drop_flows(self) -> None:
        for flow in self.flows.values():
            flow.dropped = True


@final
class LeaderBehaviour:
    """Leads some collections of one store."""

    def __init__(self, *, epoch: Epoch, collections: Iterable[str], cluster_id: str, knobs: Knobs) -> None:
        """Begin without subscribers.

        Args:
            epoch: life of the store.
            collections: those this member leads.
            cluster_id: which cluster this is; empty matches any.
            knobs: timings and limits.
        """
        self._epoch = epoch
        self._heads = dict.fromkeys(collections, 0)
        self._cluster_id = cluster_id
        self._knobs = knobs
        self._peers: dict[MemberId, _Peer] = {}
        self._asks = Asks[_Read | _Merge](PENDING_MAX)
        self._readers: dict[_Read, list[_Flow]] = {}

    def step(self, now: Now, event: Event) -> list[Effect]:
        """See `Behaviour.step`."""
        match event:
            case Started():
                return [self._heartbeat_timer()]
            case Received():
                return self._received(now, event)
            case Changed():
                if event.collection in self._heads:
                    self._heads[event.collection] = max(self._heads[event.collection], event.head)
                return self._pump_all(event.collection)
            case Answer():
                return self._answered(event)
            case TimerFired():
                return [*self._heartbeats(), self._heartbeat_timer()]
            case PeerSilent():
                return self._drop(event.peer, f"silent for {event.silent_s:.1f} s, the limit is {event.limit_s:.1f} s")
            case LinkLost():
                return self._drop(event.peer, event.reason)
            case Enrol():
                return [Tell("health", Heard(Address(peer), "leader")) for peer in self._peers]
            case _:
                return []

    def _received(self, now: Now, event: Received) -> list[Effect]:
        body = event.body
        if isinstance(body, Hello):
            return self._hello(now, event, body)
        peer = self._peers.get(event.sender)
        if peer is None or peer.store != event.store:
            if isinstance(body, Subscribe | Ack | Push):
                return [Send(Address(event.sender), Refused("this node is not known here, it must say hello first"))]
            return []
        effects: list[Effect] = []
        if now.monotonic_s - peer.heard_s > self._knobs.heartbeat_s / 2:
            peer.heard_s = now.monotonic_s
            effects.append(Tell("health", Heard(Address(event.sender), "leader")))
        match body:
            case Subscribe() | Ack() | Push() if body.collection not in self._heads:
                pass
            case Subscribe() | Ack() | Push() if body.epoch != self._epoch:
                reset = Reset(collection=body.collection, answers=body.epoch, epoch=self._epoch)
                effects.append(Send(Address(event.sender), reset))
            case Subscribe():
                effects += self._subscribe(event.sender, peer, body.collection, body.cursor)
            case Ack():
                effects += self._ack(event.sender, peer, body)
            case Push():
                merge = _Merge(Address(event.sender), body.collection, body.ordinal)
                effects += self._asks.ask(MergePushed(body.collection, body.entries), merge)
            case _:
                pass
        return effects

    def _hello(self, now: Now, event: Received, hello: Hello) -> list[Effect]:
        target = Address(event.sender)
        reason = self._objection(event.sender, hello)
        if reason:
            return [Send(target, Refused(reason)), Report(PeerRefused(target, reason))]
        effects: list[Effect] = []
        before = self._peers.get(event.sender)
        if before is None:
            effects.append(Report(PeerUp(target, "node")))
        else:
            before.drop_flows()
        self._peers[event.sender] = _Peer(event.store, now.monotonic_s)
        ours = tuple(path for path in hello.collections if path in self._heads)
        welcome = Welcome(protocol=PROTOCOL, cluster=self._cluster_id, wall_ns=now.wall_ns, collections=ours)
        return [*effects, Tell("health", Heard(target, "leader")), Send(target, welcome)]

    def _objection(self, sender: MemberId, hello: Hello) -> str:
        low, high = hello.protocol
        if not low <= PROTOCOL <= high:
            return f"protocol {low} to {high} is not spoken here, only {PROTOCOL}"
        if hello.cluster and self._cluster_id and hello.cluster != self._cluster_id:
            return f"cluster id {hello.cluster!r} is not ours, {self._cluster_id!r}"
        if not any(path in self._heads for path in hello.collections):
            return f"none of the collections {', '.join(hello.collections)[:200]} is led here"
        if sender not in self._peers and len(self._peers) >= self._knobs.peers_max:
            return f"{len(self._peers)} nodes follow already, at most {self._knobs.peers_max} may"
        return ""

    def _subscribe(self, sender: MemberId, peer: _Peer, collection: str, cursor: int) -> list[Effect]:
        before = peer.flows.get(collection)
        if before is not None:
            before.dropped = True
        flow = peer.flows[collection] = _Flow(target=Address(sender), position=cursor)
        return self._pump(collection, flow, certain=False)

    def _ack(self, sender: MemberId, peer: _Peer, ack: Ack) -> list[Effect]:
        flow = peer.flows.get(ack.collection)
        if flow is None:  # its Subscribe was lost, or came before a repeated Hello; this says the same
            return self._subscribe(sender, peer, ack.collection, ack.cursor)
        while flow.under_way and flow.under_way[0] <= ack.cursor:
            flow.under_way.popleft()
        flow.position = max(flow.position, ack.cursor)
        return self._pump(ack.collection, flow)

    def _drop(self, peer: Address, reason: str) -> list[Effect]:
        known = self._peers.pop(MemberId(peer), None)
        if known is None:
            return []
        known.drop_flows()
        return [Tell("health", Unwatch(peer)), Report(PeerDown(peer, "node", reason))]

    # Pages -------------------------------------------------------------------------------------------------------

    def _pump_all(self, collection: str) -> list[Effect]:
        effects: list[Effect] = []
        for peer in self._peers.values():
            flow = peer.flows.get(collection)
            if flow is not None:
                effects += self._pump(collection, flow)
        return effects

    def _pump(self, collection: str, flow: _Flow, *, certain: bool = True) -> list[Effect]:
        """Ask for the next page when there is one and the window is open.

        `certain` says that the head we know is enough to decide; wake-ups may have been lost.
        """
        if flow.reading or len(flow.under_way) >= self._knobs.page_window:
            return []
        if certain and flow.position >= self._heads[collection]:
            return []
        read = _Read(collection, flow.position)
        waiting = self._readers.get(read)
        if waiting is not None:
            flow.reading = True
            waiting.append(flow)
            return []
        effects = self._asks.ask(ReadFeed(collection, flow.position), read)
        if effects:
            flow.reading = True
            self._readers[read] = [flow]
        return [*effects]

    def _answered(self, answer: Answer) -> list[Effect]:
        match self._asks.answered(answer.token), answer.result:
            case _Merge() as merge, Merged() as merged:
                body = PushAck(
                    collection=merge.collection,
                    ordinal=merge.ordinal,
                    epoch=self._epoch,
                    acks=merged.acks,
                    rejected=merged.rejected,
                )
                return [Send(merge.target, body)]
            case _Read() as read, result:
                return self._read(read, result)
            case _:
                return []  # storage refused: the node will offer those rows again

    def _read(self, read: _Read, result: Result) -> list[Effect]:
        flows = [flow for flow in self._readers.pop(read) if not flow.dropped]
        for flow in flows:
            flow.reading = False
        if not isinstance(result, FeedSlice):
            return []  # the next heartbeat asks again
        self._heads[read.collection] = max(self._heads[read.collection], result.head)
        page = Page(
            collection=read.collection,
            epoch=self._epoch,
            since=result.since,
            entries=tuple(row.entry for row in result.rows),
            seqs=tuple(row.seq for row in result.rows),
            next=result.next,
            head=result.head,
        )
        effects: list[Effect] = []
        for flow in flows:
            if flow.position == result.since and result.next > result.since:
                flow.position = result.next
                flow.under_way.append(result.next)
                effects.append(Send(flow.target, page))
            effects += self._pump(read.collection, flow)
        return effects

    def _heartbeats(self) -> list[Effect]:
        effects: list[Effect] = []
        for peer in self._peers.values():
            for collection, flow in peer.flows.items():
                effects += self._pump(collection, flow, certain=False)
                place, head = flow.position, self._heads[collection]
                if place > head:
                    continue  # we have just begun and storage has not told us yet how far our own feed goes
                beat = Page(
                    collection=collection, epoch=self._epoch, since=place, entries=(), seqs=(), next=place, head=head
                )
                effects.append(Send(flow.target, beat))
        return effects

    def _heartbeat_timer(self) -> SetTimer:
        return SetTimer(HEARTBEAT, self._knobs.heartbeat_s, self._knobs.heartbeat_s)
