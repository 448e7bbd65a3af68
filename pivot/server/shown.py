"""ShownView: the state of a key or glob as filters show it, which need not be what is kept.

Layer: server (no Trio, no I/O). What a filter makes of a list can be anything, so its subscribers get a new state
instead of operations when that has changed; what it costs grows with the list. `view` is the one for everything else.
Start at `ShownView.update`.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeAlias, final

from pivot.core.entry import Entry

Show: TypeAlias = Callable[[list[Entry]], bytes]
"""JSON of what is shown of entries, the newest first."""


@final
class ShownView:
    """What all subscribers of a filtered key or glob hold."""

    def __init__(self, show: Show, entries: Iterable[Entry]) -> None:
        """Show these live entries.

        Args:
            show: makes a state of them.
            entries: in any order.
        """
        self._show = show
        self._entries = {entry.key: entry for entry in entries}
        self._state = self._made()

    @property
    def version(self) -> str:
        """32 hex digits that stand for the state."""
        return hashlib.blake2b(self._state, digest_size=16).hexdigest()

    def state(self) -> bytes:
        """The whole state as JSON."""
        return self._state

    def update(self, entries: Iterable[Entry]) -> bool:
        """Take committed versions, tombstones included; returns whether the state is another."""
        for entry in entries:
            if entry.deleted:
                self._entries.pop(entry.key, None)
            else:
                self._entries[entry.key] = entry
        before, self._state = self._state, self._made()
        return self._state != before

    def _made(self) -> bytes:
        return self._show(sorted(self._entries.values(), key=lambda entry: (-entry.created, entry.key)))
