"""The Trio runtime: real Trio tasks in virtual time, the same in every run.

Layer: simulator (runtimes). Start at `run`, then `VirtualClock.deadline_to_sleep_time`.

Trio asks its clock how long to sleep only when no task can run. That question is the whole runtime: instead of
sleeping, the clock runs the next event of the heap and says "not at all". So one event wakes (at most) one task, which
runs to its next wait before the next event happens. Deadlines of Trio itself (`trio.sleep`, `trio.fail_after`) are
merged in by time, rounded to ns; at equal times the heap goes first.

What Trio does not promise, and we use, is named in `simulator.runtimes.seams`.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Final, TypeVar, final

import trio

from simulator.errors import (
    NestedRunError,
    OutOfTimeError,
    SimulationDeadlockError,
    SimulationError,
    TooManyEventsError,
)
from simulator.runtimes import seams
from simulator.runtimes.base import MAX_EVENTS
from simulator.world.heap import AT_ONE_INSTANT_MAX, EventHeap

T = TypeVar("T")

TURNS_AT_ONE_INSTANT_MAX: Final = 1_000_000
"""Turns of Trio's loop in which some task could always run, so that time stood still."""
_EVENTS_PER_QUESTION: Final = 256
"""After so many events that woke nobody, Trio gets to look for Ctrl-C."""
_STEPS_WHILE_STOPPING_MAX: Final = 100_000
"""How much may still happen while tasks clean up after the run was stopped."""
_SHIELDS_LIFTED_MAX: Final = 3


@final
class VirtualClock(trio.abc.Clock):
    """Time as Trio sees it; `run` makes one.

    Attributes:
        heap: all that is scheduled.
        scope: what is cancelled when the run must end.
        main_task: the task inside it.
        failure: why the run was stopped, if it was.
        finished: whether `main` has returned or raised.
    """

    def __init__(self, heap: EventHeap, *, until_ns: int | None, max_events: int) -> None:
        self.heap = heap
        self.scope = trio.CancelScope()
        self.main_task: trio.lowlevel.Task | None = None
        self.finished = False
        self.failure: Exception | None = None
        self._runner: seams.Runner
        self._asked = False  # Trio's loop is inside `deadline_to_sleep_time`
        self._due_s = -inf  # the deadline that the loop may fire on its next turn
        self._reached_s = 0.0  # the last deadline that was let pass: up to half a ns after `heap.now_ns`
        self._until_ns = inf if until_ns is None else until_ns
        self._deadlines = 0
        self._steps_max = max_events
        self._turns = 0
        self._turns_max = TURNS_AT_ONE_INSTANT_MAX
        self._shields_lifted = 0

    def start_clock(self) -> None:
        """Trio's loop starts."""
        self._runner = seams.runner()

    def current_time(self) -> float:
        """Virtual time in seconds; the loop itself hears which deadlines may pass."""
        if self._asked or trio.lowlevel.in_trio_task():
            return max(self.heap.now_ns / 1e9, self._reached_s)
        # Trio's loop asks, once a turn, to fire what is due. Deadlines of this very instant must wait for the events of
        # this instant, so it hears of the one that was chosen, or else a time just before now.
        self._turns += 1
        if self._turns > self._turns_max:
            self._stop_turning()
        due_s = self._due_s
        if due_s == -inf:
            return (self.heap.now_ns - 0.5) / 1e9
        self._due_s = -inf
        return due_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """No task can run: make the next thing happen."""
        if self.finished and deadline == inf:
            return 0.0  # what is left is Trio's own end, which waits for a socket of its own
        runner = self._runner
        if runner.waiting_for_idle:
            return inf  # somebody waits for exactly this moment (`wait_all_tasks_blocked`); Trio wakes it
        runq = runner.runq
        self._turns = 0
        self._asked = True
        for _ in range(_EVENTS_PER_QUESTION):
            if self._step(deadline) or runq:
                break
            deadline = runner.deadlines.next_deadline()  # an event may have moved it
        self._asked = False
        return 0.0

    def _step(self, deadline: float) -> bool:
        """Run one event, or let one deadline pass; True when Trio has to look before the next."""
        heap = self.heap
        if deadline == inf and self._until_ns == inf and heap.executed + self._deadlines < self._steps_max and heap:
            return self._run_next()
        next_ns = heap.next_time_ns()
        is_deadline = False
        if deadline != inf:
            deadline_ns = max(round(max(deadline, 0.0) * 1e9), heap.now_ns)
            if next_ns is None or deadline_ns < next_ns:
                next_ns, is_deadline = deadline_ns, True
        steps = heap.executed + self._deadlines
        if next_ns is None or next_ns > self._until_ns or steps >= self._steps_max:
            self._stop_stepping(next_ns)
            return True
        if is_deadline:
            heap.advance_to(next_ns)
            self._deadlines += 1
            self._due_s = deadline
            self._reached_s = max(self._reached_s, deadline)
            return True
        return self._run_next()

    def _run_next(self) -> bool:
        """Run the next event, which there is."""
        try:
            self.heap.run_next()
        except Exception as error:  # noqa: BLE001 - `run` raises it again; here it would be an error of Trio's
            self._stop(error)
        return False

    def _stop_stepping(self, next_ns: int | None) -> None:
        time_ns = self.heap.now_ns
        if self.failure is not None:
            self._stop_harder()
        elif next_ns is None:
            self._stop(SimulationDeadlockError(time_ns=time_ns, waiting=seams.waiting_tasks(self.main_task)))
        elif next_ns > self._until_ns:
            self._stop(OutOfTimeError(next_ns=next_ns, until_ns=round(self._until_ns)))
        else:
            self._stop(TooManyEventsError("events and deadlines", limit=round(self._steps_max), time_ns=time_ns))

    def _stop_turning(self) -> None:
        if self.failure is not None:
            self._stop_harder()
        else:
            self._stop(TooManyEventsError("turns at one instant", limit=self._turns_max, time_ns=self.heap.now_ns))

    def _stop(self, failure: Exception) -> None:
        """End the run: its scope is cancelled, and `run` raises the first failure. Tasks get some time to clean up."""
        if self.failure is not None:
            self.failure.add_note(f"while tasks cleaned up: {failure!r}")
            return
        self.failure = failure
        self._grant_cleanup()
        self.scope.cancel("the simulated run was stopped")

    def _stop_harder(self) -> None:
        """Lift all shields of tasks that were cancelled and do not end; when that was in vain, leave Trio by force."""
        self._shields_lifted += 1
        if self._shields_lifted > _SHIELDS_LIFTED_MAX:
            in_vain = f"cancelled, and shields lifted {_SHIELDS_LIFTED_MAX} times, in vain"
            raise SimulationError(f"tasks do not end: {in_vain}")
        self._grant_cleanup()
        seams.lift_shields(self.main_task)

    def _grant_cleanup(self) -> None:
        self._until_ns = inf
        self._steps_max = self.heap.executed + self._deadlines + _STEPS_WHILE_STOPPING_MAX
        self._turns, self._turns_max = 0, _STEPS_WHILE_STOPPING_MAX


def run(
    main: Callable[[EventHeap], Awaitable[T]],
    *,
    seed: int,
    until_s: float | None = None,
    max_events: int = MAX_EVENTS,
    at_once_max: int = AT_ONE_INSTANT_MAX,
) -> T:
    """Run `main(heap)` on Trio in virtual time, starting at 0, and return what it returns.

    Works wherever no Trio runs, also in a notebook cell. Runs in several threads wait for each other, for they share
    what `seams.deterministic` sets.

    Args:
        main: what to simulate. It must not use threads, real I/O or another clock.
        seed: orders tasks that become runnable at the same moment.
        until_s: limit of virtual time; things at exactly this time still happen.
        max_events: limit of events and deadlines together.
        at_once_max: limit of events at one instant.

    Raises:
        SimulationDeadlockError: everybody waits and nothing is scheduled.
        OutOfTimeError: the next thing would happen after `until_s`.
        TooManyEventsError: more than `max_events`, or time stands still.
        NestedRunError: Trio is running in this thread already.
        TrioMovedError: this version of Trio lacks a seam.
        Exception: what `main` raised, or an event of the heap.
    """
    if trio.lowlevel.in_trio_run():
        raise NestedRunError
    until_ns = None if until_s is None else round(until_s * 1e9)
    clock = VirtualClock(EventHeap(at_once_max=at_once_max), until_ns=until_ns, max_events=max_events)
    results: list[T] = []

    async def stoppable() -> None:
        clock.main_task = trio.lowlevel.current_task()
        try:
            with clock.scope:
                results.append(await main(clock.heap))
        finally:
            clock.finished = True

    with seams.deterministic(seed):
        try:
            trio.run(stoppable, clock=clock)
        except Exception as error:
            if clock.failure is None:
                raise
            raise clock.failure from error
        if clock.failure is not None:
            raise clock.failure
        return results[0]


async def sleep_until(time_ns: int) -> None:
    """Wait, inside `run`, until virtual time `time_ns`, after the events scheduled for it so far.

    Unlike `trio.sleep` this is an event of the heap, with a place in the sequence; a past time counts as now.
    """
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, VirtualClock):
        raise SimulationError(f"sleep_until needs virtual time, the clock is {type(clock).__name__}")
    timer = clock.heap.call_at(time_ns, partial(trio.lowlevel.reschedule, trio.lowlevel.current_task()))

    def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
        timer.cancel()
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.wait_task_rescheduled(abort)
