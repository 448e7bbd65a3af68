"""Client: the data verbs of a server, over HTTP, and its status.

Layer: edge; uses `pivot.transport.http_client`. Start at `Client`.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Literal, TypeAlias, TypeVar, final, overload
from urllib.parse import quote, urlencode

import msgspec
from trio_websocket import ConnectionRejected

from pivot.errors import BadAnswerError
from pivot.paths import check_key, check_list, check_pattern
from pivot.replies import Item, decode, refusal
from pivot.transport.http_client import HttpClient, Response, normalize_url, one_line
from pivot.transport.websocket import open_websocket
from pivot.types import JsonValue
from pivot.values import decoded, encoded
from pivot.watching import Watching

__all__ = ["Ack", "Client", "FollowerInfo", "Item", "Written"]

_T = TypeVar("_T")
Ack: TypeAlias = Literal["leader"]
"""Who must have a write besides the server that takes it."""


class Written(msgspec.Struct, frozen=True):
    """A write was acknowledged.

    Attributes:
        index: last segment of the key that was written; of a delete, empty.
        stamp: when, as the cluster compares writes, ns.
        acked: whether everybody has it whom the writer wanted to have it: the server, or with `ack="leader"` the
            leader, too. False: the server keeps it and brings it to the leader later.
    """

    index: str
    stamp: int
    acked: bool = True


class FollowerInfo(msgspec.Struct, frozen=True):
    """A store that follows a collection of a server.

    Attributes:
        collection: which one.
        store: id of the store.
        name: how its member calls itself.
        cursor: how much of the server's feed it has kept.
        head: how long that feed is.
    """

    collection: str
    store: str
    name: str
    cursor: int
    head: int


class _Follower(msgspec.Struct):
    store: str
    name: str
    cursor: int


class _Collection(msgspec.Struct):
    path: str
    head: int
    followers: list[_Follower]


class _Followed(msgspec.Struct):
    collections: list[_Collection]


class _Index(msgspec.Struct):
    index: str


class _Keys(msgspec.Struct):
    keys: list[str]
    total: int


class _Status(msgspec.Struct):
    """What a status has at least."""

    role: str
    member: str
    collections: list[dict[str, JsonValue]]
    peers: list[dict[str, JsonValue]]


@final
class Client:
    """Talks to one server; use it as an async context manager."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: `host:port` or `http://host:port`.
            timeout_s: longest that one request may take, s.

        Raises:
            ConfigError: it is no such address.
        """
        self.url = normalize_url(url)
        self._timeout_s = timeout_s
        self._http = HttpClient()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @overload
    async def get(self, key: str) -> Item[JsonValue]: ...

    @overload
    async def get(self, key: str, *, type: type[_T]) -> Item[_T]: ...

    async def get(self, key: str, *, type: type[_T] | None = None) -> Item[_T] | Item[JsonValue]:  # noqa: A002
        """Read one entry.

        Args:
            key: which one.
            type: what its value is: a dataclass, a msgspec struct, or anything else msgspec knows; None = plain JSON.

        Raises:
            BadKeyError: it is no key.
            NotFoundError: the server has no such entry.
            BadValueError: its value is not of that type.
            UnreachableError, RefusedError: see `pivot.errors`.
        """
        return _typed(await self._read(check_key(key), Item[msgspec.Raw]), type)

    @overload
    async def get_list(self, pattern: str) -> list[Item[JsonValue]]: ...

    @overload
    async def get_list(self, pattern: str, *, type: type[_T]) -> list[Item[_T]]: ...

    async def get_list(
        self,
        pattern: str,
        *,
        type: type[_T] | None = None,  # noqa: A002
    ) -> list[Item[_T]] | list[Item[JsonValue]]:
        """Read all entries that a glob matches, newest first; as `get`."""
        found = await self._read(check_pattern(pattern), list[Item[msgspec.Raw]])
        return [_typed(item, type) for item in found]

    async def set(self, key: str, value: object, *, ack: Ack | None = None, ack_timeout_s: float = 5.0) -> Written:
        """Create or replace one entry.

        Args:
            key: which one.
            value: anything msgspec can make JSON of: plain values, dataclasses, structs, dates.
            ack: `leader` waits until the leader has it as well; see `Written.acked`.
            ack_timeout_s: for how long at most, s.

        Raises:
            BadKeyError: it is no key.
            BadValueError: it cannot be JSON.
            RefusedError: 429 and 503 were certainly not written, 504 is not known.
            UnreachableError: see `pivot.errors`.
        """
        return await self._write(check_key(key), value, _ack_query(ack, ack_timeout_s))

    async def push(self, pattern: str, value: object, *, ack: Ack | None = None, ack_timeout_s: float = 5.0) -> Written:
        """Create a new entry in a list such as `users/*`; as `set`."""
        return await self._write(check_list(pattern), value, _ack_query(ack, ack_timeout_s))

    async def patch(self, key: str, value: object, *, ack: Ack | None = None, ack_timeout_s: float = 5.0) -> Written:
        """Merge an object into the one that an entry has: members of objects merge, the rest is replaced; as `set`.

        Raises:
            NotFoundError: the server has no such entry.
            RefusedError: as `set`; 400 = the two do not fit, the reason says where.
        """
        return await self._write(check_key(key), value, _ack_query(ack, ack_timeout_s), method="PATCH")

    async def delete(self, pattern: str, *, ack: Ack | None = None, ack_timeout_s: float = 5.0) -> Written:
        """Delete an entry, or all that a glob matches; as `set`.

        Raises:
            NotFoundError: the server has no such entry (never for a glob).
        """
        query = _ack_query(ack, ack_timeout_s)
        asked, response = await self._request("DELETE", check_pattern(pattern), query=query)
        return Written("", _stamp(asked, response), response.status != HTTPStatus.ACCEPTED)

    async def keys(self, containing: str = "") -> AsyncGenerator[str, None]:
        """Yield the names of all entries that contain a text, in order."""
        page, seen = 1, 0
        while True:
            query = urlencode({"api": "keys", "page": page, "limit": 1000, "filter": containing})
            found = await self._read("", _Keys, query)
            for key in found.keys:
                yield key
            page, seen = page + 1, seen + len(found.keys)
            if not found.keys or seen >= found.total:
                return

    async def status(self) -> dict[str, JsonValue]:
        """What the server says of itself and its peers."""
        asked, response = await self._request("GET", "_pivot/status")
        decode(asked, response.body, _Status)
        return decode(asked, response.body, dict[str, JsonValue])

    async def followers(self) -> list[FollowerInfo]:
        """Which stores follow the collections that the server leads, and how far."""
        asked, response = await self._request("GET", "_pivot/status")
        status = decode(asked, response.body, _Followed)
        return [
            FollowerInfo(collection.path, follower.store, follower.name, follower.cursor, collection.head)
            for collection in status.collections
            for follower in collection.followers
        ]

    async def confirm_followers(self) -> None:
        """Tell the server that its followers are all there are, so that tombstones may be collected."""
        await self._request("POST", "_pivot/followers/complete")

    async def remove_follower(self, store: str) -> None:
        """Tell the server that a store will not come back.

        Raises:
            NotFoundError: it follows nothing there.
        """
        await self._request("DELETE", f"_pivot/followers/{quote(store, safe='')}")

    @asynccontextmanager
    async def watch(self, pattern: str) -> AsyncGenerator[Watching, None]:
        """Open a subscription to a key or glob; iterate what it gives for each new state.

        Raises:
            BadKeyError: it is no pattern.
            UnreachableError: the server does not answer.
            RefusedError, BadAnswerError: it answers, and not so.
        """
        check_pattern(pattern)
        address = "ws" + self.url.removeprefix("http") + "/" + quote(pattern, safe="/*")
        try:
            watching = Watching(address, pattern)
            async with open_websocket(address, timeout_s=self._timeout_s, reader=watching.read):
                yield watching
        except ConnectionRejected as error:
            raise refusal(address, error.status_code, error.body or b"") from None

    async def _read(self, path: str, kind: type[_T], query: str = "") -> _T:
        asked, response = await self._request("GET", path, query=query)
        return decode(asked, response.body, kind)

    async def _write(self, path: str, value: object, query: str, *, method: str = "POST") -> Written:
        asked, response = await self._request(method, path, encoded(value).encode(), query)
        index = decode(asked, response.body, _Index).index
        return Written(index, _stamp(asked, response), response.status != HTTPStatus.ACCEPTED)

    async def _request(
        self, method: str, path: str, content: bytes | None = None, query: str = ""
    ) -> tuple[str, Response]:
        """What was asked, as errors name it, and the answer, which says yes."""
        url = f"{self.url}/{quote(path, safe='/*')}" + (f"?{query}" if query else "")
        response = await self._http.request(method, url, content=content, timeout_s=self._timeout_s)
        if not 200 <= response.status < 300:
            raise refusal(url, response.status, response.body)
        return f"{method} {url}", response


def _typed(found: Item[msgspec.Raw], wanted: type[_T] | None) -> Item[_T]:
    data = decoded(found.path, found.data, wanted)
    return Item(found.created, found.updated, found.index, found.path, data)


def _ack_query(ack: Ack | None, timeout_s: float) -> str:
    return "" if ack is None else urlencode({"ack": ack, "timeout": f"{timeout_s:g}"})


def _stamp(asked: str, response: Response) -> int:
    """The stamp that a write was given.

    Raises:
        BadAnswerError: there is none.
    """
    text = response.headers.get("x-pivot-stamp", "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadAnswerError(asked, f"x-pivot-stamp is {text[:40]!r}, it must be a number", one_line(response.body))
    return int(text)
