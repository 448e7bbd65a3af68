"""Mailbox: what waits for one actor, over a Trio memory channel.

Layer: actors. Bounded, with two lanes into one queue: what others offer is refused when `limit` events wait; what the
actor itself has asked for (answers, timers) is always taken, and is bounded because its open questions and timers are.
"""

from typing import final

import msgspec
import trio

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
    """Events for one actor."""

    def __init__(self, name: str, *, limit: int, reserve: int) -> None:
        """Begin empty.

        Args:
            name: the actor's.
            limit: most events that others may leave waiting.
            reserve: room beyond that for what the actor itself asked for.
        """
        self.name = name
        self.limit = limit
        self._in, self._out = trio.open_memory_channel[Event](limit + reserve)
        self._peak = 0
        self._taken = 0
        self._refused = 0

    def __len__(self) -> int:
        return self._out.statistics().current_buffer_used

    def offer(self, event: Event) -> bool:
        """Leave an event unless the mailbox is full; says whether it was left."""
        if len(self) >= self.limit:
            self._refused += 1
            return False
        self.put(event)
        return True

    def put(self, event: Event) -> None:
        """Leave something the actor itself has asked for."""
        self._in.send_nowait(event)
        self._peak = max(self._peak, len(self))

    async def take(self) -> list[Event]:
        """Wait for an event and take everything that waits."""
        batch = [await self._out.receive(), *self.drain()]
        self._taken += len(batch)
        return batch

    def drain(self) -> list[Event]:
        """Take everything that waits, without waiting."""
        batch: list[Event] = []
        try:
            while True:
                batch.append(self._out.receive_nowait())
        except trio.WouldBlock:
            return batch

    def statistics(self) -> MailboxStatistics:
        """How full it is and was."""
        return MailboxStatistics(len(self), self.limit, self._peak, self._taken, self._refused)
