"""Client: the data verbs of a server, over HTTP, and its status.

Layer: edge; uses `pivot.transport.http_client`. Start at `Client`.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Final, final
from urllib.parse import quote, urlencode

import msgspec
from trio_websocket import (
    ConnectionClosed,
    ConnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)

from pivot.errors import NotFoundError, RefusedError, UnreachableError, root_reason
from pivot.paths import check_key, check_list, check_pattern
from pivot.transport.http_client import HttpClient, Response, normalize_url
from pivot.types import JsonValue

FRAME_BYTES_MAX: Final = 64 * 2**20
"""Longest WebSocket message that `watch` accepts."""
_CLOSED_IN_PEACE: Final = (1000, 1001)
_CLOSED_BAD_KEY: Final = 1008


class Item(msgspec.Struct, frozen=True):
    """An entry.

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
    data: JsonValue


class Written(msgspec.Struct, frozen=True):
    """A write was acknowledged.

    Attributes:
        index: last segment of the key that was written; of a delete, empty.
        stamp: when, as the cluster compares writes, ns.
    """

    index: str
    stamp: int


class _Index(msgspec.Struct):
    index: str


class _Error(msgspec.Struct):
    error: str


class _Keys(msgspec.Struct):
    keys: list[str]
    total: int


class _Frame(msgspec.Struct):
    snapshot: bool
    version: str
    data: JsonValue


@final
class Watching:
    """States of a key or glob, one after another: iterate it. States may be left out, the last one never is."""

    def __init__(self, socket: WebSocketConnection, address: str) -> None:
        self._socket = socket
        self._address = address

    def __aiter__(self) -> "Watching":
        return self

    async def __anext__(self) -> JsonValue:
        """Wait for the next state: an entry's object, or a list of them.

        Raises:
            RefusedError: the server does not want to show this.
            UnreachableError: the connection broke.
        """
        try:
            message = await self._socket.get_message()
        except ConnectionClosed as closed:
            code, reason = (closed.reason.code, closed.reason.reason or "") if closed.reason else (1006, "")
            if code in _CLOSED_IN_PEACE:
                raise StopAsyncIteration from None
            if code == _CLOSED_BAD_KEY:
                raise RefusedError(self._address, 400, reason) from None
            raise UnreachableError(f"{self._address} broke with code {code} {reason}".rstrip()) from None
        return msgspec.json.decode(message, type=_Frame).data


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

    async def get(self, key: str) -> Item:
        """Read one entry.

        Raises:
            BadKeyError: it is no key.
            NotFoundError: the server has no such entry.
            UnreachableError, RefusedError: see `pivot.errors`.
        """
        return msgspec.json.decode((await self._request("GET", check_key(key))).body, type=Item)

    async def get_list(self, pattern: str) -> list[Item]:
        """Read all entries that a glob matches, newest first.

        Raises:
            BadKeyError: it is no pattern.
            UnreachableError, RefusedError: see `pivot.errors`.
        """
        return msgspec.json.decode((await self._request("GET", check_pattern(pattern))).body, type=list[Item])

    async def set(self, key: str, value: JsonValue) -> Written:
        """Create or replace one entry.

        Raises:
            BadKeyError: it is no key.
            RefusedError: 429 and 503 were certainly not written, 504 is not known.
            UnreachableError: see `pivot.errors`.
        """
        return self._written(await self._request("POST", check_key(key), msgspec.json.encode(value)))

    async def push(self, pattern: str, value: JsonValue) -> Written:
        """Create a new entry in a list such as `users/*`; as `set`."""
        return self._written(await self._request("POST", check_list(pattern), msgspec.json.encode(value)))

    async def delete(self, pattern: str) -> Written:
        """Delete an entry, or all that a glob matches; as `set`.

        Raises:
            NotFoundError: the server has no such entry (never for a glob).
        """
        return self._written(await self._request("DELETE", check_pattern(pattern)))

    async def keys(self, containing: str = "") -> AsyncGenerator[str, None]:
        """Yield the names of all entries that contain a text, in order."""
        page, seen = 1, 0
        while True:
            query = urlencode({"api": "keys", "page": page, "limit": 1000, "filter": containing})
            found = msgspec.json.decode((await self._request("GET", "", query=query)).body, type=_Keys)
            for key in found.keys:
                yield key
            page, seen = page + 1, seen + len(found.keys)
            if not found.keys or seen >= found.total:
                return

    async def status(self) -> dict[str, JsonValue]:
        """What the server says of itself and its peers."""
        return msgspec.json.decode((await self._request("GET", "_pivot/status")).body, type=dict[str, JsonValue])

    @asynccontextmanager
    async def watch(self, pattern: str) -> AsyncGenerator[Watching, None]:
        """Open a subscription to a key or glob; iterate what it gives for each new state.

        Raises:
            BadKeyError: it is no pattern.
            UnreachableError: the server does not answer, or not so.
        """
        check_pattern(pattern)
        address = "ws" + self.url.removeprefix("http") + "/" + quote(pattern, safe="/*")
        socket: WebSocketConnection | None = None
        try:
            async with AsyncExitStack() as stack:
                try:
                    socket = await stack.enter_async_context(
                        open_websocket_url(address, max_message_size=FRAME_BYTES_MAX, connect_timeout=self._timeout_s)
                    )
                except (OSError, HandshakeError, ConnectionTimeout) as error:
                    raise UnreachableError(f"{address} cannot be watched: {root_reason(error)}") from None
                yield Watching(socket, address)
        finally:
            if socket is not None:  # trio-websocket leaves the connection open when the server said goodbye first
                await socket._close_stream()  # pyright: ignore[reportPrivateUsage]

    async def _request(self, method: str, path: str, content: bytes | None = None, query: str = "") -> Response:
        url = f"{self.url}/{quote(path, safe='/*')}" + (f"?{query}" if query else "")
        response = await self._http.request(method, url, content=content, timeout_s=self._timeout_s)
        if response.status < 300:
            return response
        try:
            reason = msgspec.json.decode(response.body, type=_Error).error
        except msgspec.DecodeError:
            reason = response.body[:200].decode(errors="replace").strip()
        if response.status == 404:
            raise NotFoundError(url, response.status, reason)
        raise RefusedError(url, response.status, reason)

    def _written(self, response: Response) -> Written:
        index = msgspec.json.decode(response.body, type=_Index).index if response.body else ""
        return Written(index, int(response.headers.get("x-pivot-stamp", "0")))
