"""Drives: a simulated process's way to its disk. A commit takes virtual time and ends as an event.

Layer: simulator/world. Start at `DiskDrive.commit`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeAlias, final

from pivot.core.collection import Change
from pivot.engine.base import StoreImage
from pivot.types import Epoch, StoreId
from simulator.world.disk import Disk
from simulator.world.heap import EventHeap
from simulator.world.pulse import Pulse

COMMIT_NS: Final = 1_000_000
"""How long a commit takes: 1 ms, a good disk."""
OnCommitted: TypeAlias = Callable[[str | None], None]
"""Hears how a commit went: None = it holds, else why it does not."""


class Drive(Protocol):
    """Keeps one store; what `pivot.engine.base.StorageEngine` is to a real member."""

    @property
    def durability(self) -> str:
        """See `StorageEngine.durability`."""
        ...

    def open(self) -> StoreImage:
        """Load the store, or begin one."""
        ...

    def commit(self, changes: Sequence[Change], on_committed: OnCommitted) -> None:
        """Keep all changes or none; `on_committed` is called once, perhaps at once, if the process lives."""
        ...


@final
class MemoryDrive:
    """No disk: every start is a new store, and commits are done at once."""

    def __init__(self, *, store: StoreId, epoch: Epoch) -> None:
        self._image = StoreImage(store, epoch, ())

    @property
    def durability(self) -> str:
        """See `StorageEngine.durability`."""
        return "memory"

    def open(self) -> StoreImage:
        """See `Drive.open`."""
        return self._image

    def commit(self, changes: Sequence[Change], on_committed: OnCommitted) -> None:
        """See `Drive.commit`."""
        on_committed(None)


@final
class DiskDrive:
    """A process's way to a disk; commits go on as long as the process lives."""

    def __init__(
        self, disk: Disk, heap: EventHeap, *, pulse: Pulse | None = None, new_id: Callable[[], str] = lambda: "another"
    ) -> None:
        """Connect a process with a disk.

        Args:
            disk: where commits are kept.
            heap: virtual time.
            pulse: of the process; None = it is never stopped.
            new_id: draws the epoch of another life.
        """
        self._disk = disk
        self._heap = heap
        self._pulse = Pulse(heap) if pulse is None else pulse
        self._new_id = new_id

    @property
    def durability(self) -> str:
        """See `StorageEngine.durability`."""
        return self._disk.durability

    def open(self) -> StoreImage:
        """See `Drive.open`."""
        self._disk.check()
        self._disk.begin_life(Epoch(self._new_id()))
        return self._disk.image()

    def commit(self, changes: Sequence[Change], on_committed: OnCommitted) -> None:
        """See `Drive.commit`."""
        disk = self._disk
        disk.under_way = tuple(changes)
        slow_ns = round(disk.trouble.slow_s * 1e9)
        disk.statistics.slowed += slow_ns > 0
        self._heap.post_at(self._heap.now_ns + COMMIT_NS + slow_ns, partial(self._end, on_committed))

    def _end(self, on_committed: OnCommitted) -> None:
        if self._pulse.ended:
            return  # what became of the commit was decided when the process died: `Disk.crash`
        disk = self._disk
        refusal = disk.refusal()
        changes, disk.under_way = disk.under_way, ()
        if not refusal:
            disk.keep(changes)
            disk.unheard = changes
        # A stopped process does not hear of it yet; what is on the disk is there.
        self._pulse.deliver(partial(self._hear, on_committed, refusal or None))

    def _hear(self, on_committed: OnCommitted, refusal: str | None) -> None:
        self._disk.unheard = ()
        on_committed(refusal)

    @staticmethod
    def ends_commit(call: Callable[[], None]) -> bool:
        """Whether a scheduled call is the end of a commit."""
        return isinstance(call, partial) and getattr(call.func, "__func__", None) is DiskDrive._end
