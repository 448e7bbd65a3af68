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
_MASK: Final = 2**128 - 1


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
        self._sums = [0] * BUCKETS
        self._text = NO_DIGEST
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Take an entry in."""
        bucket = bucket_of(entry.key)
        self._sums[bucket] = (self._sums[bucket] + _hash(entry)) & _MASK
        self._text = NO_DIGEST

    def remove(self, entry: Entry) -> None:
        """Take out an entry that was taken in."""
        bucket = bucket_of(entry.key)
        self._sums[bucket] = (self._sums[bucket] - _hash(entry)) & _MASK
        self._text = NO_DIGEST

    def sums(self) -> tuple[str, ...]:
        """The 256 sums, 32 hex digits each."""
        return tuple(format(value, "032x") for value in self._sums)

    def text(self) -> str:
        """32 hex digits that stand for all sums."""
        if not self._text:
            packed = b"".join(value.to_bytes(16) for value in self._sums)
            self._text = hashlib.blake2b(packed, digest_size=16).hexdigest()
        return self._text


def differing(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """Buckets whose sums are not equal, ascending."""
    return [bucket for bucket, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
