"""An adversarial network over the behaviours alone: no Trio, no clock but ours, every choice made by the caller.

A `Machine` is one member: its actors are `ActorCore`s, its mailboxes lists, its disk the changes that were committed.
A `Cluster` is a leader, some nodes and the messages under way between them. Each method is one thing that can happen;
`heal` lets everything happen that should, and `assert_safe` says what must be true then.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, ClassVar

from pivot.actors.core import ActorCore
from pivot.config import Config, Key, Knobs
from pivot.core.behaviour import Behaviour
from pivot.core.collection import Change
from pivot.core.effects import Ask, CancelTimer, Effect, Publish, Reply, Report, Send, SetTimer, Tell
from pivot.core.entry import Entry
from pivot.core.events import (
    Answer,
    Asked,
    Event,
    Failed,
    LinkLost,
    PushItem,
    Put,
    Question,
    Received,
    Remove,
    ReplyTo,
    Started,
    TimerFired,
    Written,
)
from pivot.core.health import HealthBehaviour
from pivot.core.leader import LeaderBehaviour
from pivot.core.messages import PROTOCOL, Envelope, Message
from pivot.core.node import NodeBehaviour
from pivot.core.storage import StorageBehaviour
from pivot.core.store import Store
from pivot.transport.codec import decode, encode
from pivot.types import Address, Epoch, MemberId, Now, StoreId

LEADER = "leader"
KNOBS = Knobs(page_rows=3, page_window=2, push_window=2)
"""Small pages and windows, so that a handful of rows needs several."""
CONFIG = Config(keys=(Key("settings"), Key("users/*")))
HEAL_S = 400.0
"""Longest that healing may take, s of virtual time: a few of the longest pauses between retries."""


class Machine:
    """One member and what survives it.

    Attributes:
        tells_first: a planted bug: effects happen before the commit.
    """

    tells_first: ClassVar[bool] = False

    def __init__(self, name: str, cluster: "Cluster") -> None:
        self.name = name
        self.cluster = cluster
        self.lives = 0
        self.kept: list[Change] = []
        self.store_id, self.epoch = StoreId(f"{name}.0"), Epoch(f"{name}.epoch.0")
        self.up = False
        self.wall_offset_ns = 0
        self.start()

    # Lives -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a life with what was kept."""
        role = "leader" if self.name == LEADER else "node"
        paths = CONFIG.collections()
        follows = role == "node"
        self.up = True
        self.store = self._load()
        talker: Behaviour
        if follows:
            upstream = Address(LEADER)
            talker = NodeBehaviour(actor=role, upstream=upstream, collections=paths, cluster_id="", knobs=KNOBS)
        else:
            talker = LeaderBehaviour(epoch=self.epoch, collections=paths, cluster_id="", knobs=KNOBS)
        storage = StorageBehaviour(self.store, listeners=dict.fromkeys(paths, role), knobs=KNOBS)
        self.role = role
        self.cores = {
            "storage": ActorCore(storage),
            "health": ActorCore(HealthBehaviour(watchers=(role,), knobs=KNOBS)),
            role: ActorCore(talker),
        }
        self.mail: dict[str, list[Event]] = {actor: [Started()] for actor in self.cores}
        self.timers: dict[tuple[str, str], float] = {}

    def _load(self) -> Store:
        follows = dict.fromkeys(CONFIG.collections(), self.name != LEADER)
        return Store(self.store_id, self.epoch, follows, KNOBS, self.kept)

    def crash(self, *, wiped: bool = False) -> None:
        """End this life; a wiped store is a new one."""
        self.store = self._load()
        if wiped:
            self.cluster.count_gone(self)
            self.lives += 1
            self.kept = []
            self.store_id, self.epoch = StoreId(f"{self.name}.{self.lives}"), Epoch(f"{self.name}.epoch.{self.lives}")
            self.store = self._load()
        self.up = False
        self.cluster.forget(self)

    # Steps -------------------------------------------------------------------------------------------------------

    def now(self) -> Now:
        return Now(self.cluster.wall_ns + self.wall_offset_ns, self.cluster.now_s)

    def run(self, actor: str, *, most: int = 100, disk_fails: bool = False, crash_after: int | None = None) -> None:
        """Let an actor take a batch of at most `most` events.

        Args:
            actor: which one.
            most: size of the batch.
            disk_fails: whether the commit of this batch fails.
            crash_after: the member ends after so many effects of the batch; the commit counts as the first.
        """
        if not self.up:
            return
        batch, self.mail[actor] = self.mail[actor][:most], self.mail[actor][most:]
        core = self.cores[actor]
        changes = core.begin(self.now(), batch)
        failure = "the disk is full" if disk_fails and changes else None
        steps: list[Callable[[], None]] = [
            partial(self.perform, actor, effect) for effect in core.finish(self.now(), failure)
        ]
        if failure is None:
            steps.insert(len(steps) if self.tells_first else 0, partial(self.kept.extend, changes))
        for step in steps[:crash_after]:
            step()
        if crash_after is not None and crash_after < len(steps):
            self.crash()

    def perform(self, actor: str, effect: Effect) -> None:
        match effect:
            case Send():
                self.cluster.send(self, effect.target, effect.body)
            case Ask():
                self.mail["storage"].append(Asked(ReplyTo(actor, effect.token), effect.question))
            case Reply():
                if effect.to.actor:
                    self.mail[effect.to.actor].append(Answer(effect.to.token, effect.result))
                else:
                    self.cluster.answered(effect.to.token, effect.result)
            case Tell():
                self.mail[effect.actor].append(effect.event)
            case SetTimer():
                self.timers[actor, effect.name] = self.cluster.now_s + effect.most_s
            case CancelTimer():
                self.timers.pop((actor, effect.name), None)
            case Publish() | Report():
                pass
            case _:
                raise AssertionError(effect)

    def fire_timers(self) -> None:
        """Deliver what is due."""
        for (actor, name), due_s in sorted(self.timers.items()):
            if due_s <= self.cluster.now_s:
                del self.timers[actor, name]
                self.mail[actor].append(TimerFired(name))

    @property
    def idle(self) -> bool:
        return not self.up or not any(self.mail.values())

    def table(self) -> dict[str, Entry]:
        return self.store.table()

    def outbox(self) -> int:
        return sum(self.store[path].outbox_size for path in CONFIG.collections()) if self.role == "node" else 0


class Cluster:
    """A leader, nodes, and what is under way between them.

    Attributes:
        acknowledged: key, stamp and whether it was deleted, of every change that a client was told is kept.
        refused: how many changes clients were told are not kept.
        gone: key -> greatest stamp that ended with the only store that held it.
    """

    def __init__(self, nodes: int) -> None:
        self.now_s = 0.0
        self.wall_ns = 1_700_000_000 * 10**9
        self.under_way: list[tuple[str, str, bytes]] = []
        self.questions: dict[int, tuple[Machine, Callable[[Written], None]]] = {}
        self.asked = 0
        self.acknowledged: list[tuple[str, int, bool]] = []
        self.refused = 0
        self.gone: dict[str, int] = {}
        self.machines = {name: Machine(name, self) for name in (LEADER, *(f"n{i + 1}" for i in range(nodes)))}

    # Clients -----------------------------------------------------------------------------------------------------

    def ask(self, name: str, question: Question, on_written: Callable[[Written], None]) -> None:
        machine = self.machines[name]
        if not machine.up:
            return
        self.asked += 1
        self.questions[self.asked] = (machine, on_written)
        machine.mail["storage"].append(Asked(ReplyTo("", self.asked), question))

    def answered(self, number: int, result: Any) -> None:
        _, on_written = self.questions.pop(number)
        if isinstance(result, Failed):
            self.refused += 1
            return
        assert isinstance(result, Written), result
        on_written(result)

    def write(self, name: str, key: str, value: int) -> None:
        self._ask_write(name, Put(key, str(value)))

    def push(self, name: str, value: int) -> None:
        self._ask_write(name, PushItem("users/*", str(value)))

    def delete(self, name: str, pattern: str) -> None:
        self._ask_write(name, Remove(pattern), deleted=True)

    def _ask_write(self, name: str, question: Question, *, deleted: bool = False) -> None:
        def note(written: Written) -> None:
            for key, stamp in zip(written.keys, written.stamps, strict=True):
                self.acknowledged.append((key, stamp, deleted))

        self.ask(name, question, note)

    def forget(self, machine: Machine) -> None:
        """Nobody is told any more what became of what this member was asked."""
        for number in [number for number, (asked, _) in self.questions.items() if asked is machine]:
            del self.questions[number]

    # Messages ----------------------------------------------------------------------------------------------------

    def send(self, machine: Machine, target: Address, body: Message) -> None:
        envelope = Envelope(
            version=PROTOCOL,
            sender=MemberId(machine.name),
            target=target,
            store=machine.store_id,
            epoch=machine.epoch,
            body=body,
        )
        self.under_way.append((machine.name, str(target), encode(envelope)))

    def deliver(self, place: int, *, keep: bool = False) -> None:
        """Let the message at this place arrive; `keep` it, and it arrives again."""
        _, target, line = self.under_way[place] if keep else self.under_way.pop(place)
        machine = self.machines[target]
        if machine.up:
            envelope = decode(line)
            machine.mail[machine.role].append(Received(envelope.sender, envelope.store, envelope.body))

    def drop(self, place: int) -> None:
        self.under_way.pop(place)

    def lose_link(self, name: str) -> None:
        """A node's transport, and its leader's, notice that the link is broken."""
        for here, there in ((name, LEADER), (LEADER, name)):
            machine = self.machines[here]
            if machine.up:
                machine.mail[machine.role].append(LinkLost(Address(there), "the link broke"))

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        self.wall_ns += round(seconds * 1e9)
        for machine in self.machines.values():
            if machine.up:
                machine.fire_timers()

    # The end -----------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Let everything happen that should: members run, clocks are right, messages arrive, timers fire."""
        for machine in self.machines.values():
            machine.wall_offset_ns = 0
            if not machine.up:
                machine.start()
        end_s = self.now_s + HEAL_S
        while self.now_s < end_s:
            self.drain()
            if self.converged():
                return
            self.advance(
                min((t for m in self.machines.values() for t in m.timers.values()), default=end_s) - self.now_s
            )

    def drain(self) -> None:
        """Run everybody and deliver everything until nothing is left to do at this instant."""
        for _ in range(10_000):
            for machine in self.machines.values():
                for actor in machine.cores:
                    if machine.up and machine.mail[actor]:
                        machine.run(actor)
            while self.under_way:
                self.deliver(0)
            if all(machine.idle for machine in self.machines.values()):
                return
        raise AssertionError("members talk without end at one instant")

    def converged(self) -> bool:
        leader = versions(self.machines[LEADER])
        return all(versions(machine) == leader and not machine.outbox() for machine in self.machines.values())

    def count_gone(self, wiped: Machine) -> None:
        """Note what ends with this store because no other one holds it or anything greater."""
        others = [machine.table() for machine in self.machines.values() if machine is not wiped]
        for key, entry in wiped.table().items():
            if not any(key in table and table[key].version >= entry.version for table in others):
                self.gone[key] = max(self.gone.get(key, 0), entry.stamp)

    def assert_safe(self) -> None:
        """All members are equal, and nothing that was acknowledged is lost or has come back."""
        assert self.converged(), {name: (versions(m), m.outbox()) for name, m in self.machines.items()}
        for name, machine in self.machines.items():
            table = machine.table()
            for key, stamp, deleted in self.acknowledged:
                if stamp <= self.gone.get(key, 0):
                    continue
                assert key in table, (name, key, stamp)
                entry = table[key]
                assert (entry.stamp, entry.deleted) >= (stamp, deleted), (name, key, stamp, deleted, entry)


def versions(machine: Machine) -> dict[str, tuple[int, bool, int, str]]:
    return {key: entry.version for key, entry in sorted(machine.table().items())}


def adversity(seed: int, *, steps: int = 200) -> Cluster:
    """Play a drawn schedule of writes, losses, repetitions, reorderings, crashes, full disks and wrong clocks."""
    chance = Random(seed)
    cluster = Cluster(chance.randint(1, 3))
    names = list(cluster.machines)
    for number in range(steps):
        what, name = chance.random(), chance.choice(names)
        machine = cluster.machines[name]
        if not machine.up and chance.random() < 0.2:
            machine.start()
        if what < 0.16:
            cluster.write(name, chance.choice(["settings", "users/a", "users/b"]), number)
        elif what < 0.18:
            cluster.push(name, number)
        elif what < 0.22:
            cluster.delete(name, chance.choice(["settings", "users/a", "users/*"]))
        elif what < 0.60:
            busy = [actor for actor in machine.cores if machine.up and machine.mail[actor]]
            if busy:
                machine.run(
                    chance.choice(busy),
                    most=chance.choice([1, 2, 100]),
                    disk_fails=chance.random() < 0.1,
                    crash_after=chance.randrange(4) if chance.random() < 0.02 else None,
                )
        elif what < 0.76:
            if cluster.under_way:
                cluster.deliver(chance.randrange(len(cluster.under_way)), keep=chance.random() < 0.15)
        elif what < 0.81:
            for place in reversed(range(len(cluster.under_way))):
                if chance.random() < 0.5:
                    cluster.drop(place)
        elif what < 0.85:
            cluster.drain()  # a while without trouble, so that something happens at all
        elif what < 0.96:
            cluster.advance(chance.choice([0.01, 0.5, 1, 3, 10]))
        elif what < 0.97:
            if machine.up:
                machine.crash(wiped=chance.random() < 0.4)
        elif what < 0.99:
            cluster.lose_link(chance.choice(names[1:]))
        else:
            machine.wall_offset_ns = chance.choice([0, -3600 * 10**9, 30 * 10**9])
    return cluster
