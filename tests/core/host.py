"""Host: one member of the harness, wired as `pivot.actors.member` wires a real one, but worked by hand.

Start at `Host.work`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from pivot.actors.core import ActorCore
from pivot.actors.switchboard import Port, Switchboard
from pivot.config import Config, Key, Knobs
from pivot.core.behaviour import Behaviour
from pivot.core.events import Answer, Event, Started, TimerFired
from pivot.core.health import HealthBehaviour
from pivot.core.leader import LeaderBehaviour
from pivot.core.node import NodeBehaviour
from pivot.core.notices import Notice
from pivot.core.storage import StorageBehaviour
from pivot.core.store import Store
from pivot.types import Address, Epoch, MemberId
from tests.core.world import Bag, HandTimeline, Inbox, Ordered, Steady, StoppedError, WatchedDisk

COLLECTIONS: Final[tuple[str, ...]] = ("users/*", "settings")
LEADER: Final = "leader"
KNOBS: Final = Knobs(
    page_rows=2,
    page_window=2,
    push_window=2,
    retry_s_max=4.0,
    reoffer_s=20.0,
    leader_timeout_s=0.5,
    collect_s=1.5,
    member_ttl_s=15.0,
    mailbox_max=12,
)
CONFIG: Final = Config(keys=(Key("settings"),), nodes_key="users/*", cluster_url=LEADER, knobs=KNOBS)
"""A node's; other nodes are among the users, where some schedules put them."""
REGISTERED: Final = "users/node-"
WALL_NS: Final = 10**18


def registration(number: int) -> tuple[str, str]:
    """Key and value under which a node says where it is."""
    return f"{REGISTERED}{number}", f'{{"ip":"10.0.0.{number}","port":80}}'


def name_at(target: str) -> str:
    """Who is there."""
    return f"node-{target.removeprefix('http://10.0.0.').removesuffix(':80')}" if "://" in target else target


@final
class Host:
    """One member: its disk, its clock, and its actors while it runs."""

    def __init__(
        self,
        name: str,
        disk: WatchedDisk,
        *,
        timeline: HandTimeline,
        bag: Bag,
        on_notice: Callable[[str, Notice], None],
    ) -> None:
        self.name = name
        self.disk = disk
        self.skew_ns = 0
        self.lives = 0
        self._timeline = timeline
        self._bag = bag
        self._on_notice = on_notice
        self.start()

    @property
    def leads(self) -> bool:
        """Whether this is the leader."""
        return self.name == LEADER

    @property
    def role(self) -> str:
        """The actor that talks to other members."""
        return "leader" if self.leads else "node"

    def wall_ns(self) -> int:
        """This member's wall clock."""
        return WALL_NS + round(self._timeline.now_s * 1e9) + self.skew_ns

    def start(self) -> None:
        """Run on what the disk has; as `Member` wires it."""
        self.disk.dying = ""
        self.disk.limit_ns = lambda: self.wall_ns() + round(KNOBS.ahead_s_max * 1e9)
        self.board = board = Switchboard(
            member=MemberId(self.name),
            timeline=self._timeline,
            wall=self.wall_ns,
            entropy=Steady(),
            transport=self._bag,
            asks_max=100,
        )
        self.lives += 1
        self.disk.kept.begin_life(Epoch(f"life-{self.lives}-of-{self.name}"))
        board.open(self.disk.store, self.disk.epoch)
        board.notices.append(partial(self._on_notice, self.name))
        image = self.disk.kept.image()
        follows: dict[str, bool] = dict.fromkeys(COLLECTIONS, not self.leads)
        store = Store(image.store, image.epoch, follows, KNOBS, image.changes, seq=image.seq)
        storage = StorageBehaviour(store, listeners=dict.fromkeys(COLLECTIONS, self.role), knobs=KNOBS)
        self._creators: dict[str, Callable[[], Behaviour]] = {
            "storage": lambda: storage,
            "health": lambda: HealthBehaviour(watchers=(self.role,), knobs=KNOBS),
            self.role: self._follow_or_lead,
        }
        self.inboxes: dict[str, Inbox] = {}
        self.cores: dict[str, ActorCore] = {}
        for actor in self._creators:
            inbox = self.inboxes[actor] = Inbox(KNOBS.mailbox_max)
            board.ports[actor] = Port(actor, inbox)
        for actor in self._creators:
            self.revive(actor)

    def stop(self) -> None:
        """Whoever waits is told, and what was waiting is forgotten."""
        self.board.close("crashed")

    def revive(self, actor: str) -> None:
        """Begin a life of one actor; as `Actor.prepare` does."""
        port, inbox = self.board.ports[actor], self.inboxes[actor]
        port.restart()
        for event in inbox.take():
            if not isinstance(event, Answer | TimerFired | Started):
                inbox.put(event)
        self.board.start(port)
        self.cores[actor] = ActorCore(Ordered(self._creators[actor]()))

    def work(self, actor: str, *, stop_after: int | None = None) -> None:
        """Let one actor take what waits for it; as `Actor.run` does.

        Raises:
            StoppedError: the machine stopped at its commit, or after so many effects.
        """
        batch: list[Event] = self.inboxes[actor].take()
        if not batch:
            return
        core = self.cores[actor]
        changes = core.begin(self.board.now(), batch)
        failure = self.disk.commit(changes) if changes else None
        effects = core.finish(self.board.now(), failure)
        for effect in effects[:stop_after]:
            self.board.perform(self.board.ports[actor], effect)
        if stop_after is not None and stop_after < len(effects):
            raise StoppedError

    def _follow_or_lead(self) -> Behaviour:
        if self.leads:
            image = self.disk.kept.image()
            return LeaderBehaviour(
                epoch=image.epoch, lineage=image.lineage, collections=COLLECTIONS, cluster_id="", knobs=KNOBS
            )
        return NodeBehaviour(actor="node", upstream=Address(LEADER), collections=COLLECTIONS, config=CONFIG)
