"""Entry: one version of one key, and the total order by which versions are merged.

Layer: core (pure). Theory of operation:

The order compares `V(e) = (stamp, deleted, created, data)` lexicographically; merging keeps the greater. `V` determines
everything users see, so two versions with equal `V` are interchangeable and the order is total. The maximum of a total
order is associative, commutative and idempotent; a map of such registers is a join semilattice, and local writes only
go up in it. Hence replicas that received the same writes in any order, any number of times, are equal.

Start at `join`. `canonical` is the one function that decides when two JSON values are the same.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn

import msgspec

from pivot.core.clock import STAMP_MAX
from pivot.errors import BadEntryError, BadValueError
from pivot.paths import check_key
from pivot.types import StoreId

DEPTH_MAX: Final = 64
"""Deepest nesting of arrays and objects in a value."""
_SHORT: Final = 256
"""Characters of a value that is worth remembering."""

_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]', re.DOTALL)


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """One version of one key, as it travels between members.

    Attributes:
        key: path without globs.
        created: when this life of the key began, ns since the Unix epoch.
        updated: when this version was written, ns; 0 until the first update, else greater than `created`.
        data: canonical JSON text; empty for a tombstone.
        deleted: whether this version is a tombstone.
        prev: stamp of the version its writer overwrote; 0 = there was none, None = not known.
        origin: store that wrote it; no part of equality.
    """

    key: str
    created: int
    updated: int
    data: str
    deleted: bool
    prev: int | None
    origin: StoreId

    @property
    def stamp(self) -> int:
        """When this version was written, ns since the Unix epoch."""
        return max(self.created, self.updated)

    @property
    def version(self) -> tuple[int, bool, int, str]:
        """`V`: what the order compares and what users see."""
        return (max(self.created, self.updated), self.deleted, self.created, self.data)


def supersedes(entry: Entry, other: Entry) -> bool:
    """Whether `entry` is greater than `other` in the one order."""
    return entry.version > other.version


def join(one: Entry, other: Entry) -> Entry:
    """The greater of two versions of one key; of equal ones the first."""
    return other if supersedes(other, one) else one


def overwrote_unseen(winner: Entry, loser: Entry) -> bool:
    """Whether `winner`'s writer had not seen `loser`: a lost update (a chain of overwrites may hide one)."""
    return winner.prev is not None and winner.prev < loser.stamp and winner.version != loser.version


def fingerprint(entry: Entry) -> str:
    """32 hex digits that stand for `V(entry)`: equal for equal versions, else different for all practical purposes."""
    text = f"{entry.stamp},{entry.deleted:d},{entry.created},{entry.data}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def check_entry(entry: Entry) -> Entry:
    """Return `entry` when a peer may have written it.

    Raises:
        BadKeyError: its key is none.
        BadEntryError: its stamps, its tombstone or its data contradict each other or are out of range.
        BadValueError: its data are not JSON.
    """
    check_key(entry.key)
    if not 0 < entry.created <= STAMP_MAX:
        raise BadEntryError(entry.key, f"created is {entry.created}, allowed is 1 to {STAMP_MAX}")
    if entry.updated and not entry.created < entry.updated <= STAMP_MAX:
        raise BadEntryError(
            entry.key, f"updated is {entry.updated}, allowed is 0 or {entry.created + 1} to {STAMP_MAX}"
        )
    if entry.prev is not None and not 0 <= entry.prev <= STAMP_MAX:
        raise BadEntryError(entry.key, f"prev is {entry.prev}, allowed is 0 to {STAMP_MAX}")
    if entry.deleted:
        if entry.data:
            raise BadEntryError(entry.key, "is a tombstone that has data")
    elif not _is_canonical(entry.data):
        raise BadEntryError(entry.key, "data is not in canonical form (sorted keys, no spaces)")
    return entry


def canonical(text: str | bytes) -> str:
    """The canonical form of a JSON text: sorted keys, no spaces, integers verbatim, floats shortest round-trip.

    Raises:
        BadValueError: it is not JSON (RFC 8259, UTF-8), has a duplicate key, a number that is none (NaN, overflow), a
            lone surrogate, or nests deeper than `DEPTH_MAX`.
    """
    _check_depth(text)
    try:
        if isinstance(text, bytes):
            text = text.decode()
        result = _encoder.encode(_decoder.decode(text))
        result.encode()
    except BadValueError:
        raise
    except UnicodeDecodeError as error:
        raise BadValueError(f"is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from None
    except UnicodeEncodeError as error:
        raise BadValueError(f"has a lone surrogate at character {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadValueError(f"is not JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError) as error:
        raise BadValueError(f"is not a value we can keep: {error}") from None
    return result


def _is_canonical(text: str) -> bool:
    """Whether a text is the canonical form of a value; short ones pass by many times, and are judged once."""
    return _judged_canonical(text) if len(text) <= _SHORT else canonical(text) == text


@lru_cache(maxsize=1024)
def _judged_canonical(text: str) -> bool:
    return canonical(text) == text


def _check_depth(text: str | bytes) -> None:
    """Refuse deep nesting before the parser recurses; only texts with many brackets pay for the count."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        mark = text[token.start()]
        if mark in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise BadValueError(f"nests deeper than {DEPTH_MAX} levels")
        elif mark in "]}":
            depth -= 1


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise BadValueError(f"has the key {twice!r} twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise BadValueError(f"has the number {name}, which JSON does not know")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
_encoder: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
