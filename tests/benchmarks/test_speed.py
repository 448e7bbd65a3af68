"""How fast the simulator is, as ratios to other tools that do the same work in the same run.

Rates depend on the machine and its neighbours: they are printed. What is asserted is the work, and the ratios.

    pip install -c constraints.txt -e '.[dev,bench]'
    pytest -m long -s -n 0 tests/benchmarks/test_speed.py

simloop asks for Python 3.12; below that `pip install --ignore-requires-python simloop` gets it. What is not installed
is skipped.
"""

import asyncio
import sys
from collections.abc import Callable, Generator
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock

from pivot.actors.mailbox import Mailbox
from pivot.actors.tasks import arrival
from pivot.core.events import TimerFired
from simulator import Plan
from simulator.experiment.checkers import check
from simulator.experiment.world import Outcome, World, play
from simulator.runtimes import kernel, loop
from simulator.runtimes.base import Runtime
from simulator.world.heap import EventHeap
from simulator.world.rng import Streams
from simulator.world.trace import Trace
from tests.benchmarks.yardstick import cpu_s, show

REFERENCE: Final = Path(__file__).with_name("reference.json")
"""5 members, 60 s, some 600 operations of clients; cuts, crashes, stops, lost disks, disks and clocks
that err. Made up once, and kept as it is."""
BARE_EVENTS: Final = 200_000

TIMERS: Final = 100
TICKS: Final = 3_600
TIMES_SIMLOOP: Final = 8.0
TIMES_SIMLOOP_MIN: Final = 2.5
"""What we want of it, and below what something is broken: a bare timer is cheap everywhere."""

MESSAGES: Final = 30_000
RECEIVERS: Final = 100
LATENCIES_S: Final = tuple(0.001 + 0.004 * Streams(1).stream("latency").unit_at(number) for number in range(MESSAGES))
TIMES_TASKS: Final = 6.0
TIMES_TASKS_MIN: Final = 4.0
TIMES_SIMPY: Final = 0.9
TIMES_SIMPY_MIN: Final = 0.4
"""What we want, and below what something is broken: Trio's loop turns once for each task that is woken, and that turn
is most of what a message costs here."""


def judged(plan: Plan, outcome: Outcome) -> Outcome:
    """The outcome, which every checker has found right."""
    assert check(plan, outcome) == ()
    return outcome


# The reference scenario ----------------------------------------------------------------------------------------------


def test_the_reference_scenario_reaches_what_it_is_there_for() -> None:
    plan = Plan.load(REFERENCE)
    outcome = judged(plan, play(plan))
    assert (len(plan.members), plan.safety_s) == (5, 60.0)
    assert len(outcome.records) > 500
    for what in (
        "messages lost: cut",
        "messages duplicated",
        "commits failed",
        "commits lied",
        "versions wiped",
        "events held by stopped processes",
        "operations under a wrong clock",
        "tombstones collected",
    ):
        assert outcome.reached[what], what


@pytest.mark.long
def test_the_reference_scenario_is_timed_with_every_checker_on() -> None:
    """An event is one call of the heap: a message, an answer, a wake-up, a timer, a commit or an operation happens.

    Events that are visible from outside (messages, faults, operations, starts) are those of the trace, fewer than half.
    """
    plan = Plan.load(REFERENCE)
    heaps: list[EventHeap] = []

    def begin(runtime: Runtime) -> World:
        heaps.append(runtime.heap)
        world = World(plan, runtime, keep_trace=False)
        world.begin()
        return world

    def on_kernel() -> None:
        outcome = kernel.run(begin).outcome
        assert outcome is not None
        hashes.append(judged(plan, outcome).hash)

    def on_trio() -> None:
        hashes.append(judged(plan, play(plan, runtime="trio")).hash)

    hashes: list[str] = []
    times = cpu_s({"kernel": on_kernel, "Trio": on_trio, "bare": bare_heap}, turns=5)
    assert len(dict.fromkeys(hashes)) == 1
    events, traced = heaps[0].executed, play(plan).events
    rows = {
        name: f"{events / times[name]:8,.0f} events/s   {traced / times[name]:8,.0f} traced/s   "
        f"{1 / times[name]:5.2f} runs/s"
        for name in ("kernel", "Trio")
    }
    rows["a heap that does nothing"] = f"{BARE_EVENTS / times['bare']:8,.0f} events/s: how fast this machine is now"
    show(f"reference scenario: {events:,} events, {traced:,} of them traced, hash {hashes[0]}", rows)


def bare_heap() -> None:
    """What a heap of tuples alone costs."""
    heap = [(time, time) for time in range(TIMERS)]
    for number in range(BARE_EVENTS):
        time, _ = heappop(heap)
        heappush(heap, (time + TIMERS, TIMERS + number))


# Timers --------------------------------------------------------------------------------------------------------------


def context_of(handle: Any) -> Any:
    """What `asyncio.Handle.get_context` returns from Python 3.12 on."""
    return handle._context


@pytest.mark.long
def test_timers_tick_on_the_kernel_many_times_faster_than_on_simloop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sys.version_info < (3, 12):  # all that simloop lacks there
        monkeypatch.setattr(asyncio.Handle, "get_context", context_of, raising=False)
    simloop = pytest.importorskip("simloop", reason="the extra `bench` is not installed")
    ticks: dict[str, int] = {}

    def on_kernel() -> None:
        trace, left = Trace(), [TICKS] * TIMERS

        def begin(runtime: Runtime) -> None:
            heap = runtime.heap

            def tick(timer: int) -> None:
                trace.record(heap.now_ns, "state", "", message=timer)
                left[timer] -= 1
                if left[timer]:
                    heap.call_later(1.0, ticks_of[timer])
                elif not any(left):
                    runtime.finish()

            ticks_of = [partial(tick, timer) for timer in range(TIMERS)]
            for call in ticks_of:
                heap.call_later(1.0, call)

        kernel.run(begin)
        assert len(trace.hash) == 32
        ticks["kernel"] = trace.count

    def on_simloop(*, with_tasks: bool) -> None:
        run, left = simloop.SimLoop(1), [TICKS] * TIMERS
        ticks["simloop"] = 0

        async def sleeper() -> None:
            for _ in range(TICKS):
                await asyncio.sleep(1.0)
                ticks["simloop"] += 1

        async def sleepers() -> None:
            await asyncio.gather(*(sleeper() for _ in range(TIMERS)))

        async def all_of_them() -> None:
            done = run.create_future()

            def tick(timer: int) -> None:
                ticks["simloop"] += 1
                left[timer] -= 1
                if left[timer]:
                    run.call_later(1.0, tick, timer)
                elif not any(left):
                    done.set_result(None)

            for timer in range(TIMERS):
                run.call_later(1.0, tick, timer)
            await done

        run.run_until_complete(sleepers() if with_tasks else all_of_them())
        assert run.trace_hash()
        run.close()

    times = cpu_s(
        {
            "kernel": on_kernel,
            "simloop, tasks that sleep": partial(on_simloop, with_tasks=True),
            "simloop, call_later": partial(on_simloop, with_tasks=False),
        },
        turns=2,
    )
    assert ticks == {"kernel": TIMERS * TICKS, "simloop": TIMERS * TICKS}
    kernels, tasks, calls = times.values()
    rows = {name: f"{TICKS / taken_s:10,.0f} virtual s/s" for name, taken_s in times.items()}
    rows["times simloop"] = f"{tasks / kernels:10.1f}, wanted {TIMES_SIMLOOP:g} (its call_later: {calls / kernels:.1f})"
    show(f"{TIMERS} timers x {TICKS:,} ticks, hash on", rows)
    assert calls / kernels >= TIMES_SIMLOOP_MIN


# Messages on Trio ----------------------------------------------------------------------------------------------------


class Traffic:
    """As many messages under way as there are receivers; whoever takes one sends the next to its neighbour.

    Attributes:
        sent: messages so far.
        taken: those that arrived.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.taken = 0

    def next(self) -> tuple[int, float] | None:
        """Receiver and latency (s) of the next message; None when all are sent."""
        number = self.sent
        if number == MESSAGES:
            return None
        self.sent = number + 1
        return number % RECEIVERS, LATENCIES_S[number]

    def take(self) -> bool:
        """One has arrived; whether it was the last."""
        self.taken += 1
        return self.taken == MESSAGES


def on_our_trio_runtime() -> Traffic:
    traffic = Traffic()

    async def main(heap: EventHeap) -> None:
        boxes = [Mailbox(str(number), limit=MESSAGES, reserve=0) for number in range(RECEIVERS)]
        finished = trio.Event()
        event = TimerFired("message")

        def send() -> None:
            message = traffic.next()
            if message is not None:
                receiver, latency_s = message
                heap.post_at(heap.now_ns + round(latency_s * 1e9), partial(boxes[receiver].put, event))

        async def receive(box: Mailbox) -> None:
            while True:
                await arrival(box)
                for _ in box.drain():
                    if traffic.take():
                        finished.set()
                    send()

        async with trio.open_nursery() as nursery:
            for box in boxes:
                nursery.start_soon(receive, box)
                send()
            await finished.wait()
            nursery.cancel_scope.cancel()

    loop.run(main, seed=1)
    return traffic


def with_a_task_for_each_message() -> Traffic:
    traffic = Traffic()

    async def main() -> None:
        pairs = [trio.open_memory_channel[int](MESSAGES) for _ in range(RECEIVERS)]
        async with trio.open_nursery() as nursery:

            async def fly(receiver: int, latency_s: float) -> None:
                await trio.sleep(latency_s)
                pairs[receiver][0].send_nowait(receiver)

            def send() -> None:
                message = traffic.next()
                if message is not None:
                    nursery.start_soon(fly, *message)

            async def receive(messages: trio.MemoryReceiveChannel[int]) -> None:
                async for _ in messages:
                    if traffic.take():
                        nursery.cancel_scope.cancel()
                    send()

            for _, messages in pairs:
                nursery.start_soon(receive, messages)
                send()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return traffic


def on_simpy(simpy: Any, *, with_processes: bool) -> Traffic:
    """With a process for each message, as SimPy's examples have it, or with a callback of its timeout, the least."""
    traffic, environment = Traffic(), simpy.Environment()
    stores = [simpy.Store(environment) for _ in range(RECEIVERS)]

    def send() -> None:
        message = traffic.next()
        if message is not None:
            receiver, latency_s = message
            if with_processes:
                environment.process(fly(receiver, latency_s))
            else:
                environment.timeout(latency_s).callbacks.append(partial(land, receiver))

    def land(receiver: int, _: object) -> None:
        stores[receiver].put(receiver)

    def fly(receiver: int, latency_s: float) -> Generator[Any, Any, None]:
        yield environment.timeout(latency_s)
        stores[receiver].put(receiver)

    def receive(store: Any) -> Generator[Any, Any, None]:
        while True:
            yield store.get()
            traffic.take()
            send()

    for store in stores:
        environment.process(receive(store))
        send()
    environment.run()
    return traffic


@pytest.mark.long
def test_messages_pass_on_trio_much_faster_than_with_a_task_for_each() -> None:
    simpy = pytest.importorskip("simpy", reason="the extra `bench` is not installed")

    def complete(work: Callable[[], Traffic]) -> None:
        traffic = work()
        assert (traffic.sent, traffic.taken) == (MESSAGES, MESSAGES)

    works = {
        "Trio in virtual time": on_our_trio_runtime,
        "a task for each message, MockClock": with_a_task_for_each_message,
        "SimPy, a process for each message": partial(on_simpy, simpy, with_processes=True),
        "SimPy, a callback for each message": partial(on_simpy, simpy, with_processes=False),
    }
    times = cpu_s({name: partial(complete, work) for name, work in works.items()})
    ours, tasks, simpys, callbacks = times.values()
    rows = {name: f"{MESSAGES / taken_s:10,.0f} messages/s" for name, taken_s in times.items()}
    rows["times a task for each"] = f"{tasks / ours:10.2f}, wanted {TIMES_TASKS:g}"
    rows["times SimPy"] = f"{simpys / ours:10.2f}, wanted {TIMES_SIMPY:g} (its callbacks: {callbacks / ours:.2f})"
    show(f"{MESSAGES:,} messages between {RECEIVERS} receivers, 1 to 5 ms each", rows)
    assert tasks / ours >= TIMES_TASKS_MIN
    assert simpys / ours >= TIMES_SIMPY_MIN
