"""LeaderBehaviour: answers the nodes that follow this member; `leading` says what flows to them.

Layer: core (pure). Theory of operation:

    event                       effect
    Hello                       Welcome or Refused; the peer is watched
    Subscribe, our epoch        pages from its cursor; Gone when that is below our floor, unless it re-syncs
    Subscribe, Push, other      Reset(answers that epoch, ours, how much of that is in ours)
    Ack                         opens the window; without a subscription it is one
    Push                        merged by storage; PushAck, or Stale, when that is committed
    Digest                      Repair, with all rows of the buckets that differ
    Changed                     pages to everybody whose window is open
    timer `heartbeat`           every subscriber sees that we live
    timer `collect`             storage drops the tombstones that all followers have
    PeerSilent, LinkLost        the subscriber is dropped; it resumes from its cursor

Start at `LeaderBehaviour.step`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, assert_never, final

from pivot.config import Knobs
from pivot.core.asks import Asks
from pivot.core.effects import Effect, Report, Send, SetTimer, Tell
from pivot.core.events import (
    Answer,
    Changed,
    Enrol,
    Event,
    Heard,
    LinkLost,
    PeerSilent,
    Received,
    Started,
    TimerFired,
    Unwatch,
)
from pivot.core.leading import PENDING_MAX, Leading, Purpose
from pivot.core.lineage import NO_LINEAGE, Lineage
from pivot.core.messages import PROTOCOL, Ack, Digest, Hello, Push, Refused, Reset, Subscribe, Welcome
from pivot.core.notices import PeerDown, PeerRefused, PeerUp
from pivot.types import Address, Epoch, MemberId, Now, StoreId

HEARTBEAT: Final = "heartbeat"
COLLECT: Final = "collect"


@final
@dataclass(slots=True)
class _Peer:
    """One node that said Hello."""

    store: StoreId
    heard_s: float


@final
class LeaderBehaviour:
    """Leads some collections of one store."""

    def __init__(
        self,
        *,
        epoch: Epoch,
        lineage: Lineage = NO_LINEAGE,
        collections: Iterable[str],
        cluster_id: str,
        knobs: Knobs,
    ) -> None:
        """Begin without subscribers.

        Args:
            epoch: life of the store.
            lineage: its earlier lives.
            collections: those this member leads.
            cluster_id: which cluster this is; empty matches any.
            knobs: timings and limits.
        """
        self._epoch = epoch
        self._lineage = lineage
        self._cluster_id = cluster_id
        self._knobs = knobs
        self._peers: dict[MemberId, _Peer] = {}
        self._asks = Asks[Purpose](PENDING_MAX)
        self._leading = {path: Leading(path=path, epoch=epoch, knobs=knobs, asks=self._asks) for path in collections}

    def step(self, now: Now, event: Event) -> list[Effect]:
        """See `Behaviour.step`."""
        match event:
            case Started():
                return [self._timer(HEARTBEAT), self._timer(COLLECT)]
            case Received():
                return self._received(now, event)
            case Changed():
                leading = self._leading.get(event.collection)
                return [] if leading is None else leading.changed(event.head)
            case Answer():
                purpose = self._asks.answered(event.token)
                return [] if purpose is None else self._leading[purpose.collection].answered(now, purpose, event.result)
            case TimerFired():
                return [*self._on_timer(now, event.name), self._timer(event.name)]
            case PeerSilent():
                return self._drop(event.peer, f"silent for {event.silent_s:.1f} s, the limit is {event.limit_s:.1f} s")
            case LinkLost():
                return self._drop(event.peer, event.reason)
            case Enrol():
                return [Tell("health", Heard(Address(peer), "leader")) for peer in self._peers]
            case _:
                return []

    def _on_timer(self, now: Now, name: str) -> list[Effect]:
        every = self._leading.values()
        if name == COLLECT:
            return [effect for leading in every for effect in leading.collect()]
        return [effect for leading in every for effect in leading.heartbeat(now)]

    def _received(self, now: Now, event: Received) -> list[Effect]:
        body = event.body
        if isinstance(body, Hello):
            return self._hello(now, event, body)
        if not isinstance(body, Subscribe | Ack | Push | Digest):
            return []
        peer, sender = self._peers.get(event.sender), Address(event.sender)
        if peer is None or peer.store != event.store:
            return [Send(sender, Refused("this node is not known here, it must say hello first"))]
        effects: list[Effect] = []
        if now.monotonic_s - peer.heard_s > self._knobs.heartbeat_s / 2:
            peer.heard_s = now.monotonic_s
            effects.append(Tell("health", Heard(sender, "leader")))
        leading = self._leading.get(body.collection)
        if leading is None:
            return effects
        if body.epoch != self._epoch:
            kept = self._lineage.kept(body.epoch)
            return [*effects, Send(sender, Reset(body.collection, body.epoch, self._epoch, kept))]
        match body:
            case Subscribe():
                effects += leading.subscribe(now, event, body)
            case Ack():
                effects += leading.ack(now, event, body)
            case Push():
                effects += leading.push(event, body)
            case Digest():
                effects += leading.compare(event, body)
            case _:
                assert_never(body)
        return effects

    def _hello(self, now: Now, event: Received, hello: Hello) -> list[Effect]:
        target = Address(event.sender)
        reason = self._objection(event.sender, hello)
        if reason:
            return [Send(target, Refused(reason)), Report(PeerRefused(target, reason))]
        effects: list[Effect] = []
        if event.sender not in self._peers:
            effects.append(Report(PeerUp(target, "node")))
        self._stop_feeding(event.sender)
        self._peers[event.sender] = _Peer(event.store, now.monotonic_s)
        ours = tuple(path for path in hello.collections if path in self._leading)
        welcome = Welcome(protocol=PROTOCOL, cluster=self._cluster_id, wall_ns=now.wall_ns, collections=ours)
        return [*effects, Tell("health", Heard(target, "leader")), Send(target, welcome)]

    def _objection(self, sender: MemberId, hello: Hello) -> str:
        low, high = hello.protocol
        if not low <= PROTOCOL <= high:
            return f"protocol {low} to {high} is not spoken here, only {PROTOCOL}"
        if hello.cluster and self._cluster_id and hello.cluster != self._cluster_id and not hello.joins:
            return f"cluster id {hello.cluster!r} is not ours, {self._cluster_id!r}"
        if not any(path in self._leading for path in hello.collections):
            return f"none of the collections {', '.join(hello.collections)[:200]} is led here"
        if sender not in self._peers and len(self._peers) >= self._knobs.peers_max:
            return f"{len(self._peers)} nodes follow already, at most {self._knobs.peers_max} may"
        return ""

    def _drop(self, peer: Address, reason: str) -> list[Effect]:
        member = MemberId(peer)
        if self._peers.pop(member, None) is None:
            return []
        self._stop_feeding(member)
        return [Tell("health", Unwatch(peer)), Report(PeerDown(peer, "node", reason))]

    def _stop_feeding(self, member: MemberId) -> None:
        for leading in self._leading.values():
            leading.drop(member)

    def _timer(self, name: str) -> SetTimer:
        every_s = self._knobs.collect_s if name == COLLECT else self._knobs.heartbeat_s
        return SetTimer(name, every_s, every_s)
