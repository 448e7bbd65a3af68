"""Losses: what ended with the only stores that knew it, and which versions members wrote again on their own.

Layer: simulator/experiment. Both are legal, and both would look like a bug to a checker that does not know of them.

- A crash that takes memory or unsynced commits, and a wipe, take versions that no other store has. What is left of the
  key elsewhere must still survive; what lies between that and the lost version is *gone*.
- A member writes a version again under another stamp when its clock was ahead, or after a re-sync (`Reissued`). Then
  the later stamp, which may be the smaller number, stands for the earlier one.
- A member that is not the author drops a version that is ahead of every clock (`Withdrawn`). The author writes it
  again; when its store is lost, too, nobody does, and what was written that far ahead is *gone*.

Start at `Losses.covers`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

from pivot.core.collection import Change, PutRow
from pivot.core.entry import Entry

Version: TypeAlias = tuple[int, bool, int, str]
"""What the order compares; see `Entry.version`."""
NOTHING: Final[Version] = (0, False, 0, "")
"""Less than every version."""


@final
@dataclass(slots=True)
class Losses:
    """Everything that a checker has to forgive in one run.

    Attributes:
        reissues: key -> (stamp before, stamp after) of versions that were written again.
        appeared: (key, stamp) of versions that a crash left on a disk before anybody was told.
    """

    reissues: dict[str, list[tuple[int, int]]] = field(default_factory=dict[str, list[tuple[int, int]]])
    appeared: dict[tuple[str, int], None] = field(default_factory=dict[tuple[str, int], None])
    _gone: dict[str, list[tuple[Version, Version]]] = field(default_factory=dict[str, list[tuple[Version, Version]]])

    def note_loss(self, before: Mapping[str, Entry], left: Iterable[Mapping[str, Entry]]) -> int:
        """A store knew `before`; these tables are what is left anywhere. Returns how many versions are gone."""
        tables = tuple(left)
        count = 0
        for key, entry in before.items():
            versions = [table[key] for table in tables if key in table]
            if any(other.version >= entry.version for other in versions):
                continue
            least = max((other.version for other in versions), default=NOTHING)
            self._gone.setdefault(key, []).append((least, entry.version))
            count += 1
        return count

    def note_withdrawal(self, key: str, stamp: int, *, limit: int) -> None:
        """A member dropped a version; if that was ahead of every clock (`limit`), it has left it to its author.

        The author's store may be lost, and then so is what was written ahead of every clock, up to there.
        """
        if stamp > limit:
            self._gone.setdefault(key, []).append((_greatest(limit), _greatest(stamp)))

    def note_appearance(self, before: Mapping[str, Entry], changes: Iterable[Change]) -> None:
        """A crash left these changes on a disk though nobody was told; the member knew `before`."""
        for change in changes:
            if isinstance(change, PutRow):
                entry = change.row.entry
                self.appeared[entry.key, entry.stamp] = None
                old = before.get(entry.key)
                if old is not None and old.stamp != entry.stamp:
                    self.note_reissue(entry.key, old.stamp, entry.stamp)

    def note_reissue(self, key: str, before: int, after: int) -> None:
        """A member wrote a version again."""
        self.reissues.setdefault(key, []).append((before, after))

    def gone(self, key: str, stamp: int) -> bool:
        """Whether a version, under this or a later stamp, ended with the only stores that knew it."""
        if any(least[0] < stamp <= most[0] for least, most in self._gone.get(key, ())):
            return True
        return any(before >= stamp > after and self.gone(key, after) for before, after in self.reissues.get(key, ()))

    def gone_version(self, key: str, version: Version) -> bool:
        """As `gone`, of just this one of versions with equal stamps."""
        if any(least < version <= most for least, most in self._gone.get(key, ())):
            return True
        stamp = version[0]
        return any(before >= stamp > after and self.gone(key, after) for before, after in self.reissues.get(key, ()))

    def covers(self, key: str, there: int, written: int) -> bool:
        """Whether what is there (its stamp) is what was written, or came after it."""
        if there >= written:
            return True
        return any(
            before >= written > after and self.covers(key, there, after)
            for before, after in self.reissues.get(key, ())
        )  # fmt: skip

    def names(self, key: str, there: int) -> tuple[int, ...]:
        """Stamps under which the version that is there was ever written."""
        names = [there]
        for name in names:
            names += [before for before, after in self.reissues.get(key, ()) if after == name and before not in names]
        return tuple(names)


def _greatest(stamp: int) -> Version:
    """No version with this stamp is greater."""
    return (stamp, True, 2**63, "\U0010ffff")


NO_LOSSES = Losses()
"""Nothing to forgive."""
