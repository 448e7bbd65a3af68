"""Data routes: REST on keys and globs, and the WebSocket that shows each new state.

Layer: server. Handlers decode and judge, then ask storage, which finishes what it was asked even when the client hangs
up and the handler is cancelled. Conventions as in the original (`ooo`); see the README for the table.
Start at `add_data_routes`.
"""

import functools
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import nan
from typing import Final, ParamSpec

import msgspec
import trio
from quart import Response, request, websocket
from quart_trio import QuartTrio

from pivot.actors.member import Member
from pivot.actors.ref import Ref
from pivot.core.entry import Entry, canonical
from pivot.core.questions import Entries, Get, Keys, ListAll, ListKeys, PushItem, Put, Remove, Written
from pivot.errors import (
    ActorStoppedError,
    BadKeyError,
    BadQueryError,
    BadValueError,
    DeadlineError,
    MailboxBusyError,
    PivotError,
    StorageError,
)
from pivot.paths import check_key, check_list, check_pattern, is_glob, last_segment
from pivot.server.confirming import check_has_leader, wait_confirmed
from pivot.server.hub import Hub
from pivot.transport.http_server import JSON, error_response, read_body

BODY_BYTES_MAX: Final = 2**20
"""Longest value in a request."""
STAMP_HEADER: Final = "X-Pivot-Stamp"
"""Response header of a write: the stamp it was given, ns; two writes compare by it."""
ASK_DEADLINE_S: Final = 10.0
"""How long a handler waits for storage."""
ACK_TIMEOUT_S: Final = 5.0
"""How long a client that wants its leader's confirmation waits, unless it says otherwise."""
ACK_TIMEOUT_S_MAX: Final = 60.0
CLOSE_BAD_KEY: Final = 1008
CLOSE_GOING_AWAY: Final = 1001
PAGE_KEYS_MAX: Final = 1000
"""Most keys in one answer of `GET /?api=keys`."""

_Args = ParamSpec("_Args")
_STATUS: Final[dict[type[PivotError], HTTPStatus]] = {
    BadKeyError: HTTPStatus.BAD_REQUEST,
    BadQueryError: HTTPStatus.BAD_REQUEST,
    BadValueError: HTTPStatus.BAD_REQUEST,
    MailboxBusyError: HTTPStatus.TOO_MANY_REQUESTS,
    StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    ActorStoppedError: HTTPStatus.GATEWAY_TIMEOUT,
    DeadlineError: HTTPStatus.GATEWAY_TIMEOUT,
}
"""429 and 503: certainly not written; 504: not known."""


class Item(msgspec.Struct, frozen=True):
    """An entry as users see it.

    Attributes:
        created: when this life of the key began, ns since the Unix epoch.
        updated: when it was last replaced; 0 = never.
        index: last segment of the path.
        path: the key.
        data: the value.
    """

    created: int
    updated: int
    index: str
    path: str
    data: msgspec.Raw


def item(entry: Entry) -> Item:
    """What users see of an entry."""
    return Item(entry.created, entry.updated, last_segment(entry.key), entry.key, msgspec.Raw(entry.data.encode()))


def answering_errors(
    handler: Callable[_Args, Awaitable[Response]],
) -> Callable[_Args, Awaitable[Response]]:
    """Turn our errors into the status and the one line that the caller deserves."""

    @functools.wraps(handler)
    async def wrapped(*args: _Args.args, **kwargs: _Args.kwargs) -> Response:
        try:
            return await handler(*args, **kwargs)
        except tuple(_STATUS) as error:
            return error_response(_STATUS[type(error)], str(error))

    return wrapped


def json_response(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """An answer with a JSON body."""
    return Response(msgspec.json.encode(value) + b"\n", status=status, content_type=JSON)


def add_data_routes(app: QuartTrio, member: Member, hub: Hub) -> None:
    """Serve the keys of one member's store."""
    storage = Ref(member)

    @app.get("/")
    @answering_errors
    async def keys() -> Response:
        return await _keys(storage)

    @app.post("/<path:key>")
    @answering_errors
    async def post(key: str) -> Response:
        question_of = PushItem if is_glob(key) else Put
        check_list(key) if is_glob(key) else check_key(key)
        patience_s = _ack_timeout_s(member, key)
        body = await read_body(BODY_BYTES_MAX)
        if not body.strip():
            raise BadValueError("is missing: the body is empty")
        result = await storage.ask(question_of(key, canonical(body)), deadline_s=ASK_DEADLINE_S)
        assert isinstance(result, Written), result
        index = last_segment(result.keys[0])
        if await _confirmed(member, result, patience_s):
            return _stamped(json_response({"index": index}), result)
        return _stamped(json_response({"index": index, "acked": False}, HTTPStatus.ACCEPTED), result)

    @app.get("/<path:key>")
    @answering_errors
    async def get(key: str) -> Response:
        check_pattern(key)
        found = await _read(storage, key)
        if is_glob(key):
            return json_response([item(entry) for entry in found.entries])
        if not found.entries:
            return error_response(HTTPStatus.NOT_FOUND, f"key {key!r} is not here")
        return json_response(item(found.entries[0]))

    @app.delete("/<path:key>")
    @answering_errors
    async def delete(key: str) -> Response:
        patience_s = _ack_timeout_s(member, check_pattern(key))
        result = await storage.ask(Remove(key), deadline_s=ASK_DEADLINE_S)
        assert isinstance(result, Written), result
        if not result.keys and not is_glob(key):
            return error_response(HTTPStatus.NOT_FOUND, f"key {key!r} is not here")
        if await _confirmed(member, result, patience_s):
            return _stamped(Response(b"", status=HTTPStatus.NO_CONTENT), result)
        return _stamped(json_response({"index": "", "acked": False}, HTTPStatus.ACCEPTED), result)

    _add_watch_route(app, storage, hub)


def _add_watch_route(app: QuartTrio, storage: Ref, hub: Hub) -> None:
    @app.websocket("/<path:key>")
    async def subscribe(key: str) -> None:
        try:
            check_pattern(websocket.scope["path"].removeprefix("/"))  # the router drops leading separators
        except BadKeyError as error:
            await websocket.accept()  # pyright: ignore[reportUnknownMemberType] - Quart leaves it open
            await websocket.close(CLOSE_BAD_KEY, str(error)[:120])
            return
        await websocket.accept()  # pyright: ignore[reportUnknownMemberType] - Quart leaves it open
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ignore_messages)
            await _show(storage, hub, key)
            nursery.cancel_scope.cancel()
        await websocket.close(CLOSE_GOING_AWAY, "the server stops")


def _stamped(response: Response, written: Written) -> Response:
    response.headers[STAMP_HEADER] = str(written.stamp)
    return response


def _ack_timeout_s(member: Member, pattern: str) -> float | None:
    """How long the client wants to wait for the leader (`?ack=leader&timeout=5`); None = it does not.

    Raises:
        BadQueryError: there is no such confirmation, or no such time.
        BadKeyError: the key has no leader.
    """
    ack = request.args.get("ack", "")
    if not ack:
        return None
    if ack != "leader":
        raise BadQueryError("ack", ack, "leader")
    text = request.args.get("timeout", str(ACK_TIMEOUT_S))
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = nan
    if not 0 <= timeout_s <= ACK_TIMEOUT_S_MAX:
        raise BadQueryError("timeout", text, f"0 to {ACK_TIMEOUT_S_MAX:g} s")
    check_has_leader(member, pattern)
    return timeout_s


async def _confirmed(member: Member, written: Written, patience_s: float | None) -> bool:
    return patience_s is None or await wait_confirmed(member, written, timeout_s=patience_s)


async def _read(storage: Ref, pattern: str) -> Entries:
    question = ListAll(pattern) if is_glob(pattern) else Get(pattern)
    found = await storage.ask(question, deadline_s=ASK_DEADLINE_S)
    assert isinstance(found, Entries), found
    return found


async def _keys(storage: Ref) -> Response:
    """`GET /?api=keys&page=&limit=&filter=`: names of live entries, in order."""
    api = request.args.get("api", "keys")
    if api != "keys":
        return error_response(HTTPStatus.BAD_REQUEST, f"api is {api!r}, there is only 'keys'")
    try:
        page, limit = int(request.args.get("page", "1")), int(request.args.get("limit", "100"))
    except ValueError:
        return error_response(HTTPStatus.BAD_REQUEST, "page and limit must be whole numbers")
    if page < 1 or not 1 <= limit <= PAGE_KEYS_MAX:
        reason = f"page is {page}, it must be at least 1; limit is {limit}, it must be 1 to {PAGE_KEYS_MAX}"
        return error_response(HTTPStatus.BAD_REQUEST, reason)
    found = await storage.ask(ListKeys(request.args.get("filter", "")), deadline_s=ASK_DEADLINE_S)
    assert isinstance(found, Keys), found
    chosen = found.keys[(page - 1) * limit : page * limit]
    return json_response({"keys": chosen, "page": page, "limit": limit, "total": len(found.keys)})


async def _show(storage: Ref, hub: Hub, pattern: str) -> None:
    """Send the state of a key or glob now and after every change; states between two sends are left out."""
    with hub.watching(pattern) as watch:
        while not hub.closed:
            found = await _read(storage, pattern)
            data: object
            if is_glob(pattern):
                data = [item(entry) for entry in found.entries]
            elif found.entries:
                data = item(found.entries[0])
            else:
                data = {"created": 0, "updated": 0, "index": "", "data": {}}
            frame = {"snapshot": True, "version": format(found.seq, "x"), "data": data}
            await websocket.send(msgspec.json.encode(frame))
            await watch.wait()


async def _ignore_messages() -> None:
    """Take what the client sends, so that its going away is noticed behind it."""
    while True:
        await websocket.receive()
