"""HttpClient: HTTP requests to peers; the one place that imports httpx.

Layer: transport. Start at `HttpClient.request` (a bounded answer) or `HttpClient.stream_lines` (a long-lived one).

Two habits of httpx shape this room. A request that is cancelled while it waits for httpx's pool can take a
connection of the pool with it for good (httpcore's issue 1093): so the pool is unlimited, nobody waits in it, and a
limiter of ours bounds each peer. For the same reason no cancel scope of ours is around a call: httpx has its timeouts
between bytes, and the total is a deadline that is looked at between chunks: a peer that sends a byte now and then
can exceed it by one pause.

Exceptions of httpx, of what is below it, and of the system become ours here, and every message names the request.
"""

import ipaddress
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Final, NoReturn, final

import httpx
import msgspec
import trio

from pivot.config import CustomClient
from pivot.errors import (
    ConfigError,
    DeadlineError,
    MisuseError,
    NotRunningError,
    RefusedError,
    ResponseTooLargeError,
    TransportError,
    UnreachableError,
    root_reason,
)

_IDLE_MAX: Final = 32
"""Idle connections kept; what a request costs grows with their square (httpcore looks at all for each)."""
_IDLE_S: Final = 10.0
"""Shorter than servers keep them (`hosting`), so that the server is not the one who closes first."""
_DRAIN_BYTES_MAX: Final = 2**20
_TIMEOUT_S_MIN: Final = 0.001
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


@final
class Response(msgspec.Struct, frozen=True):
    """A complete answer.

    Attributes:
        status: HTTP status; any, also those that say no.
        headers: names in lower case; values that were repeated are joined by commas.
        body: the content.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@final
class HttpClient:
    """Makes requests; connections are kept and reused. Use it as an async context manager, or call `aclose`."""

    def __init__(
        self,
        *,
        connect_s: float = 0.5,
        total_s: float = 30.0,
        response_bytes_max: int = 64 * 2**20,
        line_bytes_max: int = 4 * 2**20,
        requests_per_peer: int = 32,
        transport: httpx.AsyncBaseTransport | None = None,
        custom: CustomClient | None = None,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            connect_s: longest that connecting may take.
            total_s: longest that a request may take unless it says otherwise.
            response_bytes_max: longest body of an answer to `request`.
            line_bytes_max: longest line of `stream_lines`.
            requests_per_peer: most requests at a time to one peer (streams do not count); more wait within their total.
            transport: what carries the requests, such as `httpx.ASGITransport` in a test.
            custom: an `httpx.AsyncClient` (else ConfigError) that makes the requests, and is not closed here.
        """
        for name in ("httpx", "httpcore"):  # they log every request
            if logging.getLogger(name).level == logging.NOTSET:
                logging.getLogger(name).setLevel(logging.WARNING)
        self._connect_s = connect_s
        self._total_s = total_s
        self._response_bytes_max = response_bytes_max
        self._line_bytes_max = line_bytes_max
        self._requests_per_peer = requests_per_peer
        self._limiters: dict[str, trio.CapacityLimiter] = {}
        self._closed = False
        self._owned = None if custom is not None else _own_client(transport)
        client = self._owned or custom
        if not isinstance(client, httpx.AsyncClient):
            raise ConfigError(f"client is {custom!r}, it must be an httpx.AsyncClient")
        self._client: Final = client

    async def __aenter__(self) -> "HttpClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections of ours; the client cannot be used any more."""
        self._closed = True
        if self._owned is not None:
            await self._owned.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """Make a request and read the whole answer. Redirects are answers like any other.

        Args:
            method: `GET`, `POST` and so on.
            url: an absolute http or https URL.
            content: the body.
            headers: added to ours.
            timeout_s: longest that it may take, connecting and waiting for a turn included; None = the client's total.

        Raises:
            UnreachableError: no connection, or no turn among the requests to this peer: certainly not received.
            DeadlineError: no complete answer in time.
            ResponseTooLargeError: the answer's body is above its limit.
            TransportError: the connection broke, or the answer is not HTTP.
            MisuseError: there can be no such request.
        """
        limit_s = self._total_s if timeout_s is None else timeout_s
        call = _Call(method, url, deadline=trio.current_time() + limit_s, limit_s=limit_s, connect_s=self._connect_s)
        async with self._turn(call), self._answer(call, content, headers) as (answer, chunks):
            body = await self._read(call, chunks)
        return Response(answer.status_code, dict(answer.headers), body)

    @asynccontextmanager
    async def stream_lines(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        silence_s: float,
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        r"""Make a request and yield an iterator over the lines of its answer, as they come, each without its `\n`.

        There is no total deadline. The iterator ends when the peer ends its answer. Entering raises as well as
        iterating.

        Args:
            method: `GET`, `POST` and so on.
            url: an absolute http or https URL.
            content: the body.
            headers: added to ours.
            silence_s: longest that the peer may say nothing at all.

        Raises:
            UnreachableError: no connection, or the peer was silent for too long.
            RefusedError: the answer's status is not 2xx.
            ResponseTooLargeError: a line is above its limit.
            TransportError: the connection broke, or the answer ended within a line.
            MisuseError: there can be no such request.
        """
        call = _Call(method, url, deadline=None, limit_s=silence_s, connect_s=self._connect_s)
        async with self._answer(call, content, headers) as (answer, chunks):
            if not answer.is_success:
                body = await self._read(call, chunks)
                raise RefusedError(url, answer.status_code, one_line(body) or answer.reason_phrase)
            async with aclosing(self._lines(call, chunks)) as lines:
                yield lines

    @asynccontextmanager
    async def _turn(self, call: "_Call") -> AsyncGenerator[None, None]:
        """Be one of the requests that are made to this peer at a time."""
        with call.our_errors():
            parsed = httpx.URL(call.url)
        peer = f"{parsed.scheme}://{parsed.netloc.decode()}"
        limiter = self._limiters.setdefault(peer, trio.CapacityLimiter(self._requests_per_peer))
        borrower = object()  # not the task: a task may make a request while it holds another
        try:
            with trio.move_on_after(call.remaining_s()) as patience:
                await limiter.acquire_on_behalf_of(borrower)
            if patience.cancelled_caught:
                raise UnreachableError(
                    f"{call}: no turn within {call.limit_s:g} s, {self._requests_per_peer} requests to it are under way"
                )
            try:
                yield
            finally:
                limiter.release_on_behalf_of(borrower)
        finally:
            if not limiter.borrowed_tokens and not limiter.statistics().tasks_waiting:
                self._limiters.pop(peer, None)

    @asynccontextmanager
    async def _answer(
        self, call: "_Call", content: bytes | None, headers: Mapping[str, str] | None
    ) -> AsyncGenerator[tuple[httpx.Response, AsyncIterator[bytes]], None]:
        """The head of an answer and an iterator over its body, which is closed for sure."""
        if self._closed or self._client.is_closed:
            raise NotRunningError(f"{call}: the client is closed")
        with call.our_errors():
            request = self._client.build_request(
                call.method, call.url, content=content, headers=headers, timeout=call.timeouts()
            )
            if content:
                request.stream = _Body(content)
            answer = await self._client.send(request, stream=True)
        chunks = answer.aiter_bytes()
        try:
            yield answer, chunks
        finally:
            with trio.CancelScope(shield=True), suppress(httpx.HTTPError, httpx.StreamError):
                await answer.aclose()
                # httpx nests async generators. If only the outermost is closed, the others are left to the garbage
                # collector, and Trio warns. As the connection is closed, they end by themselves when asked for more.
                drained = 0
                while drained < _DRAIN_BYTES_MAX:
                    drained += len(await anext(chunks, b"")) or _DRAIN_BYTES_MAX

    async def _read(self, call: "_Call", chunks: AsyncIterator[bytes]) -> bytes:
        parts: list[bytes] = []
        size = 0
        while chunk := await call.next_chunk(chunks):
            size += len(chunk)
            if size > self._response_bytes_max:
                raise ResponseTooLargeError(f"{call}: the answer has more than {self._response_bytes_max} bytes")
            parts.append(chunk)
        return b"".join(parts)

    async def _lines(self, call: "_Call", chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        begun: list[bytes] = []  # parts of a line; joined once, so that a long line takes linear time
        size = 0
        while chunk := await call.next_chunk(chunks):
            first, *others = chunk.split(b"\n")
            begun.append(first)
            size += len(first)
            for other in others:
                self._check_line(call, size)
                yield b"".join(begun)
                begun, size = [other], len(other)
            self._check_line(call, size)
        if size:
            raise TransportError(f"{call}: the answer ended within a line, after {size} bytes of it")

    def _check_line(self, call: "_Call", size: int) -> None:
        if size > self._line_bytes_max:
            raise ResponseTooLargeError(f"{call}: a line has more than {self._line_bytes_max} bytes")


def _own_client(transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"accept-encoding": "identity", "user-agent": "pivot"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=_IDLE_MAX, keepalive_expiry=_IDLE_S),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )


@final
class _Body(httpx.AsyncByteStream):
    """A request's content; httpx's own is a generator that is left to the garbage collector when sending fails."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._given = False

    def __aiter__(self) -> "_Body":
        self._given = False
        return self

    async def __anext__(self) -> bytes:
        if self._given:
            raise StopAsyncIteration
        self._given = True
        return self._content


@final
class _Call(msgspec.Struct, frozen=True):
    """A request as its errors name it, and how long it may take.

    Attributes:
        method: its method.
        url: its URL.
        deadline: when it must be complete, on Trio's clock; None = it may be silent for `limit_s` at a time.
        limit_s: what `deadline` was made of.
        connect_s: longest that connecting may take.
    """

    method: str
    url: str
    deadline: float | None
    limit_s: float
    connect_s: float

    def __str__(self) -> str:
        return f"{self.method} {self.url}"

    def remaining_s(self) -> float:
        if self.deadline is None:
            return self.limit_s
        return max(self.deadline - trio.current_time(), _TIMEOUT_S_MIN)

    def timeouts(self) -> httpx.Timeout:
        remaining_s = self.remaining_s()
        return httpx.Timeout(remaining_s, connect=min(self.connect_s, remaining_s), pool=None)

    async def next_chunk(self, chunks: AsyncIterator[bytes]) -> bytes:
        """The next chunk of the answer's body; empty at its end."""
        with self.our_errors():
            chunk = await anext(chunks, b"")
        if chunk and self.deadline is not None and trio.current_time() > self.deadline:
            raise DeadlineError(f"{self}: no complete answer within {self.limit_s:g} s")
        return chunk

    @contextmanager
    def our_errors(self) -> Generator[None, None, None]:
        """Raise what httpx and the system raise as errors of ours."""
        try:
            yield
        except httpx.ConnectTimeout as error:
            limit_s = min(self.connect_s, self.limit_s)
            raise UnreachableError(f"{self}: no connection within {limit_s:g} s") from error
        except httpx.TimeoutException as error:
            if self.deadline is None:
                raise UnreachableError(f"{self}: silent for {self.limit_s:g} s") from error
            raise DeadlineError(f"{self}: no complete answer within {self.limit_s:g} s") from error
        except httpx.ConnectError as error:
            raise UnreachableError(f"{self}: no connection: {root_reason(error)}") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
            raise MisuseError(f"{self}: {root_reason(error)}") from error
        except (httpx.HTTPError, httpx.StreamError, trio.BrokenResourceError, OSError) as error:
            raise TransportError(f"{self}: the connection broke: {root_reason(error)}") from error


def one_line(body: bytes) -> str:
    """The beginning of an answer's body, to be quoted in a message."""
    return " ".join(body[:200].decode(errors="replace").split())


def normalize_url(address: str) -> str:
    """The URL of a peer in one spelling: `http://host:port` or `https://host`, in lower case, no slash at its end.

    Args:
        address: `host:port`, or a URL of http or https that says no more than where; IPv6 in brackets.

    Raises:
        ConfigError: it is something else; names it.
    """
    if "@" in address:  # may be a password: not repeated
        raise ConfigError(f"address {'...' + address[address.rindex('@') :]!r} must not have a user name or password")

    def refuse(why: str) -> NoReturn:
        raise ConfigError(f"address {address!r} {why}")

    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "http", address
    if scheme.lower() not in {"http", "https"}:
        refuse("must be host:port, http://host:port or https://host:port")
    rest = rest.removesuffix("/")
    for mark, what in (("?", "a query"), ("#", "a fragment"), ("/", "a path")):
        if mark in rest:
            refuse(f"must not have {what}")
    host, colon, digits = rest.rpartition(":") if re.search(r":[^:\]]*\Z", rest) else (rest, "", "")
    if colon:
        if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 2**16):
            refuse("must have a port of 1 to 65535")
        digits = str(int(digits))
    elif not separator:
        refuse("must have a port, as in host:port")
    if host.startswith("[") and host.endswith("]"):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            refuse("must have an IPv6 address in its brackets")
        if "%" in host:
            refuse("must not have a zone")
    elif not _HOST_NAME.fullmatch(host):
        refuse("must have a host of letters, digits, dots and hyphens; IPv6 in brackets")
    return f"{scheme}://{host}{colon}{digits}".lower()
