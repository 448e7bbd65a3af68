"""Transport: carries envelopes between members.

Layer: transport (interface). The contract is weak on purpose, and one suite (tests/contracts) holds every transport to
it: an envelope may be lost, repeated or reordered, but one that arrives is what was sent, nobody ever waits for it, and
what is under way is bounded. Everything else is the protocol's business.
"""

from typing import Protocol

from pivot.core.messages import Envelope
from pivot.types import Address


class Receiver(Protocol):
    """A member, as its transport sees it."""

    def receive(self, envelope: Envelope, via: Address) -> None:
        """Take an envelope; `via` is the address under which we know its sender. May drop it; never waits."""
        ...

    def link_lost(self, peer: Address, reason: str) -> None:
        """Hear that a peer cannot be reached, and why; a hint that need not come."""
        ...


class Transport(Protocol):
    """One member's way to the others."""

    def attach(self, receiver: Receiver) -> None:
        """Say who takes what comes in."""
        ...

    def send(self, envelope: Envelope) -> None:
        """Carry an envelope to its `target`, or lose it. Never waits and never raises for the world's faults."""
        ...
