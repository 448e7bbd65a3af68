"""AfterWrites: tells hooks of what was written, in a task of its own, so that no write waits for them.

Layer: server. What waits is bounded, and every key waits once: a hook that is slow hears of a key that was written ten
times meanwhile once, and of some not at all when more than `KEYS_MAX` wait; how many is counted. A hook that raises is
named in the log, and the next key is told all the same. Start at `AfterWrites.written`.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn, final

import trio

from pivot.core.entry import Entry
from pivot.server.storage import KeyHook, call

KEYS_MAX: Final = 10_000
"""Most keys that wait."""
logger = logging.getLogger("pivot.hooks")


@final
class AfterWrites:
    """The keys that hooks have not been told of.

    Attributes:
        missed: how many were not told, because too many waited.
    """

    def __init__(self, hooks: Sequence[KeyHook]) -> None:
        """Begin with nothing.

        Args:
            hooks: called with each key; there may be more later.
        """
        self.missed = 0
        self._hooks = hooks
        self._keys: dict[str, None] = {}
        self._woken = trio.Event()

    def written(self, entries: Iterable[Entry]) -> None:
        """Take committed versions; tells nobody yet."""
        for entry in entries if self._hooks else ():
            if len(self._keys) >= KEYS_MAX and entry.key not in self._keys:
                self.missed += 1
                continue
            self._keys[entry.key] = None
            self._woken.set()

    async def run(self) -> NoReturn:
        """Tell the hooks, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            while self._keys:
                key = next(iter(self._keys))
                del self._keys[key]
                for hook in tuple(self._hooks):
                    try:
                        await call(hook, key)
                    except Exception:
                        logger.exception("a hook after the write of %s failed", key)
                await trio.lowlevel.checkpoint()
