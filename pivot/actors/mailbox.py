"""Mailbox: what waits for one actor.

Layer: actors (Trio-free). Bounded, with two lanes into one queue: what others offer is refused when `limit` events
wait; what the actor itself has asked for (answers, timers) is always taken, and is bounded because its open questions
and timers are. It does not wait: whoever runs the actor leaves a `wake` there and is called when something arrives.
"""

from collections.abc import Callable
from typing import final

import msgspec

from pivot.core.events import Event


class MailboxStatistics(msgspec.Struct, frozen=True):
    """How full a mailbox is and was.

    Attributes:
        waiting: events in it now.
        limit: most that others may leave waiting.
        peak: most that ever waited.
        taken: events taken out so far.
        refused: offers refused so far.
    """

    waiting: int
    limit: int
    peak: int
    taken: int
    refused: int


@final
class Mailbox:
    """Events for one actor.

    Attributes:
        name: the actor's.
        limit: most events that others may leave waiting.
        wake: called when the next event arrives, once; None = nobody waits.
        waiting: events in it now, oldest first; only read by others.
    """

    __slots__ = ("_peak", "_refused", "_reserve", "_taken", "limit", "name", "waiting", "wake")

    def __init__(self, name: str, *, limit: int, reserve: int) -> None:
        """Begin empty.

        Args:
            name: the actor's.
            limit: most events that others may leave waiting.
            reserve: room beyond that for what the actor itself asked for; needing more is our bug.
        """
        self.name = name
        self.limit = limit
        self.wake: Callable[[], None] | None = None
        self._reserve = reserve
        self.waiting: list[Event] = []
        self._peak = 0
        self._taken = 0
        self._refused = 0

    def __len__(self) -> int:
        return len(self.waiting)

    def offer(self, event: Event) -> bool:
        """Leave an event unless the mailbox is full; says whether it was left."""
        if len(self.waiting) >= self.limit:
            self._refused += 1
            return False
        self.put(event)
        return True

    def put(self, event: Event) -> None:
        """Leave something the actor itself has asked for."""
        waiting = self.waiting
        waiting.append(event)
        number = len(waiting)
        if number > self._peak:
            self._peak = number
            assert number <= self.limit + self._reserve, f"mailbox {self.name!r} holds {number} events"
        wake = self.wake
        if wake is not None:
            self.wake = None
            wake()

    def drain(self) -> list[Event]:
        """Take everything that waits, oldest first."""
        batch, self.waiting = self.waiting, []
        self._taken += len(batch)
        return batch

    def statistics(self) -> MailboxStatistics:
        """How full it is and was."""
        return MailboxStatistics(len(self), self.limit, self._peak, self._taken, self._refused)
