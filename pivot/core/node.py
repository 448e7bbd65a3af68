"""NodeBehaviour: keeps a connection with one leader; `following` says what flows over it.

Layer: core (pure). Theory of operation:

    state      event                     effect                                           next
    STARTING   answer to Describe        where we are in each collection; Hello           GREETING
    STARTING   likewise, and not to sync where we are                                     WAITING
    WAITING    timer `retry`             Hello; timer `greet`                             GREETING
    GREETING   Welcome                   every collection begins; timer `alive`           LIVE
    WAITING    Welcome, late             as if in time                                    LIVE
    GREETING   Refused, timer `greet`    timer `retry`, doubled up to `retry_s_max`;      WAITING
                                         people hear of it once per outage
    LIVE       Refused                   the leader does not know us any more             WAITING
    any        LinkLost, PeerSilent      timer `retry`; see `mesh` for what is read then  WAITING
    LIVE       Welcome                   of another store of our leader: those collections begin, too
    LIVE       from our leader           see `following`; health hears of it
    LIVE       timer `alive`             every collection shows life
    LIVE       PullNow                   every collection begins again, from where it is
    WAITING    PullNow                   as timer `retry`

The outbox is the rows themselves, so nothing here needs to survive: after a crash the first step reads the cursors from
storage. Retries never stop. Start at `NodeBehaviour.step`.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, assert_never, final

from pivot.config import Config
from pivot.core.asks import Asks
from pivot.core.effects import CancelTimer, Effect, Report, Send, SetTimer, Tell
from pivot.core.events import (
    Answer,
    Changed,
    Enrol,
    Event,
    Heard,
    LinkLost,
    PeerSilent,
    PullNow,
    Received,
    Started,
    TimerFired,
    Unwatch,
)
from pivot.core.following import PENDING_MAX, Following, Purpose
from pivot.core.mesh import GIVING_MAX, Mesh
from pivot.core.messages import (
    PROTOCOL,
    Glimpse,
    Gone,
    Hello,
    Page,
    Peek,
    PushAck,
    Refused,
    Repair,
    Reset,
    Stale,
    Welcome,
)
from pivot.core.notices import PeerDown, PeerRefused, PeerUp
from pivot.core.questions import Describe, Result, StoreInfo
from pivot.types import Address, Now

RETRY: Final = "retry"
GREET: Final = "greet"
ALIVE: Final = "alive"


class State(Enum):
    """How far we are with our leader."""

    STARTING = "starting"
    WAITING = "waiting"
    GREETING = "greeting"
    LIVE = "live"


@final
class NodeBehaviour:
    """Follows one leader.

    Attributes:
        state: see the transition table.
    """

    def __init__(self, *, actor: str, upstream: Address, collections: Iterable[str], config: Config) -> None:
        """Begin unconnected.

        Args:
            actor: name under which this behaviour runs.
            upstream: the leader's address.
            collections: those we follow it for.
            config: which cluster this is, what to do when the leader is of another, timings and limits.
        """
        knobs = config.knobs
        self.state = State.STARTING
        self._actor = actor
        self._upstream = upstream
        self._greets = config.auto_sync_on_start
        self._cluster_id = config.cluster_id
        self._foreign_cluster = config.foreign_cluster
        self._knobs = knobs
        paths = tuple(collections)
        self._asks = Asks[Purpose](PENDING_MAX * len(paths) + GIVING_MAX)
        self._following = {
            path: Following(path=path, upstream=upstream, knobs=knobs, asks=self._asks) for path in paths
        }
        self._mesh = Mesh(config, upstream=upstream, following=self._following, asks=self._asks)
        self._unled: dict[str, None] = {}
        self._attempts = 0
        self._said_down = False
        self._heard_s = 0.0

    def step(self, now: Now, event: Event) -> list[Effect]:
        """See `Behaviour.step`."""
        effects: list[Effect] = []
        match event:
            case Started():
                effects += self._asks.ask(Describe(), Purpose("describe", ""))
            case Received():
                effects = self._received(now, event)
            case Changed():
                following = self._following.get(event.collection)
                effects = [] if following is None else following.offer()
            case Answer():
                purpose = self._asks.answered(event.token)
                effects = [] if purpose is None else self._answered(now, purpose, event.result)
            case TimerFired():
                effects = self._timer(now, event.name)
            case PeerSilent():
                effects = self._down(f"silent for {event.silent_s:.1f} s, the limit is {event.limit_s:.1f} s")
            case LinkLost():
                effects = self._down(event.reason)
            case Enrol():
                if self.state is State.LIVE:
                    effects = [Tell("health", Heard(self._upstream, self._actor))]
            case PullNow():
                effects = self._pull(now)
            case _:
                pass
        return effects

    def _pull(self, now: Now) -> list[Effect]:
        self._greets = True
        match self.state:
            case State.WAITING:
                return [CancelTimer(RETRY), *self._greet(now)]
            case State.LIVE:
                live = [following for following in self._following.values() if following.live]
                return [effect for following in live for effect in following.begin(now)]
            case State.STARTING | State.GREETING:
                return []
            case _:
                assert_never(self.state)

    def _answered(self, now: Now, purpose: Purpose, result: Result) -> list[Effect]:
        if purpose.what in ("peers", "glimpse", "give"):
            return self._mesh.answered(now, purpose, result)
        if purpose.what != "describe":
            return self._following[purpose.collection].answered(now, purpose, result)
        if not isinstance(result, StoreInfo):
            return [SetTimer(RETRY, self._knobs.retry_s_min / 2, self._knobs.retry_s_min)]
        for info in result.collections:
            following = self._following.get(info.path)
            if following is not None:
                following.restore(info.place)
        self._mesh.restore(result.store, result.epoch)
        if not self._greets:
            self.state = State.WAITING
            return []
        return [*self._mesh.away(), *self._greet(now)]

    def _timer(self, now: Now, name: str) -> list[Effect]:
        match name, self.state:
            case "retry", State.STARTING:
                return [*self._asks.ask(Describe(), Purpose("describe", ""))]
            case "retry", State.WAITING:
                return self._greet(now)
            case "greet", State.GREETING:
                return self._down(f"no answer to the greeting within {self._knobs.greet_s:g} s")
            case "mesh", _:
                return self._mesh.tick(now)
            case "alive", State.LIVE:
                every = self._following.values()
                effects = [effect for following in every for effect in following.alive(now)]
                return [*effects, *self._complain(), self._alive_timer()]
            case _:
                return []

    def _greet(self, now: Now) -> list[Effect]:
        self.state = State.GREETING
        hello = Hello(
            protocol=(PROTOCOL, PROTOCOL),
            cluster=self._cluster_id,
            wall_ns=now.wall_ns,
            collections=tuple(self._following),
            joins=self._foreign_cluster != "refuse",
        )
        return [Send(self._upstream, hello), SetTimer(GREET, self._knobs.greet_s, self._knobs.greet_s)]

    def _received(self, now: Now, event: Received) -> list[Effect]:
        body = event.body
        match body, self.state:
            case Welcome(), State.GREETING | State.WAITING:  # a late answer is an answer
                return self._welcome(now, body)
            case Welcome(), State.LIVE:  # a leader with several stores answers for each
                return self._also(now, body)
            case Refused(), State.GREETING | State.LIVE:
                return self._refused(body.reason)
            case Peek(), _ if body.collection in self._following:
                return self._mesh.peek(event, body)
            case Glimpse(), _:
                return self._mesh.glimpse(now, event, body)
            case Page() | Gone() | Stale() | Reset() | PushAck() | Repair(), State.LIVE:
                following = self._following.get(body.collection)
            case _:
                return []
        if following is None or not following.live:
            return []
        effects: list[Effect] = []
        if now.monotonic_s - self._heard_s > self._knobs.heartbeat_s / 2:
            self._heard_s = now.monotonic_s
            effects.append(Tell("health", Heard(self._upstream, self._actor)))
        match body:
            case Page():
                return effects + following.page(now, body)
            case Gone() | Stale():
                return effects + following.gone(now, body)
            case Reset():
                return effects + following.reset(body)
            case PushAck():
                return effects + following.push_ack(body)
            case Repair():
                return effects + following.repair(body)
            case _:
                assert_never(body)

    def _welcome(self, now: Now, welcome: Welcome) -> list[Effect]:
        reason = self._objection(welcome)
        if reason:
            return self._refused(reason)
        self.state = State.LIVE
        self._said_down = False
        self._attempts = 0
        self._heard_s = now.monotonic_s
        effects: list[Effect] = [
            CancelTimer(GREET),
            CancelTimer(RETRY),
            self._alive_timer(),
            Tell("health", Heard(self._upstream, self._actor)),
            Report(PeerUp(self._upstream, "leader")),
            *self._mesh.back(),
        ]
        self._unled = dict.fromkeys(self._following)
        return effects + self._begin(now, welcome)

    def _also(self, now: Now, welcome: Welcome) -> list[Effect]:
        return [] if self._objection(welcome) else self._begin(now, welcome)

    def _begin(self, now: Now, welcome: Welcome) -> list[Effect]:
        """Follow what a store of our leader leads, unless we do."""
        wiped_for = welcome.cluster if self._foreign_cluster == "wipe" and self._is_foreign(welcome) else ""
        effects: list[Effect] = []
        for path in welcome.collections:
            if path in self._unled:
                del self._unled[path]
                effects += self._following[path].begin(now, wiped_for=wiped_for)
        return effects

    def _complain(self) -> list[Effect]:
        """Say once per connection what our leader does not lead."""
        unled, self._unled = self._unled, {}
        return [Report(PeerRefused(self._upstream, f"collection {path!r} is not led there")) for path in unled]

    def _objection(self, welcome: Welcome) -> str:
        if welcome.protocol != PROTOCOL:
            return f"protocol {welcome.protocol} is not spoken here, only {PROTOCOL}"
        if self._foreign_cluster == "refuse" and self._is_foreign(welcome):
            return f"cluster id {welcome.cluster!r} is not ours, {self._cluster_id!r}"
        return ""

    def _is_foreign(self, welcome: Welcome) -> bool:
        return bool(welcome.cluster and self._cluster_id and welcome.cluster != self._cluster_id)

    def _refused(self, reason: str) -> list[Effect]:
        """One of us does not want the other; a leader that says so is not away, and no reason to ask its nodes."""
        return [Report(PeerRefused(self._upstream, reason)), *self._down(reason), *self._mesh.back()]

    def _down(self, reason: str) -> list[Effect]:
        """Give the connection up, if there is one or an attempt at one, and wait for the next attempt."""
        if self.state in (State.STARTING, State.WAITING):
            return []
        effects: list[Effect] = []
        if self.state is State.LIVE or not self._said_down:
            effects.append(Report(PeerDown(self._upstream, "leader", reason)))
            self._said_down = True  # once per outage, also for a leader that was never there
        if self.state is State.LIVE:
            effects.append(Tell("health", Unwatch(self._upstream)))
        self.state = State.WAITING
        for following in self._following.values():
            following.end()
        pause_s = min(self._knobs.retry_s_max, self._knobs.retry_s_min * 2 ** min(self._attempts, 32))
        self._attempts += 1
        effects += [CancelTimer(GREET), CancelTimer(ALIVE), SetTimer(RETRY, pause_s / 2, pause_s)]
        return [*effects, *self._mesh.away()]

    def _alive_timer(self) -> SetTimer:
        return SetTimer(ALIVE, self._knobs.ack_repeat_s, self._knobs.ack_repeat_s)
