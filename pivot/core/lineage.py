"""Lineage: the earlier lives of a store, and how much of each is in this one.

Layer: core (pure). Theory of operation:

A disk may take back the end of what it kept: a power cut after commits that were not waited for, an fsync that lied, an
older file that was copied back. What is left is always the beginning of what was there, but the store cannot see that
something is missing, and gives numbers again that its followers have seen on other rows. So every opening begins a new
life (epoch), and the store remembers for each earlier one the greatest number it held when the next began:

    life    its numbers up to        are those of this life
    e1      80                       yes: nothing after 80 was there when e2 began, whatever followers have seen
    e2      120                      yes
    e3      all                      it is this one
    others  0                        they were lost with the end, or belong to another store

A follower that names an earlier life is told that number (`Reset.kept`). What was confirmed to it up to there is; what
was confirmed above may be gone here, and it offers that again. If it never read the feed when that went beyond `kept`,
it reads on from its cursor; else from the start, for a key that changed in what is gone is back where the follower may
have passed already, unread.
Nothing that a follower claims changes anything here. (Kafka does the same with its leader epochs.)

Not noticed: a machine whose memory goes back together with its disk, since no store is opened then.
Start at `Lineage.kept`.
"""

from typing import Final, final

import msgspec

from pivot.types import Epoch

LIVES_MAX: Final = 1000
"""Most earlier lives that are remembered; who comes from one before those starts at 0 and offers everything."""


@final
class Life(msgspec.Struct, frozen=True, gc=False):
    """An earlier life of a store.

    Attributes:
        epoch: which one.
        seq: greatest number that the store held when the next life began.
    """

    epoch: Epoch
    seq: int


@final
class Lineage(msgspec.Struct, frozen=True):
    """The earlier lives of a store, oldest first."""

    lives: tuple[Life, ...] = ()

    def kept(self, epoch: Epoch) -> int:
        """Up to which number that life is the beginning of this one; 0 when nothing is known of it."""
        return next((life.seq for life in self.lives if life.epoch == epoch), 0)

    def after(self, epoch: Epoch, seq: int) -> "Lineage":
        """The lineage of the life that follows `epoch`, in which `seq` was the greatest number."""
        return Lineage((*self.lives, Life(epoch, seq))[-LIVES_MAX:])


NO_LINEAGE: Final = Lineage()
"""Of a store that has just begun."""
