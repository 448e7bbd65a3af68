"""Disk: what a simulated member keeps when it crashes, and the engine that keeps it there.

Layer: simulator/world. A commit takes virtual time and ends as an event of the heap; a crash before that keeps nothing
of it. A member without a disk begins a new store at every start.
"""

from collections.abc import Sequence
from typing import Final, final

from pivot.core.collection import Change, ClearAcks, PutRow, Row, SetCursor
from pivot.engine.base import StoreImage
from pivot.types import Epoch, StoreId
from simulator.loop import sleep_until
from simulator.world.heap import EventHeap

COMMIT_NS: Final = 1_000_000
"""How long a commit takes: 1 ms, a good disk."""


@final
class Disk:
    """A member's disk.

    Attributes:
        store: id of the store on it.
        epoch: its life.
        commits: how many were kept.
    """

    def __init__(self, *, store: StoreId, epoch: Epoch) -> None:
        self.store = store
        self.epoch = epoch
        self.commits = 0
        self._rows: dict[tuple[str, str], Row] = {}
        self._cursors: dict[str, SetCursor] = {}

    def keep(self, changes: Sequence[Change]) -> None:
        """Apply the changes of one commit."""
        self.commits += 1
        for change in changes:
            match change:
                case PutRow():
                    self._rows[change.collection, change.row.entry.key] = change.row
                case SetCursor():
                    self._cursors[change.collection] = change
                case ClearAcks():
                    for place, row in self._rows.items():
                        if place[0] == change.collection:
                            self._rows[place] = Row(row.entry, row.seq)

    def image(self) -> StoreImage:
        """What is kept, rows in ascending `seq`."""
        rows = [PutRow(collection, row) for (collection, _), row in self._rows.items()]
        rows.sort(key=lambda change: change.row.seq)
        return StoreImage(self.store, self.epoch, (*rows, *self._cursors.values()))

    def versions(self) -> dict[str, Row]:
        """Key -> row kept."""
        return {key: row for (_, key), row in self._rows.items()}


@final
class SimulatedEngine:
    """A `StorageEngine` on a simulated disk."""

    def __init__(self, disk: Disk, heap: EventHeap) -> None:
        self._disk = disk
        self._heap = heap

    @property
    def durability(self) -> str:
        """`full`: a commit survives a crash."""
        return "full"

    async def open(self) -> StoreImage:
        """See `StorageEngine.open`."""
        return self._disk.image()

    async def commit(self, changes: Sequence[Change]) -> None:
        """See `StorageEngine.commit`."""
        await sleep_until(self._heap.now_ns + COMMIT_NS)
        self._disk.keep(changes)

    async def aclose(self) -> None:
        """Nothing is held."""
