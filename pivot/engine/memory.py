"""MemoryEngine: keeps nothing; the store's life ends with its process.

Layer: engine. The rows live in the behaviour's collections alone, so every start is a new store with a new epoch.
"""

from collections.abc import Sequence
from typing import final

from pivot.core.collection import Change
from pivot.engine.base import StoreImage
from pivot.types import Epoch, StoreId


@final
class MemoryEngine:
    """A store without a disk."""

    def __init__(self, *, store: StoreId, epoch: Epoch) -> None:
        """Begin a store.

        Args:
            store: its id, never used before.
            epoch: its life, never used before.
        """
        self._image = StoreImage(store, epoch, ())

    @property
    def durability(self) -> str:
        """`memory`: survives nothing here; see `StorageEngine.durability`."""
        return "memory"

    async def open(self) -> StoreImage:
        """An empty store."""
        return self._image

    async def commit(self, changes: Sequence[Change]) -> None:
        """Nothing needs to be kept; never fails and never waits."""

    async def aclose(self) -> None:
        """Nothing is held."""
