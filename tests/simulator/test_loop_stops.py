import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from simulator.errors import (
    OutOfTimeError,
    SimulationDeadlockError,
    TooManyEventsError,
)
from simulator.runtimes import loop
from simulator.runtimes.loop import run, sleep_until
from simulator.world.heap import EventHeap

SECOND = 10**9


async def one_second(heap: EventHeap) -> float:
    await trio.sleep(1)
    return heap.monotonic_s()


def test_a_deadlock_is_reported_with_who_waits_where() -> None:
    cleaned: list[int] = []

    async def main(heap: EventHeap) -> None:
        async def stuck_forever() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                cleaned.append(heap.now_ns)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stuck_forever)
            await sleep_until(3 * SECOND)

    with pytest.raises(SimulationDeadlockError, match=r"deadlock at 3\.0+ s of virtual time: 2 tasks wait") as caught:
        run(main, seed=1)
    assert [name for name in caught.value.waiting if "stuck_forever at test_loop_stops.py:" in name]
    assert cleaned == [4 * SECOND]
    assert run(one_second, seed=1) == 1.0


def test_a_deadlock_of_tasks_that_shield_themselves_still_ends_the_run() -> None:
    cleaned: list[str] = []

    async def main(_: EventHeap) -> None:
        async def shielded(name: str) -> None:
            try:
                with trio.CancelScope(shield=True):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(trio.sleep_forever)
            finally:
                cleaned.append(name)

        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            nursery.start_soon(shielded, "a")
            nursery.start_soon(shielded, "b")

    with pytest.raises(SimulationDeadlockError, match="5 tasks wait"):
        run(main, seed=1)
    assert sorted(cleaned) == ["a", "b"]
    assert run(one_second, seed=1) == 1.0


def test_tasks_that_swallow_cancellation_still_do_not_hang_the_run() -> None:
    # In a process of its own, for Trio leaves tasks in pieces when it is left by force.
    code = """
import trio
from simulator.runtimes.loop import run

async def main(heap):
    while True:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            pass

run(main, seed=1)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60)
    assert ended.returncode == 1
    assert b"SimulationError: tasks do not end: cancelled, and shields lifted 3 times, in vain" in ended.stderr
    assert b"simulator.errors.SimulationDeadlockError: deadlock at 0.0" in ended.stderr


def test_a_runaway_of_events_is_stopped_at_the_limit() -> None:
    async def main(heap: EventHeap) -> None:
        def again() -> None:
            heap.call_soon(again)

        again()
        await trio.sleep_forever()

    with pytest.raises(TooManyEventsError, match=r"number 1001 at .* the limit is 1000") as caught:
        run(main, seed=1, max_events=1000)
    assert (caught.value.number, caught.value.limit) == (1001, 1000)


def test_a_runaway_of_deadlines_is_stopped_at_the_limit() -> None:
    async def main(_: EventHeap) -> None:
        while True:  # noqa: ASYNC110 - this is what is tested
            await trio.sleep(1e-6)

    with pytest.raises(TooManyEventsError, match="the limit is 1000"):
        run(main, seed=1, max_events=1000)


def test_a_run_in_which_time_stands_still_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "TURNS_AT_ONE_INSTANT_MAX", 1000)

    async def main(_: EventHeap) -> None:
        await trio.sleep(2)
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(TooManyEventsError, match=r"turns at one instant number 1001 at 2\.0"):
        run(main, seed=1)


def test_a_cleanup_without_end_is_stopped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "TURNS_AT_ONE_INSTANT_MAX", 1000)
    monkeypatch.setattr(loop, "_STEPS_WHILE_STOPPING_MAX", 1000)

    async def endless(step: Callable[[], Awaitable[None]]) -> None:
        with trio.CancelScope(shield=True):
            while True:
                await step()

    for step in (trio.lowlevel.checkpoint, partial(trio.sleep, 1)):
        with pytest.raises(TooManyEventsError, match="the limit is 1000"):
            run(lambda _, step=step: endless(step), seed=1, max_events=1000)


def test_a_run_ends_at_its_limit_of_virtual_time_and_things_at_that_time_still_happen() -> None:
    seen: list[int] = []

    async def main(heap: EventHeap) -> None:
        while True:
            await sleep_until(heap.now_ns + SECOND)
            seen.append(heap.now_ns // SECOND)

    with pytest.raises(OutOfTimeError, match=r"not finished at 3\.0+ s of virtual time, the limit; .* at 4\.0"):
        run(main, seed=1, until_s=3.0)
    assert seen == [1, 2, 3]


def test_an_error_in_an_event_ends_the_run_as_it_is() -> None:
    async def main(heap: EventHeap) -> None:
        def fail(text: str) -> None:
            raise ValueError(text)

        heap.post_at(5, partial(fail, "planted"))
        heap.post_at(5, partial(fail, "again"))
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

    with pytest.raises(ValueError, match="planted") as caught:
        run(main, seed=1)
    assert caught.value.__notes__ == ["while tasks cleaned up: ValueError('again')"]


def test_an_error_of_main_comes_out_as_it_is_and_the_result_too() -> None:
    async def fails(_: EventHeap) -> None:
        raise KeyError("planted")

    async def answers(heap: EventHeap) -> int:
        return len(heap)

    with pytest.raises(KeyError, match="planted"):
        run(fails, seed=1)
    assert run(answers, seed=1) == 0
