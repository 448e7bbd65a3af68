"""View: what all subscribers of one key or glob hold, and the operations that bring it to the next state.

Layer: server (no Trio, no I/O). Theory of operation:

A list is shown newest `created` first, entries of one age by key, as `GET` does. The view keeps that order in a sorted
index, so what a change costs grows with the change and the logarithm of the list, never with the list: the place of the
entry before, its place after, and inside one entry what the jsonpatch library finds. No two lists are ever compared.

    before     after                     operations (RFC 6902)
    absent     here                      add at its place
    here       absent                    remove at its place
    here       here, `created` equal     inside the entry
    here       here, another `created`   remove, add

A *version* is the sum, mod 2^128, of hashes of everything shown: it depends on the state alone. So two equal versions
mean equal states, whichever member showed them and however often it was restarted in between; that is what makes it
safe to go on from one (`?v=`). Versions have no order.

Start at `View.update`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, final

import msgspec
from jsonpatch import make_patch
from sortedcontainers import SortedList

from pivot.core.entry import Entry
from pivot.paths import is_glob
from pivot.server.items import ABSENT, item

DIFF_BYTES_MAX: Final = 64 * 1024
DIFF_PARTS_MAX: Final = 200
"""Values that are longer, or have more members and elements (about 50 us each), are replaced, not compared."""
_MODULUS: Final = 2**128


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a JSON patch (RFC 6902); `source` is its `from`."""

    op: str
    path: str
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    source: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="from")


@final
class View:
    """The state of one key or glob.

    Attributes:
        pattern: the key or glob.
    """

    def __init__(self, pattern: str, entries: Iterable[Entry] = ()) -> None:
        """Show these live entries, which all match.

        Args:
            pattern: a key or a glob.
            entries: in any order.
        """
        self.pattern = pattern
        self._is_list = is_glob(pattern)
        self._entries = {entry.key: entry for entry in entries}
        self._order = SortedList(map(_place, self._entries.values()))
        self._sum = sum(map(_hash, self._entries.values())) % _MODULUS

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def version(self) -> str:
        """32 hex digits that stand for the state."""
        return format(self._sum, "032x")

    def state(self) -> bytes:
        """The whole state as JSON: a list of items, or an item, or what stands for none."""
        if self._is_list:
            return msgspec.json.encode([item(self._entries[key]) for _, key in self._order])
        return next((msgspec.json.encode(item(entry)) for entry in self._entries.values()), ABSENT)

    def update(self, entries: Iterable[Entry]) -> list[Operation]:
        """Take committed versions, tombstones included; returns what brings the state before to the state after."""
        operations: list[Operation] = []
        for entry in entries:
            before, after = self._entries.get(entry.key), None if entry.deleted else entry
            if before is None and after is None:
                continue
            if self._is_list:
                operations += self._in_list(before, after)
            else:
                operations += _alone(before, after)
                self._put(before, after)
        return operations

    def _in_list(self, before: Entry | None, after: Entry | None) -> Iterator[Operation]:
        if before is not None and after is not None and before.created == after.created:
            place = f"/{self._order.index(_place(before))}"
            self._put(before, after)
            yield from _inside(place, before, after)
            return
        if before is not None:
            place = f"/{self._order.index(_place(before))}"
            self._put(before, None)
            yield Operation("remove", place)
        if after is not None:
            self._put(None, after)
            yield Operation("add", f"/{self._order.index(_place(after))}", _raw(msgspec.json.encode(item(after))))

    def _put(self, before: Entry | None, after: Entry | None) -> None:
        """Keep `after` instead of `before`."""
        if before is not None:
            self._sum -= _hash(before)
            self._order.remove(_place(before))
            del self._entries[before.key]
        if after is not None:
            self._sum += _hash(after)
            self._order.add(_place(after))
            self._entries[after.key] = after
        self._sum %= _MODULUS


def _place(entry: Entry) -> tuple[int, str]:
    return (-entry.created, entry.key)


def _hash(entry: Entry) -> int:
    """Of all that users see of an entry."""
    text = f"{entry.key},{entry.created},{entry.updated},{entry.data}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())


def _alone(before: Entry | None, after: Entry | None) -> Iterator[Operation]:
    """From one state of a single key to the next; an absent one has the members of `ABSENT`."""
    if before is not None and after is not None:
        yield from _inside("", before, after)
        return
    shown = msgspec.json.decode(
        ABSENT if after is None else msgspec.json.encode(item(after)), type=dict[str, msgspec.Raw]
    )
    for name, value in shown.items():
        if name != "path":
            yield Operation("replace", f"/{name}", value)
    yield Operation("remove", "/path") if after is None else Operation("add", "/path", shown["path"])


def _inside(place: str, before: Entry, after: Entry) -> Iterator[Operation]:
    """From one version of an entry to another, of the same key."""
    for name, old, new in (("created", before.created, after.created), ("updated", before.updated, after.updated)):
        if old != new:
            yield Operation("replace", f"{place}/{name}", _raw(b"%d" % new))
    if before.data == after.data:
        return
    place += "/data"
    whole = Operation("replace", place, _raw(after.data.encode()))
    if not (_is_small(before.data) and _is_small(after.data)):
        yield whole
        return
    found: list[dict[str, Any]] = make_patch(json.loads(before.data), json.loads(after.data)).patch
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) >= len(after.data) + len('[{"op":"replace","path":"","value":}]'):
        yield whole
        return
    for step in msgspec.json.decode(text, type=list[Operation]):
        source = step.source if step.source is msgspec.UNSET else place + step.source
        yield Operation(step.op, place + step.path, step.value, source)


def _is_small(data: str) -> bool:
    return len(data) <= DIFF_BYTES_MAX and data.count(",") < DIFF_PARTS_MAX


def _raw(text: bytes) -> msgspec.Raw:
    return msgspec.Raw(text)
