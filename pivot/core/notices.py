"""Notices: what people get to know.

Layer: core (pure). Start at `Notice`.
"""

from typing import TypeAlias

import msgspec

from pivot.core.entry import Entry
from pivot.types import Address, Epoch


class PeerUp(msgspec.Struct, frozen=True, gc=False, tag="peer_up"):
    """A peer answers and both sides exchange."""

    peer: Address
    role: str


class PeerDown(msgspec.Struct, frozen=True, gc=False, tag="peer_down"):
    """A peer that was up is not, and why we think so."""

    peer: Address
    role: str
    reason: str


class PeerRefused(msgspec.Struct, frozen=True, gc=False, tag="peer_refused"):
    """One side will not replicate with the other, and why."""

    peer: Address
    reason: str


class ReadingFrom(msgspec.Struct, frozen=True, gc=False, tag="reading_from"):
    """Our leader is away, and we read from these nodes instead; none = no more."""

    leader: Address
    peers: tuple[Address, ...]


class CaughtUp(msgspec.Struct, frozen=True, gc=False, tag="caught_up"):
    """We have everything of this collection that our leader has; said once per connection."""

    collection: str


class EpochReset(msgspec.Struct, frozen=True, gc=False, tag="reset"):
    """Our leader began a new life: we read and offer again what it may lack of the one before."""

    collection: str
    before: Epoch
    after: Epoch


class Conflict(msgspec.Struct, frozen=True, gc=False, tag="conflict"):
    """Of two versions whose writers had not seen each other one was superseded: a lost update."""

    winner: Entry
    loser: Entry


class Rejected(msgspec.Struct, frozen=True, gc=False, tag="rejected"):
    """A version was not taken by the leader of its collection; it stays in its author's outbox."""

    key: str
    reason: str


class Reissued(msgspec.Struct, frozen=True, gc=False, tag="reissued"):
    """A version was written again under a later stamp, because the cluster could not take it as it was; why."""

    key: str
    before: int
    after: int
    reason: str


class Withdrawn(msgspec.Struct, frozen=True, gc=False, tag="withdrawn"):
    """A version was dropped here for what our leader has instead, or has no more; why."""

    key: str
    stamp: int
    reason: str


class Collected(msgspec.Struct, frozen=True, gc=False, tag="collected"):
    """Tombstones that every follower has were dropped."""

    collection: str
    dropped: int
    floor: int


class Diverged(msgspec.Struct, frozen=True, gc=False, tag="diverged"):
    """We have everything our leader has, and yet not the same: a bug or a bad disk. What differs is being mended."""

    collection: str
    buckets: int


class StorageRefused(msgspec.Struct, frozen=True, gc=False, tag="storage_refused"):
    """A commit failed; its writers were told so."""

    reason: str


class ActorRestarted(msgspec.Struct, frozen=True, gc=False, tag="actor_restarted"):
    """An actor crashed, which is our bug, and runs again."""

    actor: str
    error: str


Notice: TypeAlias = (
    PeerUp | PeerDown | PeerRefused | ReadingFrom | CaughtUp | EpochReset | Conflict | Rejected | Reissued | Withdrawn
    | Collected | Diverged | StorageRefused | ActorRestarted
)  # fmt: skip
