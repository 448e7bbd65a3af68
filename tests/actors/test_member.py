"""A whole member on virtual time: asks with deadlines, restarts, giving up, shutdown, and two that converge."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pivot.actors.member import Member
from pivot.actors.ref import Ref
from pivot.actors.trio_timeline import TrioTimeline
from pivot.config import Knobs
from pivot.core.effects import Effect
from pivot.core.entry import Entry
from pivot.core.leading import Leading
from pivot.core.notices import ActorRestarted, Notice
from pivot.core.questions import Describe, Entries, Get, Put, Written
from pivot.core.storage import StorageBehaviour
from pivot.errors import (
    ActorStoppedError,
    DeadlineError,
    MailboxBusyError,
    RestartLimitError,
    StorageError,
)
from pivot.transport.base import Receiver
from pivot.types import Now
from tests.actors.parts import GatedEngine, RecordingTransport, member, running


async def put(made: Member, value: int) -> Written:
    result = await Ref(made).ask(Put("settings", str(value)), deadline_s=5.0)
    assert isinstance(result, Written)
    return result


async def get(made: Member) -> str:
    result = await Ref(made).ask(Get("settings"), deadline_s=5.0)
    assert isinstance(result, Entries)
    return result.entries[0].data if result.entries else ""


async def test_what_is_put_is_got_and_watched() -> None:
    one = member("leader")
    made = one.member
    seen: list[tuple[Entry, ...]] = []
    forget = made.watch(seen.append)
    async with running(one):
        written = await put(made, 7)
        assert await get(made) == "7"
        assert [[entry.stamp for entry in entries] for entries in seen] == [[written.stamp]]
        forget()
        await put(made, 8)
        assert len(seen) == 1
        assert list(made.table()) == ["settings"]
        assert made.statistics()["storage"].taken >= 3


async def test_two_members_converge_through_a_cut(autojump_clock: MockClock) -> None:
    wires: dict[str, Receiver] = {}
    up, down = RecordingTransport(wires), RecordingTransport(wires)
    leader, node = member("leader", transport=down), member("n1", transport=up, leader="leader")
    async with running(leader, node):
        await put(leader.member, 1)
        await trio.sleep(2)
        assert await get(node.member) == "1"
        up.cut = down.cut = True
        await put(leader.member, 2)
        await trio.sleep(1)
        await put(node.member, 3)
        await trio.sleep(30)
        assert (await get(leader.member), await get(node.member)) == ("2", "3")
        assert node.member.outbox_size() == 1
        up.cut = down.cut = False
        await trio.sleep(90)
        assert (await get(leader.member), await get(node.member)) == ("3", "3")
        assert node.member.outbox_size() == 0
    assert autojump_clock.current_time() < 200


async def test_deadline_passes_and_the_late_answer_is_not_missed_by_anybody(autojump_clock: MockClock) -> None:
    engine = GatedEngine()
    one = member("leader", engine=engine)
    made = one.member
    async with running(one):
        engine.gate = trio.Event()
        with pytest.raises(DeadlineError, match=r"Put within 5 s"):
            await put(made, 1)
        assert autojump_clock.current_time() == pytest.approx(5.0)
        engine.gate.set()
        assert await get(made) == "1"  # unknown to the asker, and it did happen


async def test_an_asker_that_goes_away_does_not_stop_the_write() -> None:
    engine = GatedEngine()
    one = member("leader", engine=engine)
    made = one.member
    async with running(one) as nursery:
        engine.gate = trio.Event()
        scope = trio.CancelScope()

        async def ask() -> None:
            with scope:
                await put(made, 1)

        nursery.start_soon(ask)
        await engine.waiting.wait()
        scope.cancel()
        await wait_all_tasks_blocked()
        engine.gate.set()
        assert await get(made) == "1"


async def test_overflow_of_storage_is_a_named_error_and_nothing_hangs() -> None:
    engine = GatedEngine()
    one = member("leader", engine=engine, knobs=Knobs(mailbox_max=3))
    made = one.member
    errors: list[Exception] = []

    async def ask() -> None:
        try:
            await put(made, 1)
        except MailboxBusyError as error:
            errors.append(error)

    async with running(one):
        engine.gate = trio.Event()
        async with trio.open_nursery() as askers:
            for _ in range(10):
                askers.start_soon(ask)
            await wait_all_tasks_blocked()
            assert errors
            engine.gate.set()
        assert 0 < len(errors) < 10
        assert await get(made) == "1"


async def test_a_refusing_disk_is_a_named_error_and_reads_go_on() -> None:
    engine = GatedEngine()
    one = member("leader", engine=engine)
    made = one.member
    async with running(one):
        await put(made, 1)
        engine.failing = "disk full"
        with pytest.raises(StorageError, match="disk full"):
            await put(made, 2)
        assert await get(made) == "1"
        engine.failing = ""
        await put(made, 3)
        assert await get(made) == "3"


async def test_a_crashed_actor_is_restarted_and_said(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    wires: dict[str, Receiver] = {}
    leader = member("leader", transport=RecordingTransport(wires))
    node = member("n1", transport=RecordingTransport(wires), leader="leader")
    notices: list[Notice] = []
    leader.member.on_notice(notices.append)
    original, crashes = Leading.heartbeat, [KeyError("a bug")]

    def crash_once(leading: Leading, now: Now) -> list[Effect]:
        if crashes:
            raise crashes.pop()
        return original(leading, now)

    monkeypatch.setattr(Leading, "heartbeat", crash_once)
    async with running(leader, node):
        await put(leader.member, 1)
        await trio.sleep(60)
        assert await get(node.member) == "1"
    assert [(n.actor, n.error) for n in notices if isinstance(n, ActorRestarted)] == [("leader", "KeyError('a bug')")]
    assert autojump_clock.current_time() >= 60


async def test_the_supervisor_gives_up_and_says_why(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    def crash(*_: object) -> list[Effect]:
        raise KeyError("a bug")

    monkeypatch.setattr(Leading, "heartbeat", crash)
    made = member("leader", knobs=Knobs(restarts_max=2, restarts_s=60.0))
    with pytest.RaisesGroup(
        pytest.RaisesExc(RestartLimitError, match=r"'leader' crashed 3 times within 60 s.*a bug"),
        flatten_subgroups=True,
    ):
        async with running(made):
            await trio.sleep(100)
    assert autojump_clock.current_time() < 100


async def test_a_crash_of_storage_ends_the_member(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> list[object]:
        raise KeyError("a bug in storage")

    made = member("leader")
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="a bug in storage"), flatten_subgroups=True):
        async with running(made):
            monkeypatch.setattr(StorageBehaviour, "_read", crash)
            with pytest.raises(ActorStoppedError, match="a bug in storage"):
                await Ref(made.member).ask(Describe(), deadline_s=5.0)
            await trio.sleep_forever()


async def test_shutdown_answers_every_waiting_ask_and_every_later_one() -> None:
    engine = GatedEngine()
    one = member("leader", engine=engine)
    made = one.member
    errors: list[str] = []

    async def ask() -> None:
        try:
            await put(made, 1)
        except ActorStoppedError as error:
            errors.append(str(error))

    async with trio.open_nursery() as askers, running(one):
        engine.gate = trio.Event()
        for _ in range(5):
            askers.start_soon(ask)
        await engine.waiting.wait()
        await wait_all_tasks_blocked()
    assert errors == ["member leader has stopped"] * 5
    assert engine.closed
    with pytest.raises(ActorStoppedError, match="has stopped"):
        await put(made, 2)


# Timeline ------------------------------------------------------------------------------------------------------------


async def test_a_timeline_runs_calls_in_time_and_a_cancelled_one_never(autojump_clock: MockClock) -> None:
    timeline, ran = TrioTimeline(), list[tuple[str, float]]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timeline.run)
        for name, delay_s in (("late", 3.0), ("early", 1.0), ("never", 2.0), ("past", -1.0), ("early too", 1.0)):
            timer = timeline.call_later(delay_s, lambda name=name: ran.append((name, trio.current_time())))
            if name == "never":
                timer.cancel()
        timeline.call_soon(lambda: ran.append(("soon", trio.current_time())))
        await trio.sleep(4)
        nursery.cancel_scope.cancel()
    assert ran == [("soon", 0.0), ("past", 0.0), ("early", 1.0), ("early too", 1.0), ("late", 3.0)]
    assert autojump_clock.current_time() == pytest.approx(4.0)
