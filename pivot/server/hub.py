"""Hub: wakes those who watch keys when a version of them is committed.

Layer: server. A wake-up is not data: whoever is woken reads the current state, so a slow watcher misses intermediate
versions and never the last one, and nothing queues up for it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import final

import trio

from pivot.core.entry import Entry
from pivot.paths import is_glob, matches


@final
class Watch:
    """One watcher's alarm."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wake the watcher; rings add up to one until it wakes."""
        self._rung.set()

    async def wait(self) -> None:
        """Sleep until rung since the last call returned."""
        await self._rung.wait()
        self._rung = trio.Event()


@final
class Hub:
    """Patterns and who watches them.

    Attributes:
        closed: whether the server stops; watchers are woken a last time then.
    """

    def __init__(self) -> None:
        self.closed = False
        self._keys: dict[str, dict[Watch, None]] = {}
        self._globs: dict[str, dict[Watch, None]] = {}

    def publish(self, entries: tuple[Entry, ...]) -> None:
        """Wake everybody who watches one of these."""
        for entry in entries:
            for watch in self._keys.get(entry.key, ()):
                watch.ring()
            for pattern, watches in self._globs.items():
                if matches(pattern, entry.key):
                    for watch in watches:
                        watch.ring()

    def close(self) -> None:
        """Wake everybody and let them end."""
        self.closed = True
        for watches in (*self._keys.values(), *self._globs.values()):
            for watch in watches:
                watch.ring()

    @contextmanager
    def watching(self, pattern: str) -> Generator[Watch, None, None]:
        """Watch a key or glob; register before reading, and no change after the read is missed."""
        table = self._globs if is_glob(pattern) else self._keys
        watch = Watch()
        table.setdefault(pattern, {})[watch] = None
        try:
            yield watch
        finally:
            del table[pattern][watch]
            if not table[pattern]:
                del table[pattern]
