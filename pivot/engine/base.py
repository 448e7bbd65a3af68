"""Engine: keeps what storage decided, so that a member can be started again.

Layer: engine (interface). Contract, held by one suite for all engines (tests/contracts):

- `commit` keeps all changes of one call, in their order, or none of them; when it returns they are as durable as
  `durability` says.
- `open` gives back everything that was committed, rows in ascending `seq`.
- Every `open` begins another life of the store; see `pivot.core.lineage`.
- Nothing is called concurrently with `commit`.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from pivot.core.collection import Change
from pivot.core.lineage import NO_LINEAGE, Lineage
from pivot.types import Epoch, StoreId


class StoreImage(msgspec.Struct, frozen=True):
    """A store as it was kept.

    Attributes:
        store: its id.
        epoch: its life, which begins now.
        changes: what rebuilds it, rows in ascending `seq`; may be read once only.
        seq: greatest number of a row that was dropped; no row gets a smaller one.
        lineage: its earlier lives.
    """

    store: StoreId
    epoch: Epoch
    changes: Iterable[Change]
    seq: int = 0
    lineage: Lineage = NO_LINEAGE


class StorageEngine(Protocol):
    """Keeps one store."""

    @property
    def durability(self) -> str:
        """What a committed change survives, for people: `memory`, `normal`, `full`."""
        ...

    async def open(self) -> StoreImage:
        """Load the store, or begin one.

        Raises:
            StorageError: it cannot be read; nothing was changed.
        """
        ...

    async def commit(self, changes: Sequence[Change]) -> None:
        """Keep all changes or none.

        Raises:
            StorageError: none of them is kept; why, in one line.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the store."""
        ...
