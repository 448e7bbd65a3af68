"""The Trio runtime: real Trio tasks in virtual time, the same in every run.

Layer: simulator (runtimes). Start at `run`, then `VirtualClock.deadline_to_sleep_time`.

Trio asks its clock how long to sleep only when no task can run. That question is the whole runtime: instead of
sleeping, the clock runs the next event of the heap and says "not at all". So one event wakes (at most) one task, which
runs to its next wait before the next event happens. Deadlines of Trio itself (`trio.sleep`, `trio.fail_after`) are
merged in by time, rounded to ns; at equal times the heap goes first.

What Trio does not promise, and we use, is named in `simulator.seams`.
"""

import gc
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from math import inf
from threading import Lock
from typing import Final, TypeVar, final

import trio

from simulator import seams
from simulator.errors import (
    NestedRunError,
    OutOfTimeError,
    SimulationDeadlockError,
    SimulationError,
    TooManyEventsError,
)
from simulator.world.heap import EventHeap

T = TypeVar("T")

MAX_EVENTS: Final = 50_000_000
"""Default limit of one run: minutes of real time, so only a runaway gets there."""
TURNS_AT_ONE_INSTANT_MAX: Final = 1_000_000
"""Turns of Trio's loop in which some task could always run, so that time stood still."""
_EVENTS_PER_QUESTION: Final = 256
"""After so many events that woke nobody, Trio gets to look for Ctrl-C."""
_STEPS_WHILE_STOPPING_MAX: Final = 100_000
"""How much may still happen while tasks clean up after the run was stopped."""
_SHIELDS_LIFTED_MAX: Final = 3

_one_at_a_time = Lock()


@final
class VirtualClock(trio.abc.Clock):
    """Time as Trio sees it; `run` makes one.

    Attributes:
        heap: all that is scheduled.
        scope: what is cancelled when the run must end.
        main_task: the task inside it.
        ended: whether it has.
        failure: why the run was stopped, if it was.
        finished: whether `main` has returned or raised.
    """

    def __init__(self, heap: EventHeap, *, until_ns: int | None, max_events: int) -> None:
        self.heap = heap
        self.failure: Exception | None = None
        self._runner: seams.Runner
        self._until_ns = until_ns
        self._max_events = max_events
        self.finished = False
        self.scope = trio.CancelScope()
        self.main_task: trio.lowlevel.Task | None = None
        self.ended = False
        self._asked = False  # Trio's loop is inside `deadline_to_sleep_time`
        self._reached_s = 0.0  # the last deadline that was let pass: up to half a ns after `heap.now_ns`
        self._due_s = -inf  # the deadline that the loop may fire on its next turn
        self._deadlines = 0
        self._turns = 0
        self._steps_left = _STEPS_WHILE_STOPPING_MAX
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
        self._count_turn()
        due_s, self._due_s = self._due_s, -inf
        return max(due_s, (self.heap.now_ns - 0.5) / 1e9)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """No task can run: make the next thing happen."""
        if self.ended and deadline == inf:
            return 0.0  # what is left is Trio's own end, which waits for a socket of its own
        self._turns = 0
        if self.finished:
            return inf  # Trio ends its run, and wakes itself through a real socket for that
        if self._runner.waiting_for_idle:
            return inf  # somebody waits for exactly this moment (`wait_all_tasks_blocked`); Trio wakes it
        self._asked = True
        try:
            for _ in range(_EVENTS_PER_QUESTION):
                if self._step(deadline) or self._runner.runq:
                    break
                deadline = self._runner.deadlines.next_deadline()  # an event may have moved it
        finally:
            self._asked = False
        return 0.0

    def _step(self, deadline: float) -> bool:
        """Run one event, or let one deadline pass; True when Trio has to look before the next."""
        heap = self.heap
        next_ns = event_ns = heap.next_time_ns()
        is_deadline = False
        if deadline != inf:
            deadline_ns = max(round(max(deadline, 0.0) * 1e9), heap.now_ns)
            if event_ns is None or deadline_ns < event_ns:
                next_ns, is_deadline = deadline_ns, True
        if not self._may_go_on(next_ns):
            return True
        if is_deadline and next_ns is not None:
            heap.advance_to(next_ns)
            self._deadlines += 1
            self._due_s = deadline
            self._reached_s = max(self._reached_s, deadline)
            return True
        try:
            heap.run_next()
        except Exception as error:  # noqa: BLE001 - `run` raises it again; here it would be an error of Trio's
            self._stop(error)
        return False

    def _may_go_on(self, next_ns: int | None) -> bool:
        """Check all limits before the next step; past one, the run is stopped."""
        heap = self.heap
        if self.failure is not None:
            self._steps_left -= 1
            if next_ns is None or self._steps_left <= 0:
                self._stop_harder()
                return False
        elif next_ns is None:
            self._stop(SimulationDeadlockError(time_ns=heap.now_ns, waiting=seams.waiting_tasks(self.main_task)))
            return False
        elif self._until_ns is not None and next_ns > self._until_ns:
            self._stop(OutOfTimeError(next_ns=next_ns, until_ns=self._until_ns))
            return False
        elif heap.executed + self._deadlines >= self._max_events:
            self._stop_at("events and deadlines", self._max_events)
            return False
        return True

    def _count_turn(self) -> None:
        self._turns += 1
        if self.failure is None and self._turns > TURNS_AT_ONE_INSTANT_MAX:
            self._turns = 0
            self._stop_at("turns at one instant", TURNS_AT_ONE_INSTANT_MAX)
        elif self.failure is not None and self._turns > _STEPS_WHILE_STOPPING_MAX:
            self._turns = 0
            self._stop_harder()

    def _stop_at(self, what: str, limit: int) -> None:
        self._stop(TooManyEventsError(what, limit=limit, time_ns=self.heap.now_ns))

    def _stop(self, failure: Exception) -> None:
        """End the run: its scope is cancelled, and `run` raises the first failure."""
        if self.failure is None:
            self.failure = failure
            self.scope.cancel("the simulated run was stopped")
        else:
            self.failure.add_note(f"while tasks cleaned up: {failure!r}")

    def _stop_harder(self) -> None:
        """Lift all shields of tasks that were cancelled and do not end; when that was in vain, leave Trio by force."""
        self._shields_lifted += 1
        self._steps_left = _STEPS_WHILE_STOPPING_MAX
        if self._shields_lifted > _SHIELDS_LIFTED_MAX:
            raise SimulationError(
                f"tasks do not end: cancelled, and shields lifted {_SHIELDS_LIFTED_MAX} times, in vain"
            )
        seams.lift_shields(self.main_task)


def run(
    main: Callable[[EventHeap], Awaitable[T]],
    *,
    seed: int,
    until_s: float | None = None,
    max_events: int = MAX_EVENTS,
) -> T:
    """Run `main(heap)` on Trio in virtual time, starting at 0, and return what it returns.

    Works wherever no Trio runs, also in a notebook cell. Runs in several threads wait for each other, for they share
    Trio's random generator and the garbage collector's switch; both, and Trio's scheduling mode, are restored.

    Args:
        main: what to simulate. It must not use threads, real I/O or another clock.
        seed: orders tasks that become runnable at the same moment.
        until_s: limit of virtual time; things at exactly this time still happen.
        max_events: limit of events and deadlines together.

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
    clock = VirtualClock(EventHeap(), until_ns=until_ns, max_events=max_events)
    results: list[T] = []

    async def stoppable() -> None:
        clock.main_task = trio.lowlevel.current_task()
        try:
            with clock.scope:
                results.append(await main(clock.heap))
        finally:
            clock.finished = True

    with _one_at_a_time, seams.deterministic(seed), _no_garbage_collection():
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


@contextmanager
def _no_garbage_collection() -> Generator[None, None, None]:
    """Finalizers run when reference counts say so, not whenever a collection happens to start."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
