"""Parts for tests of actors: an engine that can wait and fail, a transport that remembers, members on virtual time."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from pivot.actors.actor import Actor
from pivot.actors.mailbox import Mailbox
from pivot.actors.member import Member
from pivot.actors.switchboard import Switchboard
from pivot.actors.tasks import run_member
from pivot.actors.trio_timeline import TrioTimeline
from pivot.config import Config, Key, Knobs
from pivot.core.behaviour import Behaviour
from pivot.core.collection import Change
from pivot.core.effects import Effect
from pivot.core.events import Event
from pivot.core.messages import Envelope
from pivot.engine.base import StorageEngine, StoreImage
from pivot.errors import StorageError
from pivot.transport.base import Receiver
from pivot.types import Address, Epoch, MemberId, Now, StoreId

WALL_NS = 1_700_000_000 * 10**9
CONFIG = Config(keys=(Key("settings"), Key("users/*")))


class Entropy:
    """No chance: the middle of every range, and names that count up."""

    def __init__(self) -> None:
        self._ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"

    def uniform(self, least: float, most: float) -> float:
        return (least + most) / 2


class RecordingTransport:
    """Remembers what was sent; hands it on to `wires`, address -> receiver, unless the wire is cut."""

    def __init__(self, wires: dict[str, Receiver] | None = None) -> None:
        self.sent: list[Envelope] = []
        self.wires: dict[str, Receiver] = {} if wires is None else wires
        self.cut = False

    def attach(self, receiver: Receiver) -> None:
        assert isinstance(receiver, Member)
        self.wires[receiver.id] = receiver

    def send(self, envelope: Envelope) -> None:
        self.sent.append(envelope)
        receiver = self.wires.get(envelope.target)
        if receiver is not None and not self.cut:
            receiver.receive(envelope, Address(envelope.sender))


class GatedEngine:
    """A memory engine whose commits can be held and made to fail.

    Attributes:
        gate: commits wait for it.
        failing: reason for which the next commits fail; empty = they hold.
        commits: the changes of each commit that held.
        waiting: set when a commit waits.
    """

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.gate.set()
        self.failing = ""
        self.commits: list[list[Change]] = []
        self.waiting = trio.Event()
        self.closed = False

    @property
    def durability(self) -> str:
        return "memory"

    async def open(self) -> StoreImage:
        return StoreImage(StoreId("store"), Epoch("epoch"), [change for commit in self.commits for change in commit])

    async def commit(self, changes: Sequence[Change]) -> None:
        self.waiting.set()
        await self.gate.wait()
        if self.failing:
            raise StorageError(self.failing)
        self.commits.append(list(changes))

    async def aclose(self) -> None:
        self.closed = True


class Scripted:
    """A behaviour that does what a function says."""

    def __init__(self, step: Callable[[Event], list[Effect]]) -> None:
        self._step = step

    def step(self, now: Now, event: Event) -> list[Effect]:
        assert now.wall_ns > 0
        return self._step(event)


def switchboard(transport: RecordingTransport | None = None, *, timeline: TrioTimeline | None = None) -> Switchboard:
    return Switchboard(
        member=MemberId("m"),
        timeline=timeline or TrioTimeline(),
        wall=lambda: WALL_NS,
        entropy=Entropy(),
        transport=transport or RecordingTransport(),
        asks_max=100,
    )


def actor(
    name: str,
    create: Callable[[], Behaviour],
    board: Switchboard,
    *,
    limit: int = 100,
) -> Actor:
    return Actor(name, create, switchboard=board, mailbox=Mailbox(name, limit=limit, reserve=100))


class Made(NamedTuple):
    """A member, and what it runs with."""

    member: Member
    timeline: TrioTimeline
    engine: StorageEngine


def member(
    name: str,
    *,
    transport: RecordingTransport | None = None,
    engine: StorageEngine | None = None,
    leader: str = "",
    knobs: Knobs | None = None,
) -> Made:
    timeline = TrioTimeline()
    made = Member(
        Config(keys=CONFIG.keys, cluster_url=leader, knobs=knobs or Knobs()),
        member=MemberId(name),
        transport=transport or RecordingTransport(),
        timeline=timeline,
        wall=lambda: WALL_NS + round(trio.current_time() * 1e9),
        entropy=Entropy(),
    )
    return Made(made, timeline, engine or GatedEngine())


@asynccontextmanager
async def running(*members: Made) -> AsyncGenerator[trio.Nursery, None]:
    async with trio.open_nursery() as nursery:
        for made, timeline, engine in members:
            nursery.start_soon(timeline.run)
            await nursery.start(run_member, made, engine)
        yield nursery
        nursery.cancel_scope.cancel()
