"""Filters: what a program lets clients do with which keys, and what it changes on the way.

Layer: server. They judge clients (REST, WebSocket) and, at the leader of a collection, what nodes push; never what
comes from our own leader, and never the program's own verbs. They are plain functions, called one after another in the
order in which they were given, and refuse by raising `RejectedError`.

    filter         is given                      gives back                      opens, in static mode
    open           the key or glob               nothing; may refuse             all
    write          key (or list), value          the value to write              writing
    delete         key or glob                   nothing; may refuse             deleting
    read_object    key, its item                 the item to show                reading
    read_list      glob, its items               the items to show               reading
    after_write    key, in a task of its own     nothing                         nothing
    limit          see `limits`                                                  all

A request for a glob is judged by the filters whose path covers it. One that reaches only in part into what a filter
guards is refused: it would be a way around it. Start at `Filters.write`.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, final

import msgspec

from pivot.core.entry import Entry
from pivot.core.messages import RowRefused
from pivot.errors import RejectedError
from pivot.paths import check_pattern, matches, overlap
from pivot.replies import Item
from pivot.server.limits import Limit, Order
from pivot.server.storage import KeyHook, call
from pivot.types import JsonValue
from pivot.values import decoded, encoded

Operation: TypeAlias = Literal["read", "write", "delete"]
Check: TypeAlias = Callable[[str], object]
Write: TypeAlias = Callable[[str, JsonValue], object]
ReadObject: TypeAlias = Callable[[str, Item[JsonValue]], Item[JsonValue]]
ReadList: TypeAlias = Callable[[str, list[Item[JsonValue]]], list[Item[JsonValue]]]
logger = logging.getLogger("pivot.filters")
_ALL: tuple[Operation, ...] = ("read", "write", "delete")


class FilterInfo(msgspec.Struct, frozen=True):
    """A filter as people see it: the keys that it is for, and what it is."""

    path: str
    kind: str


@final
class Filters:
    """All filters of one server.

    Attributes:
        static: whether only what a filter opens is served.
        limits: lists that are kept short.
        after_writes: called with every key that was written.
    """

    def __init__(self) -> None:
        self.static = False
        self.limits: list[Limit] = []
        self.after_writes: list[KeyHook] = []
        self._known: list[FilterInfo] = []
        self._opened: list[tuple[str, tuple[Operation, ...]]] = []
        self._open: list[tuple[str, Check]] = []
        self._write: list[tuple[str, Write]] = []
        self._delete: list[tuple[str, Check]] = []
        self._read_object: list[tuple[str, ReadObject]] = []
        self._read_list: list[tuple[str, ReadList]] = []

    # Giving ------------------------------------------------------------------------------------------------------

    def open(self, path: str, check: Check = lambda _: None) -> None:
        """Serve a key or glob in static mode, too; `check` may refuse whoever wants anything of it."""
        self._know(path, "open", _ALL)
        self._open.append((path, check))

    def write(self, path: str, change: Write) -> None:
        """Judge each value that is written; what `change` returns is kept. Of a patch it is given the merged value."""
        self._know(path, "write", ("write",))
        self._write.append((path, change))

    def delete(self, path: str, check: Check) -> None:
        """Judge each deletion."""
        self._know(path, "delete", ("delete",))
        self._delete.append((path, check))

    def read_object(self, path: str, show: ReadObject) -> None:
        """Change what is shown of a single key."""
        self._know(path, "read_object", ("read",))
        self._read_object.append((path, show))

    def read_list(self, path: str, show: ReadList) -> None:
        """Change what is shown of a glob."""
        self._know(path, "read_list", ("read",))
        self._read_list.append((path, show))

    def after_write(self, path: str, hook: KeyHook) -> None:
        """Call `hook` with each key that was written, by whomever, in a task of its own; it may be awaited."""
        self._know(path, "after_write", ())

        async def told(key: str) -> None:
            if matches(path, key):
                await call(hook, key)

        self.after_writes.append(told)

    def limit(
        self,
        path: str,
        *,
        count: int | Callable[[], int] | None = None,
        age_s: float | Callable[[], float] | None = None,
        order: Order = "newest",
        every_s: float = 10.0,
    ) -> None:
        """Keep a list short: nobody is shown more, and its leader deletes the rest; see `limits`.

        Args:
            path: a glob.
            count: most entries, or what says so at that moment; the newest stay.
            age_s: longest that an entry stays, s, since it was created, or what says so.
            order: which entries are shown first.
            every_s: how often the leader looks; it does after writes, too.

        Raises:
            ConfigError: a number cannot be, or there is neither `count` nor `age_s`.
        """
        limit = Limit(path, count, age_s, order, every_s)
        self._know(path, "limit", _ALL)
        self.limits.append(limit)

    def known(self) -> tuple[FilterInfo, ...]:
        """All filters, in the order in which they were given."""
        return tuple(self._known)

    def _know(self, path: str, kind: str, opens: tuple[Operation, ...]) -> None:
        self._known.append(FilterInfo(check_pattern(path), kind))
        self._opened.append((path, opens))

    # Judging -----------------------------------------------------------------------------------------------------

    def check(self, operation: Operation, pattern: str) -> None:
        """Refuse what is not served, or not to this one.

        Raises:
            RejectedError: why.
        """
        if self.static and not any(matches(path, pattern) and operation in ops for path, ops in self._opened):
            raise RejectedError(f"{operation} of {pattern!r} is not served here")
        for path, operations in self._opened:
            if operation in operations and overlap(path, pattern) and not matches(path, pattern):
                raise RejectedError(f"{pattern!r} reaches into what filters of {path!r} guard; ask for that")
        for path, check in self._open:
            if matches(path, pattern):
                check(pattern)

    def written(self, key: str, data: str) -> str:
        """What is to be kept of a value that a client writes.

        Raises:
            RejectedError: nothing.
        """
        self.check("write", key)
        for path, change in self._write:
            if matches(path, key):
                data = encoded(change(key, decoded(key, data, None)))
        return data

    def judges_writes(self, key: str) -> bool:
        """Whether a filter wants to see what is written under a key."""
        return any(matches(path, key) for path, _ in self._write)

    def deleted(self, pattern: str) -> None:
        """Judge a deletion.

        Raises:
            RejectedError: it is refused.
        """
        self.check("delete", pattern)
        for path, check in self._delete:
            if matches(path, pattern):
                check(pattern)

    def pushed(self, entries: Iterable[Entry]) -> tuple[RowRefused, ...]:
        """As the leader: which of a node's versions are not wanted. What a filter would change stays as it is."""
        refused: list[RowRefused] = []
        for entry in entries:
            try:
                if entry.deleted:
                    for path, check in self._delete:
                        if matches(path, entry.key):
                            check(entry.key)
                else:
                    for path, change in self._write:
                        if matches(path, entry.key):
                            change(entry.key, decoded(entry.key, entry.data, None))
            except RejectedError as error:
                refused.append(RowRefused(entry.key, str(error)))
            except Exception as error:
                logger.exception("a filter of %s failed", entry.key)
                refused.append(RowRefused(entry.key, f"a filter failed: {error!r}", final=False))
        return tuple(refused)

    # Showing -----------------------------------------------------------------------------------------------------

    def shows_all(self, pattern: str) -> bool:
        """Whether a key or glob is shown as it is kept."""
        paths = [*(path for path, _ in (*self._read_object, *self._read_list)), *(limit.path for limit in self.limits)]
        return not any(matches(path, pattern) for path in paths)

    def shown(self, key: str, item: Item[JsonValue]) -> Item[JsonValue]:
        """What is shown of an entry, asked for by its key."""
        for path, show in self._read_object:
            if matches(path, key):
                item = show(key, item)
        return item

    def shown_list(self, pattern: str, items: list[Item[JsonValue]], wall_ns: int) -> list[Item[JsonValue]]:
        """What is shown of a glob; `items` are the newest first."""
        for limit in self.limits:
            if matches(limit.path, pattern):
                items = limit.shown(items, wall_ns)
        for path, show in self._read_list:
            if matches(path, pattern):
                items = show(pattern, items)
        return items
