"""Member: wires storage, health, and leader or node together, and runs them. Wiring, not an actor.

Layer: actors. It starts with what it is given: an engine, a transport, a timeline, a clock, chance. The command line
gives it real ones, the simulator gives it its own, and it cannot tell the difference.
Start at `Member.run`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, assert_never, final

import trio

from pivot.actors.actor import Actor
from pivot.actors.entropy import Entropy
from pivot.actors.mailbox import Mailbox, MailboxStatistics
from pivot.actors.ref import Ref
from pivot.actors.supervisor import Supervisor
from pivot.actors.switchboard import STORAGE, OnResult, Switchboard
from pivot.actors.timeline import Timeline
from pivot.actors.wallclock import WallClock
from pivot.config import Config
from pivot.core.behaviour import Behaviour
from pivot.core.entry import Entry
from pivot.core.events import LinkLost, Received
from pivot.core.health import HealthBehaviour
from pivot.core.leader import LeaderBehaviour
from pivot.core.lineage import NO_LINEAGE
from pivot.core.messages import (
    Ack,
    Digest,
    Envelope,
    Gone,
    Hello,
    Page,
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
from pivot.engine.base import StorageEngine, StoreImage
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
        storage: asks its storage actor.
    """

    def __init__(
        self,
        config: Config,
        *,
        member: MemberId,
        engine: StorageEngine,
        transport: Transport,
        timeline: Timeline,
        wall: WallClock,
        entropy: Entropy,
    ) -> None:
        """Prepare a member.

        Args:
            config: what it replicates and with whom.
            member: how peers call it; no two members of a cluster share one.
            engine: keeps its store.
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
        self._engine = engine
        self._board = Switchboard(
            member=member,
            timeline=timeline,
            wall=wall,
            entropy=entropy,
            transport=transport,
            asks_max=config.knobs.mailbox_max,
        )
        self.storage = Ref(self._board)
        self._store: Store | None = None
        upstreams = dict.fromkeys(filter(None, config.upstreams().values()))
        self._actors = {Address(url): f"{NODE} of {url}" if len(upstreams) > 1 else NODE for url in upstreams}
        self._mailboxes: dict[str, Mailbox] = {}
        transport.attach(self)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load the store and live until cancelled.

        Raises:
            StorageError: the store cannot be opened.
            RestartLimitError: an actor crashed too often (in an exception group).
        """
        image = await self._engine.open()
        try:
            vital, others = self._wire(image)
            knobs = self.config.knobs
            supervisor = Supervisor(
                restarts_max=knobs.restarts_max,
                restarts_s=knobs.restarts_s,
                on_restart=lambda actor, error: self._board.report(ActorRestarted(actor, repr(error))),
            )
            task_status.started()
            await supervisor.run(others, vital=vital)
        finally:
            self._board.close(f"member {self.id} has stopped")
            with trio.CancelScope(shield=True):
                await self._engine.aclose()

    def _wire(self, image: StoreImage) -> tuple[Actor, list[Actor]]:
        """Connect the actors; returns storage and the others."""
        knobs, upstreams = self.config.knobs, self.config.upstreams()
        self.store, self.epoch, self._lineage = image.store, image.epoch, image.lineage
        self._board.open(image.store, image.epoch)
        listeners = {path: self._actors.get(Address(upstream), LEADER) for path, upstream in upstreams.items()}
        follows = {path: bool(upstream) for path, upstream in upstreams.items()}
        self._store = store = Store(image.store, image.epoch, follows, knobs, image.changes, seq=image.seq)
        storage = StorageBehaviour(store, listeners=listeners, knobs=knobs)
        talkers = tuple(dict.fromkeys(listeners.values()))
        vital = self._actor(STORAGE, lambda: storage, self._engine)
        others = [self._actor(HEALTH, lambda: HealthBehaviour(watchers=talkers, knobs=knobs))]
        for name in talkers:
            paths = tuple(path for path, listener in listeners.items() if listener == name)
            others.append(self._actor(name, partial(self._talker, name, paths)))
        return vital, others

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
            cluster_id=config.cluster_id,
            foreign_cluster=config.foreign_cluster,
            knobs=knobs,
        )

    def _actor(self, name: str, create: Callable[[], Behaviour], engine: StorageEngine | None = None) -> Actor:
        mailbox = self._mailboxes[name] = Mailbox(name, limit=self.config.knobs.mailbox_max, reserve=_RESERVE)
        return Actor(name, create, switchboard=self._board, mailbox=mailbox, engine=engine)

    # What others do with a member --------------------------------------------------------------------------------

    def ask(self, question: Question, on_result: OnResult) -> int:
        """Put a question to storage; `on_result` is called once. For callers that do not wait; see `storage.ask`."""
        return self._board.ask(question, on_result)

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
        return 0 if self._store is None else sum(info.outbox for info in self._store.describe().collections)

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
