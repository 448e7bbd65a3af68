"""Subscriptions: the WebSockets of a server: its keys and globs, its status, its clock.

Layer: server. Frames are binary, UTF-8 JSON:

    ws://host/{key or glob}    {"snapshot": true, "version", "data"}, then {"snapshot": false, "version", "data": patch}
                               `?v=<version>`: no snapshot if that is what it would show
    ws://host/pivot/status     the same, of the status; looked at once a second
    ws://host/                 the server's clock now and every second, ns since the Unix epoch, decimal

Close codes: 1001 the server stops; 1008 no such subscription, or a filter refuses it; 1013 did not keep up, or storage
does not answer now: come again. Start at `add_subscription_routes`.
"""

from collections.abc import Awaitable, Callable
from typing import Final, cast

import trio
from quart import websocket
from quart_trio import QuartTrio

from pivot.actors.wallclock import WallClock
from pivot.errors import BadKeyError, PivotError, RejectedError
from pivot.paths import check_pattern
from pivot.server.hub import Hub, Subscriber
from pivot.server.statusfeed import STATUS_KEY
from pivot.transport.hosting import ABORT

CLOSE_GOING_AWAY: Final = 1001
CLOSE_BAD_KEY: Final = 1008
CLOSE_TRY_AGAIN: Final = 1013
STATUS_PATH: Final = "pivot/status"
_TICK_S: Final = 1.0
_GOODBYE_S: Final = 5.0
"""How long a subscriber that did not keep up may take to read why it is dropped."""
_REASON_MAX: Final = 120


def add_subscription_routes(app: QuartTrio, hub: Hub, wall: WallClock) -> None:
    """Serve the WebSockets of one server."""

    @app.websocket("/")
    async def clock() -> None:
        await _accept()

        async def tick() -> None:
            while not hub.closed:
                await websocket.send(b"%d" % wall())
                await trio.sleep(_TICK_S)

        await _until_gone(tick)

    @app.websocket("/<path:key>")
    async def subscribe(key: str) -> None:
        await _accept()
        path = websocket.scope["path"].removeprefix("/")  # the router drops leading separators
        try:
            pattern = STATUS_KEY if key == path == STATUS_PATH else check_pattern(path)
        except BadKeyError as error:
            await _close(CLOSE_BAD_KEY, str(error))
            return
        try:
            async with hub.subscribed(pattern, websocket.args.get("v", "")) as subscriber:
                await _until_gone(lambda: _feed(subscriber))
        except RejectedError as error:
            await _close(CLOSE_BAD_KEY, str(error))
        except PivotError as error:
            await _close(CLOSE_TRY_AGAIN, str(error))


async def _feed(subscriber: Subscriber) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_abort_when_stuck, subscriber)
        while (frame := await subscriber.take()) is not None:
            await websocket.send(frame)
        if subscriber.dropped.is_set():
            await _close(CLOSE_TRY_AGAIN, "too much waits for this subscriber; subscribe again")
        else:
            await _close(CLOSE_GOING_AWAY, "the server stops")
        nursery.cancel_scope.cancel()


async def _abort_when_stuck(subscriber: Subscriber) -> None:
    """Close the connection of one who reads nothing at all, not even the goodbye."""
    await subscriber.dropped.wait()
    await trio.sleep(_GOODBYE_S)
    abort = cast("Callable[[], None]", websocket.scope["extensions"][ABORT])
    abort()


async def _until_gone(talk: Callable[[], Awaitable[None]]) -> None:
    """Talk to a client, and take what it sends, so that its going away is noticed behind it."""
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            while True:
                await websocket.receive()

        nursery.start_soon(listen)
        await talk()
        nursery.cancel_scope.cancel()


async def _accept() -> None:
    await websocket.accept()  # pyright: ignore[reportUnknownMemberType] - Quart leaves it open


async def _close(code: int, reason: str) -> None:
    await websocket.close(code, reason.encode()[:_REASON_MAX].decode(errors="ignore"))
