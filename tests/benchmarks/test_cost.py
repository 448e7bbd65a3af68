"""What a change costs: counted, not timed, so that it says the same on every machine.

A list of 50,000 entries must cost what an empty one does: rows kept, messages, bytes, and steps of the interpreter.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

import msgspec
import pytest
import trio
from trio.testing import MockClock

from pivot.actors.member import Member
from pivot.actors.ref import Ref
from pivot.config import Knobs
from pivot.core.collection import Change, Place, PutRow, Row, SetPlace
from pivot.core.entry import Entry, canonical
from pivot.core.events import Asked, Committed
from pivot.core.messages import Envelope, Page, Push
from pivot.core.questions import Confirm, PushItem, Put, ReadFeed, ReadOutbox, Remove, ReplyTo
from pivot.core.storage import StorageBehaviour
from pivot.core.store import Store
from pivot.engine.base import StoreImage
from pivot.transport.codec import encode
from pivot.types import Epoch, Now, StoreId
from tests.actors.parts import WALL_NS, RecordingTransport, member, running

MANY: Final = 50_000
VALUE: Final = canonical(msgspec.json.encode("x" * 98))
"""A value of 100 bytes."""


def rows(count: int, *, acked: bool) -> list[Change]:
    """A list of so many entries, as a leader has it, or as a node has it from there."""
    return [
        PutRow(
            "users/*",
            Row(
                Entry(f"users/{seq:016x}", WALL_NS - MANY + seq, 0, VALUE, False, 0, StoreId("leader")),
                seq,
                seq if acked else None,
            ),
        )
        for seq in range(1, count + 1)
    ]


class CountingEngine:
    """An engine that begins with a list, and counts what is kept of it from then on.

    Attributes:
        kept: changes that were committed.
    """

    def __init__(self, name: str, changes: Sequence[Change]) -> None:
        self.kept: list[Change] = []
        # Sequence numbers go on from the same place whatever the list holds, so that they are equally long.
        self._image = StoreImage(StoreId(name), Epoch(f"life of {name}"), changes, MANY)

    @property
    def durability(self) -> str:
        return "memory"

    async def open(self) -> StoreImage:
        return self._image

    async def commit(self, changes: Sequence[Change]) -> None:
        self.kept += changes

    async def aclose(self) -> None:
        """Nothing is held."""


class Pair:
    """A leader and a node that share a list of so many entries, on virtual time."""

    def __init__(self, count: int) -> None:
        wires: dict[str, Any] = {}
        self.down, self.up = RecordingTransport(wires), RecordingTransport(wires)
        at_end = SetPlace("users/*", Place(Epoch("life of leader"), count))
        self.engines = (
            CountingEngine("leader", rows(count, acked=False)),
            CountingEngine("n1", [*rows(count, acked=True), at_end]),
        )
        self.leader = member("leader", transport=self.down, engine=self.engines[0])
        self.node = member("n1", transport=self.up, engine=self.engines[1], leader="leader")

    def forget(self) -> None:
        for engine in self.engines:
            engine.kept.clear()
        self.down.sent.clear()
        self.up.sent.clear()

    def sent(self) -> list[Envelope]:
        """What was said about changes; signs of life are said anyway."""
        return [e for e in (*self.down.sent, *self.up.sent) if not isinstance(e.body, Page) or e.body.entries]


async def ask(made: Member, question: Put | PushItem | Remove) -> None:
    await Ref(made).ask(question, deadline_s=5.0)


async def cost_of_changes(count: int) -> tuple[list[int], Counter[str], int]:
    """Rows kept by each member, messages by kind, and bytes, of ten changes of each kind at each member."""
    pair = Pair(count)
    async with running(pair.leader, pair.node):
        await trio.sleep(5)
        pair.forget()
        for made in (pair.leader[0], pair.node[0]):
            for number in range(10):
                await ask(made, PushItem("users/*", VALUE))
                await ask(made, Put(f"users/{made.id}-{number}", VALUE))
                await ask(made, Put(f"users/{made.id}-{number}", "1"))
                await ask(made, Remove(f"users/{made.id}-{number}"))
                await trio.sleep(0.01)
        await trio.sleep(1)
        assert len(pair.leader[0].table()) == len(pair.node[0].table()) == count + 40
        assert pair.node[0].outbox_size() == 0
        said = [e for e in pair.sent() if e.body.__struct_config__.tag != "ack"]
        kinds = Counter(str(envelope.body.__struct_config__.tag) for envelope in said)
        return [len(engine.kept) for engine in pair.engines], kinds, sum(len(encode(envelope)) for envelope in said)


async def test_a_change_of_a_long_list_costs_what_a_change_of_an_empty_one_does(autojump_clock: MockClock) -> None:
    assert autojump_clock.rate == 0
    many, none = await cost_of_changes(MANY), await cost_of_changes(0)
    assert many[:2] == none[:2]
    assert many[2] == pytest.approx(none[2], rel=0.001)  # some numbers have a digit more


def steps(work: Callable[[], object]) -> int:
    """How many instructions the interpreter executes."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_storage_takes_as_many_steps_with_a_long_list_as_with_an_empty_one() -> None:
    def steps_with(count: int) -> int:
        knobs = Knobs()
        at_end = SetPlace("users/*", Place(Epoch("e"), count))
        store = Store(StoreId("s"), Epoch("e"), {"users/*": True}, knobs, [*rows(count, acked=True), at_end], seq=MANY)
        store["users/*"].digest.text()
        storage = StorageBehaviour(store, listeners={}, knobs=knobs)

        def work() -> None:
            for number in range(20):
                key = f"users/{number}"
                for question in (
                    Put(key, VALUE),
                    Put(key, "1"),
                    PushItem("users/*", VALUE),
                    Remove(key),
                    ReadFeed("users/*", MANY + 4 * number),
                    ReadOutbox("users/*", MANY + 4 * number),
                    Confirm("users/*", Epoch("e"), ()),
                ):
                    storage.step(Now(WALL_NS + number, 1.0), Asked(ReplyTo("", 1), question))
                storage.step(Now(WALL_NS + number, 1.0), Committed())

        return steps(work)

    assert steps_with(MANY) == pytest.approx(steps_with(0), rel=0.01)


async def test_a_change_of_100_bytes_moves_at_most_1_kib_to_a_node(autojump_clock: MockClock) -> None:
    assert autojump_clock.rate == 0
    pair = Pair(1000)
    async with running(pair.leader, pair.node):
        await trio.sleep(5)
        pair.forget()
        await ask(pair.leader[0], PushItem("users/*", VALUE))
        await trio.sleep(0.5)
        moved = [len(encode(envelope)) for envelope in pair.sent() if envelope.sender == "leader"]
        assert len(moved) == 1
        assert sum(moved) <= 1024


async def test_ten_thousand_offline_writes_need_at_most_40_pushes(autojump_clock: MockClock) -> None:
    assert autojump_clock.rate == 0
    pair = Pair(0)
    async with running(pair.leader, pair.node):
        await trio.sleep(5)
        pair.up.cut = pair.down.cut = True
        await trio.sleep(60)
        for _ in range(10_000):
            await ask(pair.node[0], PushItem("users/*", VALUE))
        pair.forget()
        pair.up.cut = pair.down.cut = False
        await trio.sleep(120)
        assert pair.node[0].outbox_size() == 0
        assert len(pair.leader[0].table()) == 10_000
        assert sum(isinstance(envelope.body, Push) for envelope in pair.up.sent) <= 40
