"""Contents: what the commits of one store amount to.

Layer: simulator/world. Start at `Contents.apply`.
"""

from collections.abc import Iterable
from typing import assert_never, final

from pivot.core.collection import (
    Change,
    ClearAcks,
    DropFollower,
    DropRow,
    Place,
    PutRow,
    Retention,
    Row,
    SetFollower,
    SetPlace,
    SetRetention,
)
from pivot.core.entry import Entry
from pivot.core.lineage import NO_LINEAGE
from pivot.engine.base import StoreImage
from pivot.types import Epoch, StoreId


@final
class Contents:
    """Rows and store meta, as they are after some commits.

    Attributes:
        rows: key -> (collection, row).
        places: collection -> where the store is in its upstream's feed.
        epoch: life of the store.
        lineage: its earlier lives.
    """

    def __init__(self, epoch: Epoch) -> None:
        self.epoch = epoch
        self.lineage = NO_LINEAGE
        self.rows: dict[str, tuple[str, Row]] = {}
        self.places: dict[str, Place] = {}
        self._retentions: dict[str, SetRetention] = {}
        self._followers: dict[tuple[str, StoreId], SetFollower] = {}
        self._seq = 0

    def copy(self) -> "Contents":
        """The same contents, which do not change with these."""
        copy = Contents(self.epoch)
        copy.lineage = self.lineage
        copy.rows, copy.places = dict(self.rows), dict(self.places)
        copy._retentions, copy._followers, copy._seq = dict(self._retentions), dict(self._followers), self._seq
        return copy

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply the changes of one commit."""
        for change in changes:
            self._apply(change)

    def _apply(self, change: Change) -> None:
        match change:
            case PutRow():
                self.rows[change.row.entry.key] = (change.collection, change.row)
            case DropRow():
                self.rows.pop(change.key, None)
                self._seq = max(self._seq, change.seq)
            case SetPlace():
                self.places[change.collection] = change.place
            case ClearAcks():
                for key, (collection, row) in self.rows.items():
                    if collection == change.collection and row.acked is not None and row.acked > change.kept:
                        self.rows[key] = (collection, Row(row.entry, row.seq))
            case SetRetention():
                self._retentions[change.collection] = change
            case SetFollower():
                self._followers[change.collection, change.follower.store] = change
            case DropFollower():
                self._followers.pop((change.collection, change.store), None)
            case _:
                assert_never(change)

    def begin_life(self, epoch: Epoch) -> None:
        """Begin another life of the store."""
        seq = max((row.seq for _, row in self.rows.values()), default=0)
        self.lineage = self.lineage.after(self.epoch, max(seq, self._seq))
        self.epoch = epoch

    def retention(self, collection: str) -> Retention:
        """What became of the tombstones of a collection."""
        change = self._retentions.get(collection)
        return Retention() if change is None else change.retention

    def table(self) -> dict[str, Entry]:
        """Key -> version, tombstones included."""
        return {key: row.entry for key, (_, row) in self.rows.items()}

    def image(self, store: StoreId) -> StoreImage:
        """What an engine gives to its member, rows in ascending `seq`."""
        rows = [PutRow(collection, row) for collection, row in self.rows.values()]
        rows.sort(key=lambda change: change.row.seq)
        places = [SetPlace(collection, place) for collection, place in self.places.items()]
        changes: tuple[Change, ...] = (*rows, *places, *self._retentions.values(), *self._followers.values())
        return StoreImage(store, self.epoch, changes, self._seq, self.lineage)
