"""Key paths and globs: which names exist, which match, which collide.

Layer: bottom. A *key* is a path such as `users/42`; a *pattern* may have `*` as a whole segment, which matches
exactly one segment. Start at `check_key` and `matches`.
"""

import re
from functools import lru_cache
from typing import Final

from pivot.errors import BadKeyError

KEY_BYTES_MAX: Final = 512
RESERVED: Final = "_pivot"
"""First segment that belongs to the cluster's own routes."""

_KEY = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)
_PATTERN = re.compile(r"(?:[A-Za-z0-9._-]+|\*)(?:/(?:[A-Za-z0-9._-]+|\*))*", re.ASCII)
_DOTS = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")


@lru_cache(maxsize=1024)
def check_key(key: str) -> str:
    """Return `key` when it names one entry.

    Raises:
        BadKeyError: it is empty, too long, has a character or an empty segment that keys may not have.
    """
    return _check(key, _KEY, "a-z A-Z 0-9 . _ - and / between non-empty segments")


def check_pattern(pattern: str) -> str:
    """Return `pattern` when it is a key or a glob.

    Raises:
        BadKeyError: as `check_key`; or a `*` is not a whole segment.
    """
    return _check(pattern, _PATTERN, "a-z A-Z 0-9 . _ - and / between non-empty segments, * only as a whole segment")


def check_list(pattern: str) -> str:
    """Return `pattern` when new entries can be pushed to it: a glob whose only `*` is its last segment.

    Raises:
        BadKeyError: as `check_pattern`; or `*` stands elsewhere.
    """
    check_pattern(pattern)
    if not pattern.endswith("*") or is_glob(pattern[:-1]):
        raise BadKeyError(pattern, "is no list: a new entry needs a glob with * as its last segment and nowhere else")
    return pattern


def is_glob(pattern: str) -> bool:
    """Whether `pattern` may match more than one key."""
    return "*" in pattern


def matches(pattern: str, key: str) -> bool:
    """Whether `key` (without globs) is matched by `pattern`."""
    if "*" not in pattern:
        return pattern == key
    ours, theirs = pattern.split("/"), key.split("/")
    return len(ours) == len(theirs) and all(a in ("*", b) for a, b in zip(ours, theirs, strict=True))


def overlap(one: str, other: str) -> bool:
    """Whether some key is matched by both patterns."""
    a_segments, b_segments = one.split("/"), other.split("/")
    return len(a_segments) == len(b_segments) and all(
        a == b or "*" in (a, b) for a, b in zip(a_segments, b_segments, strict=True)
    )


def last_segment(key: str) -> str:
    """The `index` of a key: what stands after its last separator."""
    return key.rsplit("/", 1)[-1]


def _check(text: str, grammar: re.Pattern[str], rule: str) -> str:
    if len(text) > KEY_BYTES_MAX:
        raise BadKeyError(text[:40] + "...", f"has {len(text)} characters, at most {KEY_BYTES_MAX} are allowed")
    if not grammar.fullmatch(text):
        raise BadKeyError(text, f"may only have {rule}")
    if _DOTS.search(text):
        raise BadKeyError(text, "has a segment . or .. which web clients rewrite")
    if text.split("/", 1)[0] == RESERVED:
        raise BadKeyError(text, f"starts with {RESERVED}, which belongs to the cluster's own routes")
    return text
