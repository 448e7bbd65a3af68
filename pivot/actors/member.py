"""Member: wires storage, health, and leader or node together. Wiring, not an actor.

Layer: actors (Trio-free). It starts with what it is given: a transport, a timeline, a clock, chance. The command line
gives it real ones, the simulator gives it its own, and it cannot tell the difference. `tasks` runs its actors on Trio.
Start at `Member.open`.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, assert_never, final

from pivot.actors.actor import Actor
from pivot.actors.entropy import Entropy
from pivot.actors.mailbox import Mailbox, MailboxStatistics
from pivot.actors.supervisor import Supervisor
from pivot.actors.switchboard import STORAGE, OnResult, Switchboard
from pivot.actors.timeline import Timeline
from pivot.actors.wallclock import WallClock
from pivot.config import Config
from pivot.core.behaviour import Behaviour
from pivot.core.entry import Entry
from pivot.core.events import LinkLost, PullNow, Received
from pivot.core.health import HealthBehaviour
from pivot.core.leader import LeaderBehaviour
from pivot.core.lineage import NO_LINEAGE
from pivot.core.messages import (
    Ack,
    Digest,
    Envelope,
    Glimpse,
    Gone,
    Hello,
    Page,
    Peek,
    Push,
    PushAck,
    Refused,
    Repair,
    Reset,
    Stale,
    Subscribe,
    Welcome,
)
from pivot.core.node import NodeBehaviour
from pivot.core.notices import ActorRestarted, Notice
from pivot.core.questions import Question
from pivot.core.storage import StorageBehaviour
from pivot.core.store import Store
from pivot.engine.base import StoreImage
from pivot.paths import matches
from pivot.transport.base import Transport
from pivot.types import Address, Epoch, MemberId, Now, StoreId

HEALTH: Final = "health"
LEADER: Final = "leader"
NODE: Final = "node"
_RESERVE: Final = 100_000
"""Room in a mailbox for what its actor asked for: far above what `PENDING_MAX` and the timers allow."""


@final
class Member:
    """One running leader or node.

    Attributes:
        id: how peers call it.
        config: what it replicates and with whom.
        store: id of its store; empty before it runs.
        epoch: life of its store; empty before it runs.
    """

    def __init__(
        self,
        config: Config,
        *,
        member: MemberId,
        transport: Transport,
        timeline: Timeline,
        wall: WallClock,
        entropy: Entropy,
    ) -> None:
        """Prepare a member.

        Args:
            config: what it replicates and with whom.
            member: how peers call it; no two members of a cluster share one.
            transport: carries its envelopes; attached here.
            timeline: orders everything that happens to it.
            wall: its wall clock.
            entropy: its chance.
        """
        self.id = member
        self.config = config
        self.store = StoreId("")
        self.epoch = Epoch("")
        self._lineage = NO_LINEAGE
        self._board = Switchboard(
            member=member,
            timeline=timeline,
            wall=wall,
            entropy=entropy,
            transport=transport,
            asks_max=config.knobs.mailbox_max,
        )
        self._supervisor = Supervisor(
            vital=STORAGE,
            restarts_max=config.knobs.restarts_max,
            restarts_s=config.knobs.restarts_s,
            on_restart=lambda actor, error: self._board.report(ActorRestarted(actor, repr(error))),
        )
        self._store: Store | None = None
        upstreams = dict.fromkeys(filter(None, config.upstreams().values()))
        self._actors = {Address(url): f"{NODE} of {url}" if len(upstreams) > 1 else NODE for url in upstreams}
        self._listeners = {path: self._actors.get(Address(url), LEADER) for path, url in config.upstreams().items()}
        self._mailboxes: dict[str, Mailbox] = {}
        transport.attach(self)

    def open(self, image: StoreImage) -> tuple[Actor, ...]:
        """Begin to live with what the store holds; returns the actors, storage first, which must run from now on."""
        actors = self._wire(image)
        for actor in actors:
            actor.prepare()
        return actors

    def restart(self, actor: Actor, error: Exception) -> None:
        """Prepare another life of an actor that has crashed.

        Raises:
            RestartLimitError: it crashed too often.
            Exception: `error`, with which storage crashed.
        """
        self._supervisor.restart(actor, error, now_s=self._board.now().monotonic_s)

    def close(self) -> None:
        """Stop living: every waiting ask and every later one is answered so."""
        self._board.close(f"member {self.id} has stopped")

    def _wire(self, image: StoreImage) -> tuple[Actor, ...]:
        """Connect the actors; returns storage and the others."""
        knobs, upstreams = self.config.knobs, self.config.upstreams()
        self.store, self.epoch, self._lineage = image.store, image.epoch, image.lineage
        self._board.open(image.store, image.epoch)
        listeners = self._listeners
        follows = {path: bool(upstream) for path, upstream in upstreams.items()}
        self._store = store = Store(image.store, image.epoch, follows, knobs, image.changes, seq=image.seq)
        storage = StorageBehaviour(store, listeners=listeners, knobs=knobs)
        talkers = tuple(dict.fromkeys(listeners.values()))
        actors = [self._actor(STORAGE, lambda: storage)]
        actors.append(self._actor(HEALTH, lambda: HealthBehaviour(watchers=talkers, knobs=knobs)))
        for name in talkers:
            paths = tuple(path for path, listener in listeners.items() if listener == name)
            actors.append(self._actor(name, partial(self._talker, name, paths)))
        return tuple(actors)

    def _talker(self, name: str, paths: tuple[str, ...]) -> Behaviour:
        """The mind of an actor that leads these collections, or follows one leader for them."""
        config, knobs = self.config, self.config.knobs
        if name == LEADER:
            return LeaderBehaviour(
                epoch=self.epoch,
                lineage=self._lineage,
                collections=paths,
                cluster_id=config.cluster_id,
                knobs=knobs,
            )
        return NodeBehaviour(
            actor=name,
            upstream=next(address for address, actor in self._actors.items() if actor == name),
            collections=paths,
            config=config,
        )

    def _actor(self, name: str, create: Callable[[], Behaviour]) -> Actor:
        mailbox = self._mailboxes[name] = Mailbox(name, limit=self.config.knobs.mailbox_max, reserve=_RESERVE)
        return Actor(name, create, switchboard=self._board, mailbox=mailbox)

    # What others do with a member --------------------------------------------------------------------------------

    def ask(self, question: Question, on_result: OnResult) -> int:
        """Put a question to storage; `on_result` is called once, perhaps before this returns. Waiting is `Ref`'s.

        Returns:
            A token for `forget`.
        """
        return self._board.ask(question, on_result)

    def forget(self, token: int) -> None:
        """Do not want the answer any more; the question may be carried out all the same."""
        self._board.forget(token)

    def on_notice(self, listener: Callable[[Notice], None]) -> None:
        """Call `listener` with everything people want to know."""
        self._board.notices.append(listener)

    def watch(self, watcher: Callable[[tuple[Entry, ...]], None]) -> Callable[[], None]:
        """Call `watcher` with every version committed here, in commit order; returns what ends that."""
        self._board.watchers.append(watcher)
        return lambda: self._board.watchers.remove(watcher)

    def on_confirmed(self, listener: Callable[[tuple[str, ...]], None]) -> Callable[[], None]:
        """Call `listener` with keys whose versions our leader has confirmed; returns what ends that."""
        self._board.confirmations.append(listener)
        return lambda: self._board.confirmations.remove(listener)

    def pull(self, collections: Iterable[str]) -> None:
        """Bring what the leaders of these have now, and give them what they lack; `CaughtUp` says when it is here."""
        followed = [actor for path in collections if (actor := self._listeners[path]) != LEADER]
        for actor in dict.fromkeys(followed):
            self._board.tell(actor, PullNow())

    def replicates(self, key: str) -> bool:
        """Whether a key belongs to a collection, so that it has a leader."""
        return any(matches(path, key) for path in self.config.collections())

    def is_confirmed(self, key: str, stamp: int) -> bool:
        """Whether the leader of a key has the version with this stamp, or a greater one."""
        assert self._store is not None, "the member runs"
        collection = self._store.collection_of(key)
        row = collection.get(key)
        if not collection.follows or row is None:  # a row goes only when the leader has judged it
            return True
        return row.acked is not None and row.entry.stamp >= stamp

    def table(self) -> dict[str, Entry]:
        """Key -> committed version, tombstones included, of everything that is replicated; for tools and checkers."""
        return {} if self._store is None else self._store.table()

    def outbox_size(self) -> int:
        """How many versions wait for our leader to confirm them."""
        return 0 if self._store is None else self._store.outbox_size

    def commits(self) -> int:
        """How often what is committed has changed since we began to live; -1 = we have not begun."""
        return -1 if self._store is None else self._store.commits

    def now(self) -> Now:
        """Our wall clock and our monotonic clock."""
        return self._board.now()

    def statistics(self) -> dict[str, MailboxStatistics]:
        """Actor -> how full its mailbox is and was."""
        return {name: mailbox.statistics() for name, mailbox in self._mailboxes.items()}

    # Receiver ----------------------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope, via: Address) -> None:
        """See `Receiver.receive`; what is not for a member of our role is dropped."""
        body = envelope.body
        match body:
            case Hello() | Subscribe() | Ack() | Push() | Digest():
                actor = LEADER
            case Welcome() | Refused() | Reset() | Gone() | Page() | PushAck() | Stale() | Repair():
                actor = self._actors.get(via, "")
            case Peek() | Glimpse():
                actor = self._listeners.get(body.collection, "")
            case _:
                assert_never(body)
        mailbox = self._mailboxes.get(actor)
        if mailbox is not None:
            mailbox.offer(Received(envelope.sender, envelope.store, body))

    def link_lost(self, peer: Address, reason: str) -> None:
        """See `Receiver.link_lost`."""
        mailbox = self._mailboxes.get(self._actors.get(peer, LEADER))
        if mailbox is not None:
            mailbox.offer(LinkLost(peer, reason))
