"""Activities: what we say is the latest time of a collection, when a peer of the original asks.

Layer: transport. It is the greatest stamp that was ever kept, deletions included. The original reads a list only when
that is later than the latest it has itself, of any entry; so a node of it that has written something later than what
it lacks would never read that. For such a one we say a later time. Start at `Activities.of`.
"""

from typing import final


@final
class Activities:
    """The collections of one member."""

    def __init__(self) -> None:
        self._least: dict[str, int] = {}

    def of(self, path: str, newest: int) -> int:
        """What to say of a collection whose greatest stamp is `newest`, ns."""
        return max(newest, self._least.get(path, 0))

    def raise_above(self, path: str, theirs: int) -> None:
        """Say a later time than `theirs`, which a node told us, from now on."""
        self._least[path] = max(theirs + 1, self._least.get(path, 0))
