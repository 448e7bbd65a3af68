"""Desk: what clients may do with what a server keeps: the verbs of `Stores`, judged by filters.

Layer: server. REST and subscriptions come here; the program's own verbs go to the stores. Start at `Desk.put`.
"""

import logging
from collections.abc import Iterable
from typing import final

import msgspec

from pivot.actors.wallclock import WallClock
from pivot.core.entry import Entry
from pivot.core.patching import patched
from pivot.core.questions import Written
from pivot.errors import RejectedError
from pivot.paths import is_glob
from pivot.replies import Item
from pivot.server.filters import Filters
from pivot.server.items import ABSENT, item
from pivot.server.shown import Show
from pivot.server.stores import Stores
from pivot.types import JsonValue
from pivot.values import decoded

logger = logging.getLogger("pivot.filters")


@final
class Desk:
    """Serves clients.

    Attributes:
        stores: what is kept.
        filters: what judges.
    """

    def __init__(self, stores: Stores, filters: Filters, wall: WallClock) -> None:
        """Begin.

        Args:
            stores: what is kept.
            filters: what judges; there may be more later.
            wall: says how old an entry is.
        """
        self.stores = stores
        self.filters = filters
        self._wall = wall

    async def read(self, pattern: str) -> bytes | None:
        """JSON of what is shown of a key (None: there is nothing) or a glob.

        Raises:
            RejectedError: a filter refuses.
            PivotError: see `Stores.read`.
        """
        self.filters.check("read", pattern)
        found = await self.stores.read(pattern)
        if not found and not is_glob(pattern):
            return None
        return self.shown(pattern, found)

    def shown(self, pattern: str, entries: Iterable[Entry]) -> bytes:
        """JSON of what is shown of these entries, newest first; of a key, of the only one.

        Raises:
            RejectedError: a filter refuses.
        """
        filters = self.filters
        if filters.shows_all(pattern):
            items = [item(entry) for entry in entries]
            return msgspec.json.encode(items if is_glob(pattern) else items[0])
        plain = [_plain(entry) for entry in entries]
        if is_glob(pattern):
            return msgspec.json.encode(filters.shown_list(pattern, plain, self._wall()))
        return msgspec.json.encode(filters.shown(pattern, plain[0]))

    async def put(self, key: str, data: str) -> Written:
        """As `Stores.put`, unless a filter refuses."""
        return await self.stores.put(key, self.filters.written(key, data))

    async def push(self, pattern: str, data: str) -> Written:
        """As `Stores.push`, unless a filter refuses; it is given the glob, since there is no key yet."""
        return await self.stores.push(pattern, self.filters.written(pattern, data))

    async def patch(self, key: str, data: str) -> Written:
        """As `Stores.patch`, unless a filter refuses what it makes of what is there now."""
        self.filters.check("write", key)
        found = await self.stores.entries(key) if self.filters.judges_writes(key) else ()
        if found:
            merged = patched(found[0].data, data)
            kept = self.filters.written(key, merged)
            if kept != merged:
                return await self.stores.put(key, kept)
        return await self.stores.patch(key, data)

    async def remove(self, pattern: str) -> Written:
        """As `Stores.remove`, unless a filter refuses."""
        self.filters.deleted(pattern)
        return await self.stores.remove(pattern)

    async def watched(self, pattern: str) -> tuple[Entry, ...]:
        """What a subscription begins with.

        Raises:
            RejectedError: a filter refuses.
            PivotError: see `Stores.read`.
        """
        self.filters.check("read", pattern)
        found = await self.stores.read(pattern)
        if found:
            self.shown(pattern, found)
        return found

    def show(self, pattern: str) -> Show | None:
        """What makes the state of a subscription, of its entries; None when that is all of them as they are.

        What a filter refuses, or fails at, while a subscription is open is shown as nothing.
        """
        if self.filters.shows_all(pattern):
            return None

        def shown(entries: list[Entry]) -> bytes:
            try:
                return self.shown(pattern, entries) if entries or is_glob(pattern) else ABSENT
            except Exception as error:
                if not isinstance(error, RejectedError):
                    logger.exception("a filter of %s failed", pattern)
                return b"[]" if is_glob(pattern) else ABSENT

        return shown


def _plain(entry: Entry) -> Item[JsonValue]:
    raw = item(entry)
    return Item(raw.created, raw.updated, raw.index, raw.path, decoded(entry.key, entry.data, None))
