"""Objects: an entry as the original writes it, `{"created", "updated", "index", "path", "data"}`.

Layer: transport. What a peer wrote is judged here before it changes anything: a number twice in one object, a field in
other letters, NaN, a stamp that cannot be. Start at `entry_of`.
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from pivot.core.clock import STAMP_MAX
from pivot.core.entry import Entry, canonical, check_entry
from pivot.errors import BadEntryError, BadValueError
from pivot.paths import last_segment
from pivot.types import StoreId

OBJECT_BYTES: Final = 4096
"""Room for what an object has beside its value."""
ORIGIN: Final = "2.0:"
"""How the `origin` of entries begins whose writer says no store."""
Stamp: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=STAMP_MAX)]


class Object(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry as the original writes it; it leaves `path` out, or empty, where the URL says it."""

    created: Stamp
    updated: Stamp
    index: str
    data: msgspec.Raw
    path: str = ""


def entry_of(body: bytes, *, key: str, writer: str) -> Entry:
    """The version of `key` that a peer wrote.

    Args:
        body: the object, JSON.
        key: where it belongs; its index, and its path if it has one, must agree.
        writer: how the peer calls itself; may be empty.

    Raises:
        BadValueError: it is no such object, or its data are not JSON that we can keep.
        BadEntryError: it contradicts itself, or is of another key.
        BadKeyError: the key is none.
    """
    text = canonical(body)
    try:
        wrote = msgspec.json.decode(text, type=Object)
    except msgspec.DecodeError as error:
        raise BadValueError(f"is no entry: {error}") from None
    if wrote.index != last_segment(key):
        raise BadEntryError(key, f"its index is {wrote.index[:80]!r}, the URL says {last_segment(key)!r}")
    if wrote.path not in ("", key):
        raise BadEntryError(key, f"its path is {wrote.path[:80]!r}")
    data = bytes(wrote.data).decode()
    origin = StoreId(ORIGIN + writer)
    return check_entry(Entry(key, wrote.created, wrote.updated, data, deleted=False, prev=None, origin=origin))


def tombstone_of(key: str, stamp: int, *, writer: str) -> Entry:
    """The version of `key` that a peer made when it deleted it at `stamp` (ns).

    Raises:
        BadEntryError: there is no such time.
        BadKeyError: the key is none.
    """
    origin = StoreId(ORIGIN + writer)
    return check_entry(Entry(key, stamp, 0, "", deleted=True, prev=None, origin=origin))


def base_of(path: str) -> str:
    """How the original calls a collection in URLs: `things/*` is `things`."""
    while path.endswith("/*"):
        path = path[:-2]
    return path
