"""Harness: a leader and its nodes over the real behaviours, with an adversary instead of a network, and no Trio.

Every method of `Cluster` is one thing that can happen; whoever drives it is the adversary (`schedules` draws at random,
`test_convergence` lets Hypothesis draw). After each one `check` holds what must be true at any moment:

- a store never goes back behind a version it has kept (the disks watch that), and a promised write is kept;
- what a node believes its leader to have confirmed, the leader has, or something greater;
- what lies before a node's cursor, the node has.

`heal` ends the adversary: everything is delivered and timers run until nothing is missing, within a bound of virtual
time, and then all members are equal, no write that a surviving store held is gone, and nothing is there that nobody
wrote.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, final

from pivot.actors.core import ActorCore
from pivot.actors.switchboard import Port, Switchboard
from pivot.config import Knobs
from pivot.core.behaviour import Behaviour
from pivot.core.entry import Entry
from pivot.core.events import Answer, Event, LinkLost, Question, Received, Result, Started, TimerFired, Written
from pivot.core.health import HealthBehaviour
from pivot.core.leader import LeaderBehaviour
from pivot.core.messages import Ack, Hello, Push, Subscribe
from pivot.core.node import NodeBehaviour
from pivot.core.storage import StorageBehaviour
from pivot.core.store import Store
from pivot.transport.codec import decode
from pivot.types import Address, Epoch, MemberId, StoreId
from tests.core.world import Bag, Disk, HandTimeline, Inbox, Ordered, Steady, StoppedError, Violation

COLLECTIONS: Final[tuple[str, ...]] = ("users/*", "settings")
LEADER: Final = "leader"
KNOBS: Final = Knobs(
    page_rows=2,
    page_window=2,
    push_window=2,
    retry_s_max=4.0,
    reoffer_s=20.0,
    mailbox_max=12,
)
HEAL_S: Final = 120
"""Virtual time within which a healed cluster must have converged."""
WALL_NS: Final = 10**18


@final
class Host:
    """One member: its disk, its clock, and its actors while it runs."""

    def __init__(self, name: str, disk: Disk, *, timeline: HandTimeline, bag: Bag) -> None:
        self.name = name
        self.disk = disk
        self.skew_ns = 0
        self._timeline = timeline
        self._bag = bag
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
        self.board = board = Switchboard(
            member=MemberId(self.name),
            timeline=self._timeline,
            wall=self.wall_ns,
            entropy=Steady(),
            transport=self._bag,
            asks_max=100,
        )
        board.open(self.disk.store, self.disk.epoch)
        store = Store(
            self.disk.store, self.disk.epoch, dict.fromkeys(COLLECTIONS, not self.leads), KNOBS, self.disk.image()
        )
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
            return LeaderBehaviour(epoch=self.disk.epoch, collections=COLLECTIONS, cluster_id="", knobs=KNOBS)
        return NodeBehaviour(
            actor="node", upstream=Address(LEADER), collections=COLLECTIONS, cluster_id="", knobs=KNOBS
        )


@final
class Cluster:
    """A leader and its nodes.

    Attributes:
        hosts: name -> member; the leader first.
        bag: what is under way.
        known: key -> greatest version that a store still holds.
        written: every version that was ever kept by the store that wrote it.
        acknowledged: how many writes were answered.
    """

    def __init__(self, nodes: int) -> None:
        self.bag = Bag()
        self.timeline = HandTimeline()
        self.known: dict[str, Entry] = {}
        self.written: dict[tuple[str, object], None] = {}
        self.acknowledged = 0
        self._stores = 0
        self.hosts: dict[str, Host] = {}
        for name in (LEADER, *(f"node-{number}" for number in range(nodes))):
            self.hosts[name] = Host(name, self._new_disk(), timeline=self.timeline, bag=self.bag)

    def _new_disk(self) -> Disk:
        self._stores += 1
        store = StoreId(f"store-{self._stores}")
        return Disk(store, Epoch(f"life-{self._stores}"), partial(self._kept, store))

    def _kept(self, store: StoreId, entry: Entry) -> None:
        if entry.origin == store:
            self.written[entry.key, entry.version] = None
        before = self.known.get(entry.key)
        if before is None or entry.version > before.version:
            self.known[entry.key] = entry

    # What can happen ---------------------------------------------------------------------------------------------

    def ask(self, name: str, question: Question) -> None:
        """A client writes at a member."""
        host = self.hosts[name]
        disk = host.disk
        host.board.ask(question, lambda result: self._answered(disk, result))

    def _answered(self, disk: Disk, result: Result) -> None:
        if not isinstance(result, Written):
            return
        self.acknowledged += 1
        for key, stamp in zip(result.keys, result.stamps, strict=True):
            if key not in disk.rows or disk.rows[key][1].entry.stamp < stamp:
                raise Violation(f"{disk.store} acknowledges {key} at {stamp}, which it has not kept")

    def work(self, name: str, actor: str = "", *, stop_after: int | None = None) -> None:
        """An actor of a member (empty = each) takes what waits for it; a machine may stop at a commit or an effect."""
        host = self.hosts[name]
        for each in (actor,) if actor else tuple(host.cores):
            try:
                host.work(each, stop_after=stop_after)
            except StoppedError:
                self.crash(name, wiped=False)
                return

    def deliver(self, place: int, *, again: bool = False) -> None:
        """An envelope arrives; perhaps once more later."""
        line = self.bag.lines[place] if again else self.bag.lines.pop(place)
        envelope = decode(line)
        host = self.hosts[envelope.target]
        if isinstance(envelope.body, Hello | Subscribe | Ack | Push) == host.leads:
            host.inboxes[host.role].offer(Received(envelope.sender, envelope.store, envelope.body))

    def drop(self, place: int) -> None:
        """An envelope is lost."""
        del self.bag.lines[place]

    def wait(self, seconds: float) -> None:
        """Time passes; timers that are due fire."""
        self.timeline.advance(self.timeline.now_s + seconds)

    def hint(self, name: str, peer: str) -> None:
        """A member's transport says that a peer cannot be reached."""
        host = self.hosts[name]
        host.inboxes[host.role].offer(LinkLost(Address(peer), "cut"))

    def revive(self, name: str, actor: str) -> None:
        """One actor, which is not storage, crashes and begins again."""
        self.hosts[name].revive(actor)

    def crash(self, name: str, *, wiped: bool) -> None:
        """A member stops and starts, perhaps with an empty disk, which is another store."""
        host = self.hosts[name]
        host.stop()
        if wiped:
            host.disk = self._new_disk()
            self.known = {}
            for each in self.hosts.values():
                for entry in each.disk.table().values():
                    self._kept(StoreId(""), entry)
        host.start()

    # What must hold ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must be true at any moment."""
        leader = self.hosts[LEADER].disk
        for host in self.hosts.values():
            if not host.leads:
                for path in COLLECTIONS:
                    if host.disk.place(path)[0] == leader.epoch:
                        _check_follower(host.disk, leader, path)

    def heal(self) -> None:
        """End of the adversary: within `HEAL_S` nothing is missing, and all members are equal."""
        for host in self.hosts.values():
            host.disk.failing, host.disk.dying = 0, ""
        until_s = self.timeline.now_s + HEAL_S
        self._drain()
        while not self.converged():
            if self.timeline.now_s >= until_s:
                raise Violation(f"not converged after {HEAL_S} s: {self._differences()}")
            self.wait(0.5)
            self._drain()
        self.wait(3.0)
        self._drain()
        if not self.converged():
            raise Violation(f"does not stay converged: {self._differences()}")
        table = self.hosts[LEADER].disk.table()
        for key, entry in self.known.items():
            if key not in table or table[key].version != entry.version:
                raise Violation(f"{key} should be {entry}, it is {table.get(key)}")
            if (key, entry.version) not in self.written:
                raise Violation(f"nobody wrote {entry}")

    def converged(self) -> bool:
        """Whether all tables are equal, everything is confirmed and everybody has read everything."""
        leader = self.hosts[LEADER].disk
        want = {key: entry.version for key, entry in leader.table().items()}
        heads: dict[str, int] = dict.fromkeys(COLLECTIONS, 0)
        for path, row in leader.rows.values():
            heads[path] = max(heads[path], row.seq)
        for host in self.hosts.values():
            if host.leads:
                continue
            if {key: entry.version for key, entry in host.disk.table().items()} != want:
                return False
            if any(row.acked is None for _, row in host.disk.rows.values()):
                return False
            if any(host.disk.place(path) != (leader.epoch, heads[path]) for path in COLLECTIONS):
                return False
        return True

    def _drain(self) -> None:
        """Deliver everything, and let everybody work, until only time can bring more."""
        for _ in range(10_000):
            for name, host in self.hosts.items():
                while any(inbox.waiting for inbox in host.inboxes.values()):
                    self.work(name)
            if not self.bag.lines:
                return
            self.deliver(0)
            self.check()
        raise Violation(f"members talk without end: {self.bag.lines[:4]}")

    def _differences(self) -> dict[str, object]:
        return {
            host.name: (
                {key: (entry.version, row.acked) for key, (_, row) in host.disk.rows.items() for entry in (row.entry,)},
                host.disk.cursors,
            )
            for host in self.hosts.values()
        }


def _check_follower(node: Disk, leader: Disk, path: str) -> None:
    """Hold what a node believes of its leader, in the life that it follows, against what the leader has."""
    cursor = node.place(path)[1]
    for key, (home, row) in node.rows.items():
        if home == path and row.acked is not None:
            kept = leader.rows.get(key)
            if kept is None or kept[1].entry.version < row.entry.version:
                raise Violation(f"{node.store} believes that {leader.store} confirmed {row}, it has {kept}")
    for key, (home, row) in leader.rows.items():
        if home == path and row.seq <= cursor:
            held = node.rows.get(key)
            if held is None or held[1].entry.version < row.entry.version:
                raise Violation(f"{node.store} read up to {cursor} without {row}, it has {held}")
