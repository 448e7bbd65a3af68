"""SeqIndex: keys in the order of their sequence numbers, each key once. The feed and the outbox are two of these.

Layer: core (pure). Appending and removing cost O(1) amortised, finding a place O(log n): numbers are only ever appended
at the end, a removed one leaves a hole, and holes are swept when they outnumber what is left.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import final


@final
class SeqIndex:
    """An index from sequence number to key, read in order from any place."""

    __slots__ = ("_keys", "_order")

    def __init__(self) -> None:
        self._order: list[int] = []  # ascending; may name numbers that were removed since
        self._keys: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, seq: int) -> bool:
        return seq in self._keys

    def append(self, seq: int, key: str) -> None:
        """Add a number greater than every one that was ever added."""
        assert not self._order or seq > self._order[-1], (seq, self._order[-1])
        self._order.append(seq)
        self._keys[seq] = key

    def discard(self, seq: int) -> None:
        """Remove a number if it is there."""
        if self._keys.pop(seq, None) is not None and len(self._order) > 2 * len(self._keys) + 64:
            self._order = [seq for seq in self._order if seq in self._keys]

    def after(self, since: int) -> Iterator[tuple[int, str]]:
        """Yield (number, key) with number > `since`, ascending; do not change the index meanwhile."""
        order, keys = self._order, self._keys
        for place in range(bisect_right(order, since), len(order)):
            seq = order[place]
            key = keys.get(seq)
            if key is not None:
                yield seq, key
