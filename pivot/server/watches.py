"""Watches: a subscription within the process: the states that a WebSocket would show, without one.

Layer: server. Start at `watching`.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import final

import trio
from trio_websocket import CloseReason, ConnectionClosed

from pivot.server.hub import Hub, Subscriber
from pivot.server.subscriptions import CLOSE_GOING_AWAY, CLOSE_TRY_AGAIN
from pivot.watching import Watching


@asynccontextmanager
async def watching(hub: Hub, pattern: str) -> AsyncGenerator[Watching, None]:
    """Watch a key or glob.

    Raises:
        PivotError: its state cannot be read.
    """
    states = Watching(f"watch of {pattern}", pattern)
    async with hub.subscribed(pattern) as subscriber, trio.open_nursery() as nursery:
        nursery.start_soon(states.read, _Frames(subscriber))
        yield states
        nursery.cancel_scope.cancel()


@final
class _Frames:
    """The frames of a subscriber, as they would come over a WebSocket."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber

    async def get_message(self) -> bytes:
        """The next frame; raises `ConnectionClosed` after the last, as a WebSocket does."""
        frame = await self._subscriber.take()
        if frame is not None:
            return frame
        if self._subscriber.dropped.is_set():
            raise ConnectionClosed(CloseReason(CLOSE_TRY_AGAIN, "too much waits for this subscriber"))
        raise ConnectionClosed(CloseReason(CLOSE_GOING_AWAY, "the server stops"))
