"""Digest: a fingerprint of many entries, kept up to date entry by entry.

Layer: core (pure). Keys fall into 256 buckets by a hash of the key; a bucket is the sum, mod 2^128, of hashes of
(key, V) of its live entries. Sums do not depend on order, so replicas that hold the same have the same digest, and a
difference is narrowed down to buckets. Start at `BucketSums.add`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, final

from pivot.core.entry import Entry

BUCKETS: Final = 256
NO_DIGEST: Final = ""
"""Says nothing, and is equal to no digest."""
_SUM_BYTES: Final = 16
_MASK: Final = 2 ** (8 * _SUM_BYTES) - 1


def bucket_of(key: str) -> int:
    """The bucket that a key falls into, 0 to 255."""
    return hashlib.blake2b(key.encode(), digest_size=1).digest()[0]


def _hash(entry: Entry) -> int:
    text = f"{entry.key},{entry.stamp},{entry.created},{entry.data}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())


@final
class BucketSums:
    """Fingerprint of a set of live entries."""

    __slots__ = ("_sums", "_text")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._sums = bytearray(BUCKETS * _SUM_BYTES)
        self._text = NO_DIGEST
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Take an entry in."""
        self._add(entry.key, _hash(entry))

    def remove(self, entry: Entry) -> None:
        """Take out an entry that was taken in."""
        self._add(entry.key, -_hash(entry))

    def sums(self) -> tuple[str, ...]:
        """The 256 sums, 32 hex digits each."""
        text = self._sums.hex()
        return tuple(text[start : start + 2 * _SUM_BYTES] for start in range(0, len(text), 2 * _SUM_BYTES))

    def text(self) -> str:
        """32 hex digits that stand for all sums."""
        if not self._text:
            self._text = hashlib.blake2b(self._sums, digest_size=16).hexdigest()
        return self._text

    def _add(self, key: str, value: int) -> None:
        place = slice(start := bucket_of(key) * _SUM_BYTES, start + _SUM_BYTES)
        self._sums[place] = ((int.from_bytes(self._sums[place]) + value) & _MASK).to_bytes(_SUM_BYTES)
        self._text = NO_DIGEST


def differing(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """Buckets whose sums are not equal, ascending."""
    return [bucket for bucket, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
