import os
import subprocess
import sys
import threading
from functools import partial

import pytest
import trio
import trio.testing

from simulator.errors import (
    SimulationError,
)
from simulator.runtimes.loop import run, sleep_until
from simulator.world.heap import EventHeap
from simulator.world.latency import UniformLatency
from simulator.world.link import Conditions
from simulator.world.network import Network
from simulator.world.rng import Streams
from simulator.world.topology import mesh
from simulator.world.trace import Trace

SECOND = 10**9


def ping_pong(seed: int) -> str:
    """Eight members pass balls around over a lossy network, into memory channels; returns the hash of the trace.

    Several tasks of a member wake at one moment (an Event), and all give up after a while of virtual time: what Trio
    orders by memory address when left alone.
    """
    trace = Trace()

    async def main(heap: EventHeap) -> None:
        members = [f"m{number}" for number in range(8)]
        weather = Conditions(latency=UniformLatency(spread_s=0.02), loss=0.02, duplication=0.05)
        network = Network(heap, mesh(members, weather), Streams(seed), trace)
        dice = {member: Streams(seed).stream("dice", member) for member in members}
        starting = trio.Event()

        async def member(me: str, inbox: trio.MemoryReceiveChannel[bytes]) -> None:
            await starting.wait()
            with trio.move_on_after(2.0):
                for ball in range(3):
                    network.send(me, dice[me].choice([peer for peer in members if peer != me]), bytes([ball]), "Ball")
                async for payload in inbox:
                    trace.record(heap.now_ns, "state", me, label=str(len(payload)))
                    await trio.sleep(dice[me].uniform(0, 0.001))
                    peer = dice[me].choice([peer for peer in members if peer != me])
                    network.send(me, peer, payload + b".", "Ball")
            trace.record(heap.now_ns, "stopped", me)

        async with trio.open_nursery() as nursery:
            for me in members:
                send, receive = trio.open_memory_channel[bytes](100)
                network.attach(me, lambda payload, _, send=send: send.send_nowait(payload))
                nursery.start_soon(member, me, receive)
            await sleep_until(SECOND)
            starting.set()

    run(main, seed=seed)
    assert trace.count > 5_000
    return trace.hash


def test_the_same_seed_gives_the_same_trace_hash_twice_in_one_process() -> None:
    assert ping_pong(1) == ping_pong(1)
    assert ping_pong(1) != ping_pong(2)


def test_the_same_seed_gives_the_same_trace_hash_in_fresh_processes_under_other_hash_seeds() -> None:
    hashes = [
        subprocess.run(
            [sys.executable, __file__], env=os.environ | {"PYTHONHASHSEED": hash_seed}, check=True, capture_output=True
        ).stdout.decode()
        for hash_seed in ("1", "2")
    ]
    assert hashes == [ping_pong(7)] * 2


def test_one_event_wakes_one_task_which_runs_to_its_next_wait_before_the_next_event() -> None:
    seen: list[str] = []

    async def main(heap: EventHeap) -> None:
        async def consumer(name: str, inbox: trio.MemoryReceiveChannel[int]) -> None:
            async for number in inbox:
                seen.append(f"{name} wakes for {number}")
                heap.call_soon(lambda: seen.append(f"{name} asked for this"))
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                seen.append(f"{name} waits")

        async with trio.open_nursery() as nursery:
            sends: list[trio.MemorySendChannel[int]] = []
            for name in ("a", "b"):
                send, receive = trio.open_memory_channel[int](10)
                sends.append(send)
                nursery.start_soon(consumer, name, receive)
            for number in range(2):
                for send in sends:
                    heap.post_at(SECOND, partial(send.send_nowait, number))
            await sleep_until(SECOND)
            seen.append("main wakes")
            await sleep_until(2 * SECOND)
            nursery.cancel_scope.cancel()

    run(main, seed=3)
    assert seen == [
        "a wakes for 0",
        "a waits",
        "b wakes for 0",
        "b waits",
        "a wakes for 1",
        "a waits",
        "b wakes for 1",
        "b waits",
        "main wakes",
        "a asked for this",
        "b asked for this",
        "a asked for this",
        "b asked for this",
    ]


def test_events_of_this_instant_come_before_deadlines_of_this_instant() -> None:
    seen: list[str] = []

    async def main(heap: EventHeap) -> None:
        async def sleeper() -> None:
            await trio.sleep(1)
            seen.append("deadline")

        async def woken(number: int) -> None:
            await sleep_until(SECOND)
            heap.call_soon(lambda: seen.append(f"from {number}"))
            seen.append(f"event {number}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(2):
                nursery.start_soon(woken, number)
                await trio.testing.wait_all_tasks_blocked()

    run(main, seed=1)
    assert seen == ["event 0", "event 1", "from 0", "from 1", "deadline"]


def test_trio_sleep_takes_virtual_time_and_is_merged_with_events_by_time() -> None:
    seen: list[tuple[str, int]] = []

    async def main(heap: EventHeap) -> float:
        heap.call_later(1.5, lambda: seen.append(("event", heap.now_ns)))
        heap.call_later(7200, lambda: seen.append(("never", heap.now_ns)))
        for _ in range(3):
            await trio.sleep(0.1)
        seen.append(("slept", heap.now_ns))
        await trio.sleep(3600)
        seen.append(("slept", heap.now_ns))
        with trio.move_on_after(5) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return trio.current_time()

    assert run(main, seed=1) == pytest.approx(3605.3)
    assert seen == [("slept", 300_000_000), ("event", 1_500_000_000), ("slept", 3_600_300_000_000)]


def test_time_never_stops_short_of_a_deadline_however_it_is_rounded() -> None:
    async def main(_: EventHeap) -> None:
        for deadline in (0.1 + 0.2, 1.0000000004, 1.0000000006, 12345.678901234567):
            await trio.sleep_until(deadline)
            assert trio.current_time() >= deadline

    run(main, seed=1)


def test_deadlines_in_the_past_pass_at_once() -> None:
    async def main(heap: EventHeap) -> None:
        await sleep_until(SECOND)
        for deadline in (0.5, 1.0, -float("inf")):
            with trio.CancelScope(deadline=deadline) as scope:
                await trio.sleep_forever()
            assert scope.cancelled_caught
        assert heap.now_ns == SECOND

    run(main, seed=1)


def test_an_event_may_move_a_deadline_without_waking_anybody() -> None:
    async def main(heap: EventHeap) -> None:
        with trio.CancelScope(deadline=100) as scope:

            def sooner() -> None:
                scope.deadline = trio.current_time() + 1

            heap.post_at(SECOND, sooner)
            heap.post_at(50 * SECOND, lambda: None)
            await trio.sleep_forever()
        assert heap.now_ns == 2 * SECOND

    run(main, seed=1)


def test_waiting_until_a_time_can_be_cancelled_and_leaves_nothing_behind() -> None:
    async def main(heap: EventHeap) -> None:
        with trio.move_on_after(1):
            await sleep_until(5 * SECOND)
        assert (heap.now_ns, len(heap)) == (SECOND, 0)
        await sleep_until(0)
        assert heap.now_ns == SECOND

    run(main, seed=1)


async def test_waiting_until_a_virtual_time_outside_a_run_says_what_it_needs() -> None:
    with pytest.raises(SimulationError, match="needs virtual time, the clock is"):
        await sleep_until(1)


def test_tasks_that_wake_at_one_moment_run_in_an_order_that_is_the_seeds_alone() -> None:
    def order(seed: int) -> list[int]:
        seen: list[int] = []

        async def main(_: EventHeap) -> None:
            event = trio.Event()

            async def waits(number: int) -> None:
                await event.wait()
                seen.append(number)

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(waits, number)
                await trio.sleep(1)
                event.set()

        run(main, seed=seed)
        return seen

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_runs_in_several_threads_do_not_disturb_each_other() -> None:
    hashes: dict[int, str] = {}

    def play(seed: int) -> None:
        hashes[seed] = ping_pong(seed)

    threads = [threading.Thread(target=play, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hashes == {1: ping_pong(1), 2: ping_pong(2)}


def test_waiting_for_all_tasks_to_block_lets_no_event_happen() -> None:
    async def main(heap: EventHeap) -> None:
        heap.call_soon(lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        assert heap.executed == 0
        await trio.sleep(1)
        assert heap.executed == 1

    run(main, seed=1)


if __name__ == "__main__":
    sys.stdout.write(ping_pong(7))
