"""The generic actor: what it commits, what it tells, in which order, and what happens when it crashes or is flooded."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pivot.actors.core import ActorCore
from pivot.actors.mailbox import Mailbox
from pivot.actors.tasks import arrival, run_actor
from pivot.actors.trio_timeline import TrioTimeline
from pivot.core.collection import PutRow, Row
from pivot.core.effects import Effect, Persist, Reply, Report, Send, SetTimer
from pivot.core.entry import Entry
from pivot.core.events import Asked, Changed, CommitFailed, Committed, Event, TimerFired
from pivot.core.messages import Refused
from pivot.core.notices import StorageRefused
from pivot.core.questions import Failed, Get, Put, ReplyTo, Written
from pivot.types import Address, Now, StoreId
from tests.actors.parts import GatedEngine, RecordingTransport, Scripted, actor, switchboard

NOW = Now(1, 1.0)


def changed(number: int) -> Changed:
    return Changed("users/*", number)


def change(key: str) -> PutRow:
    return PutRow("users/*", Row(Entry(key, 1, 0, "1", deleted=False, prev=None, origin=StoreId("s")), 1))


def asked(key: str, token: int = 1) -> Asked:
    return Asked(ReplyTo("", token), Put(key, "1"))


def storing(event: Event) -> list[Effect]:
    """Keeps what it is asked to put, answers, and tells a peer."""
    if isinstance(event, Asked) and isinstance(event.question, Put):
        key = event.question.key
        written = Reply(event.to, Written((key,), (1,)))
        return [Persist((change(key),)), written, Send(Address("peer"), Refused(key))]
    if isinstance(event, Committed):
        return [Report(StorageRefused("committed"))]
    if isinstance(event, CommitFailed):
        return [Report(StorageRefused(event.reason))]
    return []


# ActorCore, without Trio ---------------------------------------------------------------------------------------------


def test_a_batch_gives_all_its_changes_first_and_all_its_effects_in_order_after_the_commit() -> None:
    core = ActorCore(Scripted(storing))
    assert core.begin(NOW, [asked("a", 1), asked("b", 2)]) == [change("a"), change("b")]
    effects = core.finish(NOW)
    assert [type(effect).__name__ for effect in effects] == ["Reply", "Send", "Reply", "Send", "Report"]


def test_a_failed_commit_turns_replies_into_refusals_and_tells_nobody_else() -> None:
    core = ActorCore(Scripted(storing))
    core.begin(NOW, [asked("a", 1), changed(1)])
    assert core.finish(NOW, "disk full") == [
        Reply(ReplyTo("", 1), Failed("storage", "disk full")),
        Report(StorageRefused("disk full")),
    ]


def test_a_batch_that_persists_nothing_needs_no_commit() -> None:
    core = ActorCore(Scripted(lambda _: [Report(StorageRefused("seen"))]))
    assert core.begin(NOW, [changed(1)]) == []
    assert core.finish(NOW) == [Report(StorageRefused("seen"))]


# Mailbox -------------------------------------------------------------------------------------------------------------


def test_overflow_is_refused_and_counted_while_there_is_room_for_what_the_actor_asked_for() -> None:
    mailbox = Mailbox("m", limit=2, reserve=5)
    assert [mailbox.offer(changed(n)) for n in range(4)] == [True, True, False, False]
    mailbox.put(TimerFired("its own"))
    statistics = mailbox.statistics()
    assert (statistics.waiting, statistics.limit, statistics.peak, statistics.refused) == (3, 2, 3, 2)
    assert mailbox.drain() == [changed(0), changed(1), TimerFired("its own")]
    assert mailbox.statistics().taken == 3
    assert mailbox.offer(changed(9))


async def test_arrival_waits_for_the_first_event() -> None:
    mailbox, taken = Mailbox("m", limit=2, reserve=0), list[Event]()

    async def take() -> None:
        await arrival(mailbox)
        taken.extend(mailbox.drain())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        assert taken == []
        mailbox.offer(changed(1))
    assert taken == [changed(1)]


# The Trio actor ------------------------------------------------------------------------------------------------------


async def test_nothing_is_told_before_the_commit_holds() -> None:
    transport, engine = RecordingTransport(), GatedEngine()
    board = switchboard(transport)
    storage = actor("storage", lambda: Scripted(storing), board)
    answers: list[object] = []
    engine.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        storage.prepare()
        nursery.start_soon(run_actor, storage, engine)
        board.ask(Put("a", "1"), answers.append)
        await engine.waiting.wait()
        await wait_all_tasks_blocked()
        assert (answers, transport.sent) == ([], [])
        engine.gate.set()
        await wait_all_tasks_blocked()
        assert answers == [Written(("a",), (1,))]
        assert [envelope.body for envelope in transport.sent] == [Refused("a")]
        nursery.cancel_scope.cancel()


async def test_all_that_waits_is_committed_at_once() -> None:
    engine = GatedEngine()
    board = switchboard()
    storage = actor("storage", lambda: Scripted(storing), board)
    answers: list[object] = []
    engine.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        storage.prepare()
        nursery.start_soon(run_actor, storage, engine)
        board.ask(Put("first", "1"), answers.append)
        await engine.waiting.wait()
        for number in range(50):
            board.ask(Put(str(number), "1"), answers.append)
        engine.gate.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [len(commit) for commit in engine.commits] == [1, 50]
    assert len(answers) == 51


async def test_a_failed_commit_answers_every_writer_and_the_actor_goes_on() -> None:
    engine = GatedEngine()
    board = switchboard()
    storage = actor("storage", lambda: Scripted(storing), board)
    answers: list[object] = []
    engine.failing = "disk full"
    async with trio.open_nursery() as nursery:
        storage.prepare()
        nursery.start_soon(run_actor, storage, engine)
        board.ask(Put("a", "1"), answers.append)
        board.ask(Put("b", "1"), answers.append)
        await wait_all_tasks_blocked()
        assert answers == [Failed("storage", "disk full")] * 2
        engine.failing = ""
        board.ask(Put("c", "1"), answers.append)
        await wait_all_tasks_blocked()
        assert answers[2:] == [Written(("c",), (1,))]
        nursery.cancel_scope.cancel()
    assert engine.commits == [[change("c")]]


async def test_a_crash_answers_those_of_its_batch_and_raises() -> None:
    def crash(event: Event) -> list[Effect]:
        if isinstance(event, Asked):
            raise KeyError("a bug")
        return []

    board = switchboard()
    storage = actor("storage", lambda: Scripted(crash), board)
    answers: list[object] = []
    storage.prepare()
    board.ask(Get("a"), answers.append)
    with pytest.raises(KeyError, match="a bug"):
        await run_actor(storage, None)
    (answer,) = answers
    assert isinstance(answer, Failed)
    assert answer.code == "stopped"
    assert "a bug" in answer.reason


async def test_a_new_life_hears_no_timer_of_an_earlier_one(autojump_clock: MockClock) -> None:
    heard: list[Event] = []

    def step(event: Event) -> list[Effect]:
        heard.append(event)
        return [SetTimer("alarm", 5.0, 5.0)] if isinstance(event, Changed) else []

    timeline = TrioTimeline()
    node = actor("node", lambda: Scripted(step), switchboard(timeline=timeline))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timeline.run)
        for _ in range(2):
            with trio.move_on_after(1.0):
                node.prepare()
                node.mailbox.offer(changed(len(heard)))
                await run_actor(node, None)
        with trio.move_on_after(10.0):
            await run_actor(node, None)
        nursery.cancel_scope.cancel()
    assert sum(isinstance(event, TimerFired) for event in heard) == 1
    assert autojump_clock.current_time() == pytest.approx(12.0)
