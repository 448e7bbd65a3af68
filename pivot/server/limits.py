"""Limits: lists that are kept short, by number, by age, or both.

Layer: server. Everybody shows no more than the limit allows at that moment. What is above it is deleted by the leader
of the list and nobody else, after writes and now and then, and those deletions replicate like any other: a node that
deleted by its own clock could delete what others still want. Start at `Janitor.run`.
"""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Final, Literal, NoReturn, TypeAlias, final

import msgspec
import trio

from pivot.actors.wallclock import WallClock
from pivot.core.entry import Entry
from pivot.errors import ConfigError, PivotError
from pivot.paths import check_pattern, is_glob, matches, overlap
from pivot.replies import Item
from pivot.server.stores import Stores
from pivot.types import JsonValue

Order: TypeAlias = Literal["newest", "oldest"]
PAUSE_S: Final = 0.2
"""Shortest time between two looks, however much is written."""
logger = logging.getLogger("pivot.filters")


class Limit(msgspec.Struct, frozen=True):
    """One list that is kept short; see `Filters.limit`."""

    path: str
    count: int | Callable[[], int] | None
    age_s: float | Callable[[], float] | None
    order: Order
    every_s: float

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: names the path.
        """
        if not is_glob(check_pattern(self.path)):
            raise ConfigError(f"limit of {self.path!r}: only a list such as logs/* can be limited")
        if self.count is None and self.age_s is None:
            raise ConfigError(f"limit of {self.path!r} says neither count nor age_s")
        if isinstance(self.count, int) and self.count < 0:
            raise ConfigError(f"limit of {self.path!r} has count {self.count}, it must be at least 0")
        for name, value in (("age_s", self.age_s), ("every_s", self.every_s)):
            if isinstance(value, int | float) and not 0 < value < math.inf:
                raise ConfigError(f"limit of {self.path!r} has {name} {value}, it must be greater than 0 and finite")

    def kept(self, created: Iterable[int], wall_ns: int) -> int:
        """How many of the entries, created at these times, newest first, are within the limit."""
        times = list(created)
        count = self.count() if callable(self.count) else self.count
        age_s = self.age_s() if callable(self.age_s) else self.age_s
        left = len(times) if count is None else min(len(times), max(0, count))
        if age_s is not None:
            oldest = wall_ns - round(age_s * 1e9)
            left = next((place for place, time in enumerate(times[:left]) if time < oldest), left)
        return left

    def shown(self, items: list[Item[JsonValue]], wall_ns: int) -> list[Item[JsonValue]]:
        """What is shown of a list, given the newest first."""
        kept = items[: self.kept((item.created for item in items), wall_ns)]
        return kept if self.order == "newest" else kept[::-1]


@final
class Janitor:
    """Deletes what is above the limits of the lists that we lead."""

    def __init__(self, stores: Stores, limits: list[Limit], wall: WallClock) -> None:
        """Begin.

        Args:
            stores: what is kept.
            limits: of the server; there may be more later.
            wall: says how old an entry is.
        """
        self._stores = stores
        self._limits = limits
        self._wall = wall
        self._woken = trio.Event()

    def written(self, entries: Iterable[Entry]) -> None:
        """Look soon, if a limited list has grown."""
        if self._limits and any(matches(limit.path, entry.key) for entry in entries for limit in self._limits):
            self._woken.set()

    async def run(self) -> NoReturn:
        """Look and delete, until cancelled."""
        while True:
            for limit in tuple(self._limits):
                if self._leads(limit.path):
                    await self._clean(limit)
            await trio.sleep(PAUSE_S)
            with trio.move_on_after(min((limit.every_s for limit in self._limits), default=10.0)):
                await self._woken.wait()
            self._woken = trio.Event()

    def _leads(self, path: str) -> bool:
        return not any(url for ours, url in self._stores.config.upstreams().items() if overlap(ours, path))

    async def _clean(self, limit: Limit) -> None:
        try:
            entries = await self._stores.entries(limit.path)
            for entry in entries[limit.kept((entry.created for entry in entries), self._wall()) :]:
                await self._stores.remove(entry.key)
        except PivotError:
            return  # the store does not take it now; we look again
        except Exception:
            logger.exception("the limit of %s failed", limit.path)  # a number that a program gives may fail
