"""Behaviour: a pure state machine that decides; whoever runs it does.

Layer: core (pure). No Trio, no clock, no randomness, no input or output, no logging inside: the same decisions run on
Trio over HTTP, on Trio in virtual time, and in a kernel without Trio.
"""

from typing import Protocol

from pivot.core.effects import Effect
from pivot.core.events import Event
from pivot.types import Now


class Behaviour(Protocol):
    """One actor's mind."""

    def step(self, now: Now, event: Event) -> list[Effect]:
        """Decide what follows from an event; effects happen in the order of the list.

        Never raises for the world's faults: those are events. An exception is our bug and restarts the actor.
        """
        ...
