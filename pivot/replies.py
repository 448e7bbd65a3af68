"""Replies: what the answers of a server mean, for those who ask over HTTP.

Layer: edge. Start at `decode`.
"""

from typing import Final, Generic, TypeVar

import msgspec

from pivot.errors import BadAnswerError, NotFoundError, RefusedError, TransportError
from pivot.transport.http_client import one_line

_ON_THE_WAY: Final = (413, 429, 500, 502, 503, 504)
"""What a proxy may say, in its own words, for a server of ours that is behind it."""
_T = TypeVar("_T")


class Item(msgspec.Struct, Generic[_T], frozen=True):
    """An entry, whose value is of type `T`.

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
    data: _T


class _Error(msgspec.Struct):
    error: str


def decode(asked: str, text: bytes | str, kind: type[_T]) -> _T:
    """What an answer, or a part of one, means.

    Raises:
        BadAnswerError: it means no such thing.
    """
    try:
        whole = text.decode() if isinstance(text, bytes) else text  # a value that is passed on is not looked at
        return msgspec.json.decode(whole, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = one_line(text if isinstance(text, bytes) else text.encode(errors="replace"))
        raise BadAnswerError(asked, str(error), said) from None


def refusal(asked: str, status: int, body: bytes) -> TransportError:
    """The error that an answer which does not say yes is."""
    try:
        reason = msgspec.json.decode(body, type=_Error).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if status not in _ON_THE_WAY:
            return BadAnswerError(asked, f"status {status} without a reason in JSON", one_line(body))
        reason = one_line(body)
    kind = NotFoundError if status == 404 else RefusedError
    return kind(asked, status, reason)
