"""The kernel: members stepped by the heap itself, without Trio: the same run, several times faster.

Layer: simulator (runtimes, Trio-free). Start at `run`, then `_Task.work`.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, final

from pivot.actors.actor import Actor
from pivot.actors.member import Member
from simulator.errors import SimulationDeadlockError, TooManyEventsError
from simulator.runtimes.base import MAX_EVENTS, Runtime
from simulator.runtimes.collector import collector_off
from simulator.world.drive import Drive
from simulator.world.heap import AT_ONE_INSTANT_MAX, EventHeap

T = TypeVar("T")


def run(begin: Callable[[Runtime], T], *, max_events: int = MAX_EVENTS, at_once_max: int = AT_ONE_INSTANT_MAX) -> T:
    """Let events happen, from 0 on, until `Runtime.finish` is called; returns what `begin` returned.

    Args:
        begin: schedules the first events; is given the runtime.
        max_events: limit of events.
        at_once_max: limit of events at one instant.

    Raises:
        SimulationDeadlockError: nothing is scheduled.
        TooManyEventsError: more than `max_events`, or time stands still.
        Exception: what an event raised, or a member that crashed for good.
    """
    kernel = _Kernel(EventHeap(at_once_max=at_once_max))
    with collector_off():
        begun = begin(kernel)
        kernel.run(max_events)
    return begun


@final
class _Kernel:
    """See `Runtime`."""

    def __init__(self, heap: EventHeap) -> None:
        self.heap = heap
        self._woken: Callable[[], None] | None = None
        self._finished = False

    def run(self, max_events: int) -> None:
        run_next = self.heap.run_next
        while not self._finished:
            if self.heap.executed >= max_events:
                raise TooManyEventsError("events", limit=max_events, time_ns=self.heap.now_ns)
            if not run_next():
                raise SimulationDeadlockError(time_ns=self.heap.now_ns, waiting=())
            while self._woken is not None:  # who works may commit to a drive that is done at once
                work, self._woken = self._woken, None
                work()

    def wake(self, work: Callable[[], None]) -> None:
        """Let somebody work after this event."""
        assert self._woken is None, "one event wakes one actor"
        self._woken = work

    def start(self, member: Member, drive: Drive) -> "_Process":
        """See `Runtime.start`."""
        self.wake(partial(self._open, member, drive))
        return _Process(member)

    def finish(self) -> None:
        """See `Runtime.finish`."""
        self._finished = True

    def _open(self, member: Member, drive: Drive) -> None:
        for actor in member.open(drive.open()):
            _Task(actor, member, drive, self.wake).work()


@final
class _Process:
    """See `Process`."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def kill(self) -> None:
        """See `Process.kill`."""
        self._member.close()


@final
class _Task:
    """One actor: waits for its mailbox or for a commit, or works."""

    __slots__ = ("_actor", "_arrived", "_committed", "_drive", "_failure", "_member")

    def __init__(self, actor: Actor, member: Member, drive: Drive, wake: Callable[[Callable[[], None]], None]) -> None:
        self._actor = actor
        self._member = member
        self._drive = drive
        self._failure: str | None = None
        self._arrived = partial(wake, self.work)

        def committed(failure: str | None) -> None:
            self._failure = failure
            wake(self._go_on)

        self._committed = committed

    def work(self) -> None:
        """Work batch after batch until there is nothing to do but wait."""
        actor = self._actor
        mailbox = actor.mailbox
        while mailbox.waiting:
            try:
                changes = actor.begin()
                if changes:
                    self._drive.commit(changes, self._committed)
                    return
                actor.finish()
            except Exception as error:  # noqa: BLE001 - any bug of a behaviour is a crash, which the supervisor judges
                self._member.restart(actor, error)
        mailbox.wake = self._arrived

    def _go_on(self) -> None:
        """The commit has ended."""
        try:
            self._actor.finish(self._failure)
        except Exception as error:  # noqa: BLE001 - as above
            self._member.restart(self._actor, error)
        self.work()
