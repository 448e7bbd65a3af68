"""Switchboard: where each effect of one member goes.

Layer: actors (Trio-free). Everything that reaches a mailbox inside a member goes through the timeline, the one ordering
point; what arrives from other members is already an event of it. Asks from outside (HTTP handlers, workloads) are kept
here until they are answered, and `close` answers all that are left.

Start at `Switchboard.perform`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeAlias, assert_never, final

from pivot.actors.entropy import Entropy
from pivot.actors.timeline import Timeline, Timer
from pivot.actors.wallclock import WallClock
from pivot.core.effects import (
    Ask,
    CancelTimer,
    Effect,
    Persist,
    Publish,
    Reply,
    Report,
    Send,
    SetTimer,
    Tell,
    TellConfirmed,
)
from pivot.core.entry import Entry
from pivot.core.events import Answer, Asked, Event, Started, TellEvent, TimerFired
from pivot.core.messages import PROTOCOL, Envelope
from pivot.core.notices import Notice
from pivot.core.questions import Failed, Question, ReplyTo, Result
from pivot.transport.base import Transport
from pivot.types import Epoch, MemberId, Now, StoreId

STORAGE: Final = "storage"
OnResult: TypeAlias = Callable[[Result], None]


class Inbox(Protocol):
    """What a switchboard needs of a mailbox."""

    def offer(self, event: Event) -> bool:
        """Leave an event unless it is full."""
        ...

    def put(self, event: Event) -> None:
        """Leave something the actor itself has asked for."""
        ...


@final
class Port:
    """One actor's connections.

    Attributes:
        name: the actor.
        inbox: its mailbox.
        life: how often it was restarted.
        timers: those it has set.
    """

    __slots__ = ("inbox", "life", "name", "timers")

    def __init__(self, name: str, inbox: Inbox) -> None:
        self.name = name
        self.inbox = inbox
        self.life = 0
        self.timers: dict[str, Timer] = {}

    def restart(self) -> None:
        """Begin another life: earlier timers do not fire and earlier answers do not count."""
        self.life += 1
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()


@final
class Switchboard:
    """Carries out effects for the actors of one member.

    Attributes:
        ports: actor -> its connections.
        notices: called with every notice.
        watchers: called with every committed version, in commit order.
        confirmations: called with keys whose versions our leader has confirmed.
    """

    def __init__(
        self,
        *,
        member: MemberId,
        timeline: Timeline,
        wall: WallClock,
        entropy: Entropy,
        transport: Transport,
        asks_max: int,
    ) -> None:
        """Begin without actors.

        Args:
            member: who we are.
            timeline: the ordering point.
            wall: our wall clock.
            entropy: where timers get their spread from.
            transport: the way to other members.
            asks_max: most asks from outside that may wait for their answer.
        """
        self.member = member
        self.ports: dict[str, Port] = {}
        self.notices: list[Callable[[Notice], None]] = []
        self.watchers: list[Callable[[tuple[Entry, ...]], None]] = []
        self.confirmations: list[Callable[[tuple[str, ...]], None]] = []
        self._timeline = timeline
        self._wall = wall
        self._entropy = entropy
        self._transport = transport
        self._asks_max = asks_max
        self._asks: dict[int, OnResult] = {}
        self._last_ask = 0
        self._life = (StoreId(""), Epoch(""))
        self._closed = ""

    def open(self, store: StoreId, epoch: Epoch) -> None:
        """Say which store our envelopes speak for."""
        self._life = (store, epoch)

    def now(self) -> Now:
        """The instant at which a behaviour decides."""
        return Now(self._wall(), self._timeline.monotonic_s())

    def start(self, port: Port) -> None:
        """Let an actor begin; those that begin together do so in the order of these calls."""
        self._timeline.call_soon(lambda: port.inbox.put(Started()))

    # Asks from outside -------------------------------------------------------------------------------------------

    def ask(self, question: Question, on_result: OnResult) -> int:
        """Put a question to storage; `on_result` is called once, perhaps before this returns.

        Returns:
            A token for `forget`.
        """
        if self._closed or len(self._asks) >= self._asks_max:
            code, reason = (
                ("stopped", self._closed) if self._closed else ("busy", f"{self._asks_max} asks wait already")
            )
            on_result(Failed(code, reason))
            return 0
        self._last_ask += 1
        token = self._last_ask
        self._asks[token] = on_result
        self._timeline.call_soon(partial(self._deliver_ask, ReplyTo("", token), question))
        return token

    def forget(self, token: int) -> None:
        """Do not want the answer any more; the question may be carried out all the same."""
        self._asks.pop(token, None)

    def close(self, reason: str) -> None:
        """Answer every waiting ask, and every later one, that this member has stopped."""
        self._closed = reason
        asks, self._asks = self._asks, {}
        for on_result in asks.values():
            on_result(Failed("stopped", reason))
        for port in self.ports.values():
            port.restart()

    # Effects -----------------------------------------------------------------------------------------------------

    def perform(self, port: Port, effect: Effect) -> None:
        """Carry out one effect of an actor."""
        match effect:
            case Reply():  # the most frequent ones first
                self._reply(effect.to, effect.result)
            case Ask():
                to = ReplyTo(port.name, effect.token, port.life)
                self._timeline.call_soon(partial(self._deliver_ask, to, effect.question))
            case Send():
                store, epoch = self._life
                self._transport.send(Envelope(PROTOCOL, self.member, effect.target, store, epoch, effect.body))
            case Tell():
                self.tell(effect.actor, effect.event)
            case Publish():
                for watcher in tuple(self.watchers):
                    watcher(effect.entries)
            case SetTimer():
                self._set_timer(port, effect)
            case CancelTimer():
                timer = port.timers.pop(effect.name, None)
                if timer is not None:
                    timer.cancel()
            case TellConfirmed():
                for listener in tuple(self.confirmations):
                    listener(effect.keys)
            case Report():
                self.report(effect.notice)
            case Persist():
                raise AssertionError("a Persist is committed, not performed")
            case _:
                assert_never(effect)

    def tell(self, actor: str, event: TellEvent) -> None:
        """Put an event into the mailbox of an actor, unless it is full."""
        self._timeline.call_soon(partial(_offer, self.ports[actor].inbox, event))

    def report(self, notice: Notice) -> None:
        """Tell everybody who wants to know."""
        for listener in tuple(self.notices):
            listener(notice)

    def _deliver_ask(self, to: ReplyTo, question: Question) -> None:
        if not self.ports[STORAGE].inbox.offer(Asked(to, question)):
            self._reply(to, Failed("busy", "the mailbox of 'storage' is full"))

    def _reply(self, to: ReplyTo, result: Result) -> None:
        if not to.actor:
            on_result = self._asks.pop(to.token, None)
            if on_result is not None:
                on_result(result)
            return
        self._timeline.call_soon(partial(_deliver_answer, self.ports[to.actor], to, result))

    def _set_timer(self, port: Port, effect: SetTimer) -> None:
        old = port.timers.get(effect.name)
        if old is not None:
            old.cancel()
        delay_s = effect.least_s
        if effect.most_s > effect.least_s:
            delay_s = self._entropy.uniform(effect.least_s, effect.most_s)

        def fire() -> None:
            port.timers.pop(effect.name, None)
            port.inbox.put(TimerFired(effect.name))

        port.timers[effect.name] = self._timeline.call_later(delay_s, fire)


def _deliver_answer(port: Port, to: ReplyTo, result: Result) -> None:
    if port.life == to.life:
        port.inbox.put(Answer(to.token, result))


def _offer(inbox: Inbox, event: Event) -> None:
    """Leave a wake-up; a full mailbox may drop it, since whoever is woken looks again by itself."""
    inbox.offer(event)
