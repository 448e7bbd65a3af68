"""The Trio runtime: members as real Trio tasks in virtual time. The reference.

Layer: simulator (runtimes). Start at `run`; `loop` is virtual time itself.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar, cast, final

import trio

from pivot.actors.member import Member
from pivot.actors.tasks import run_member
from pivot.core.collection import Change
from pivot.engine.base import StoreImage
from pivot.errors import StorageError
from simulator.runtimes import loop
from simulator.runtimes.base import MAX_EVENTS, Runtime
from simulator.world.drive import Drive
from simulator.world.heap import AT_ONE_INSTANT_MAX, EventHeap

T = TypeVar("T")


def run(
    begin: Callable[[Runtime], T], *, seed: int, max_events: int = MAX_EVENTS, at_once_max: int = AT_ONE_INSTANT_MAX
) -> T:
    """Let events happen, from 0 on, until `Runtime.finish` is called; returns what `begin` returned.

    Args:
        begin: schedules the first events; is given the runtime.
        seed: orders tasks that become runnable at the same moment.
        max_events: limit of events and deadlines together.
        at_once_max: limit of events at one instant.

    Raises:
        SimulationError: see `loop.run`.
        Exception: what an event raised, or a member that crashed for good.
    """

    async def main(heap: EventHeap) -> T:
        async with trio.open_nursery() as nursery:
            runtime = _TrioRuntime(heap, nursery)
            begun = begin(runtime)
            await runtime.finished.wait()
            nursery.cancel_scope.cancel("the world has ended")
        return begun

    try:
        return loop.run(main, seed=seed, max_events=max_events, at_once_max=at_once_max)
    except ExceptionGroup as group:
        raise _sole(group) from group


def _sole(group: ExceptionGroup[Exception]) -> Exception:
    """What went wrong, out of the groups around it, if it is one thing."""
    first, *more = group.exceptions
    if more:
        return group
    return _sole(cast("ExceptionGroup[Exception]", first)) if isinstance(first, ExceptionGroup) else first


@final
class _TrioRuntime:
    """See `Runtime`."""

    def __init__(self, heap: EventHeap, nursery: trio.Nursery) -> None:
        self.heap = heap
        self.finished = trio.Event()
        self._nursery = nursery

    def start(self, member: Member, drive: Drive) -> "_Process":
        """See `Runtime.start`."""
        process = _Process(member)
        self._nursery.start_soon(process.run, drive)
        return process

    def finish(self) -> None:
        """See `Runtime.finish`."""
        self.finished.set()


@final
class _Process:
    """See `Process`."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._scope = trio.CancelScope()

    async def run(self, drive: Drive) -> None:
        with self._scope:
            await run_member(self._member, SimulatedEngine(drive))

    def kill(self) -> None:
        """See `Process.kill`."""
        self._scope.cancel("the process was killed")
        self._member.close()


@final
class SimulatedEngine:
    """A `StorageEngine` on a drive."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive

    @property
    def durability(self) -> str:
        """See `StorageEngine.durability`."""
        return self._drive.durability

    async def open(self) -> StoreImage:
        """See `StorageEngine.open`."""
        return self._drive.open()

    async def commit(self, changes: Sequence[Change]) -> None:
        """See `StorageEngine.commit`."""
        ends: list[str | None] = []
        wake: Callable[[], None] | None = None

        def committed(failure: str | None) -> None:
            ends.append(failure)
            if wake is not None:
                wake()

        self._drive.commit(changes, committed)
        if not ends:
            wake = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(_abort)
        (failure,) = ends
        if failure is not None:
            raise StorageError(failure)

    async def aclose(self) -> None:
        """Nothing is held."""


def _abort(_: object) -> trio.lowlevel.Abort:
    """A killed process hears of no commit any more."""
    return trio.lowlevel.Abort.SUCCEEDED
