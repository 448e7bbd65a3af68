"""Answers: what routes answer with, and the status that each of our errors deserves.

Layer: server. Start at `answering_errors`.
"""

import functools
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, ParamSpec

import msgspec
from quart import Response, request

from pivot.errors import (
    ActorStoppedError,
    BadEntryError,
    BadKeyError,
    BadQueryError,
    BadValueError,
    DeadlineError,
    MailboxBusyError,
    NotRunningError,
    PivotError,
    RejectedError,
    StorageError,
)
from pivot.transport.http_server import JSON, error_response

ASK_DEADLINE_S: Final = 10.0
"""How long a handler waits for storage."""

_Args = ParamSpec("_Args")
_STATUS: Final[dict[type[PivotError], HTTPStatus]] = {
    BadEntryError: HTTPStatus.BAD_REQUEST,
    BadKeyError: HTTPStatus.BAD_REQUEST,
    BadQueryError: HTTPStatus.BAD_REQUEST,
    BadValueError: HTTPStatus.BAD_REQUEST,
    MailboxBusyError: HTTPStatus.TOO_MANY_REQUESTS,
    RejectedError: HTTPStatus.BAD_REQUEST,
    NotRunningError: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    ActorStoppedError: HTTPStatus.GATEWAY_TIMEOUT,
    DeadlineError: HTTPStatus.GATEWAY_TIMEOUT,
}
"""429 and 503: certainly not written; 504: not known."""


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


def argument(name: str) -> str | None:
    """What the query of the request at hand says of a parameter; None = nothing.

    Raises:
        BadQueryError: it is there more than once.
    """
    values = request.args.getlist(name)
    if len(values) > 1:
        raise BadQueryError(name, values[1], f"there once, not {len(values)} times")
    return values[0] if values else None
