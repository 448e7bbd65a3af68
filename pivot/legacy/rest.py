"""Rest: the routes of a peer that speaks protocol "2.0", called by us.

Layer: transport. Start at `Rest.read`. A read that fails says nothing about what is there: only the one answer that the
original gives for a missing key means that it is missing.
"""

from collections.abc import Callable
from typing import Final, final
from urllib.parse import quote

import msgspec

from pivot.core.entry import Entry
from pivot.errors import BadAnswerError, MisuseError, PeerError, RefusedError
from pivot.legacy.objects import Object, base_of, entry_of
from pivot.paths import is_glob, last_segment, matches
from pivot.transport.http_client import HttpClient, Response, one_line
from pivot.types import Address

ORIGINATOR_HEADER: Final = "X-Pivot-Originator"
"""Header of a write that says who made it, `ip:port`."""
NOT_FOUND_TEXT: Final = "storage: not found"
"""What the original answers, with status 500, for a single key that has no entry; its nodes rely on it."""
CALL_S: Final = 10.0
"""How long a peer may take for one request."""


class _Activity(msgspec.Struct, frozen=True):
    lastEntry: int  # noqa: N815 - the original's name


class _Path(msgspec.Struct, frozen=True):
    path: str


@final
class Rest:
    """One peer."""

    def __init__(self, client: HttpClient, url: Address, *, writer: str, originator: Callable[[], str] = str) -> None:
        """Prepare to call it.

        Args:
            client: makes the requests.
            url: the peer's address.
            writer: who is said to have written what we read there.
            originator: says who we are, `ip:port`; empty = do not say.
        """
        self.url = url
        self._client = client
        self._writer = writer
        self._originator = originator

    async def activity(self, path: str) -> int:
        """Greatest stamp the peer knows of a collection, deletions included, ns; 0 = none.

        Raises:
            TransportError: it does not say.
        """
        asked = f"/_pivot/activity/{quote(base_of(path), safe='/*')}"
        response = await self._request("GET", asked)
        try:
            return max(0, msgspec.json.decode(response.body, type=_Activity).lastEntry)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadAnswerError(self.url + asked, str(error), one_line(response.body)) from None

    async def read(self, path: str) -> dict[str, Entry]:
        """Everything that the peer has of a collection, by key; what is no entry of it is left out.

        Raises:
            TransportError: it does not say.
        """
        asked = f"/_pivot/pivot/{quote(path, safe='/*')}"
        if not is_glob(path):
            try:
                response = await self._request("GET", asked)
            except RefusedError as error:
                if error.status == 500 and NOT_FOUND_TEXT in error.reason:
                    return {}
                raise
            return self._judged(path, [response.body])
        response = await self._request("GET", asked)
        try:
            listed = msgspec.json.decode(response.body, type=list[msgspec.Raw] | None)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadAnswerError(self.url + asked, str(error), one_line(response.body)) from None
        return self._judged(path, [bytes(each) for each in listed or ()])

    async def write(self, entry: Entry) -> None:
        """Put an entry there; the peer takes it whatever it has.

        Raises:
            TransportError: it does not.
        """
        wrote = Object(
            created=entry.created,
            updated=entry.updated,
            index=last_segment(entry.key),
            data=msgspec.Raw(entry.data.encode()),
            path=entry.key,
        )
        await self._request("POST", f"/_pivot/pivot/{entry.key}", msgspec.json.encode(wrote))

    async def delete(self, entry: Entry) -> None:
        """Delete an entry there, as of when it was deleted here; the peer does, whatever it has.

        Raises:
            TransportError: it does not.
        """
        await self._request("DELETE", f"/_pivot/pivot/{entry.key}/{entry.stamp}")

    async def trigger(self, path: str) -> None:
        """Have the peer read our collection; returns when it says that it has.

        Raises:
            TransportError: it does not.
        """
        try:
            await self._request("GET", f"/_pivot/synchronize/pivot?key={quote(path, safe='/*')}")
        except RefusedError as error:
            if error.status not in (404, 405):
                raise
            await self._request("GET", "/_pivot/pivot")  # what an earlier original calls it

    async def _request(self, method: str, path: str, body: bytes | None = None) -> Response:
        headers = {"content-type": "application/json"} if body is not None else {}
        if method != "GET" and (originator := self._originator()):
            headers[ORIGINATOR_HEADER] = originator
        response = await self._client.request(method, self.url + path, content=body, headers=headers, timeout_s=CALL_S)
        if response.status != 200:
            raise RefusedError(self.url + path, response.status, one_line(response.body))
        return response

    def _judged(self, path: str, objects: list[bytes]) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for wrote in objects:
            try:
                key = msgspec.json.decode(wrote, type=_Path).path if is_glob(path) else path
                if matches(path, key):
                    entries[key] = entry_of(wrote, key=key, writer=self._writer)
            except (msgspec.DecodeError, UnicodeDecodeError, MisuseError, PeerError):
                continue  # what nobody of us can keep cannot be replicated
        return entries
