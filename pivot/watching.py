"""Watching: a subscription as its user sees it: one whole state after another.

Layer: edge. The server sends a state once, then patches (RFC 6902); they are applied here, as they come, by a task of
their own, so that a user who takes his time holds nobody up: he gets the newest state then. States share what did not
change, and none changes after it was given out.

Start at `Watching`.
"""

from copy import deepcopy
from typing import Any, Final, Protocol, cast, final

import msgspec
import trio
from jsonpatch import JsonPatchException, JsonPointerException, apply_patch
from trio_websocket import ConnectionClosed

from pivot.errors import BadAnswerError, PivotError, RefusedError, UnreachableError
from pivot.paths import is_glob
from pivot.replies import Item, decode
from pivot.transport.http_client import one_line
from pivot.types import JsonValue

_CLOSED_IN_PEACE: Final = (1000, 1001)
_CLOSED_BAD_KEY: Final = 1008


class _Shown(msgspec.Struct):
    """An entry or, without a path, the place of one that is absent."""

    created: int
    updated: int
    index: str
    data: JsonValue


class _Frame(msgspec.Struct):
    snapshot: bool
    version: str
    data: JsonValue


class Messages(Protocol):
    """Where messages come from: a `WebSocketConnection`."""

    async def get_message(self) -> bytes | str:
        """Wait for the next message; raises `ConnectionClosed` after the last."""
        ...


@final
class Watching:
    """States of a key or glob, one after another: iterate it. States may be left out, the last one never is."""

    def __init__(self, address: str, pattern: str) -> None:
        self._address = address
        self._kind = list[Item[JsonValue]] if is_glob(pattern) else _Shown
        self._state: JsonValue = None
        self._is_fresh = False
        self._end: Exception | None = None
        self._woken = trio.Event()

    def __aiter__(self) -> "Watching":
        return self

    async def __anext__(self) -> JsonValue:
        """Wait for the next state: an entry's object, or a list of them.

        Raises:
            RefusedError: the server does not want to show this.
            UnreachableError: the connection broke, or the server dropped us for not keeping up.
            BadAnswerError: what came is no state.
        """
        while not self._is_fresh:
            if self._end is not None:
                raise self._end
            self._woken = trio.Event()
            await self._woken.wait()
        self._is_fresh = False
        state = self._state
        try:
            msgspec.convert(state, type=self._kind)
        except msgspec.ValidationError as error:
            raise BadAnswerError(self._address, str(error), one_line(msgspec.json.encode(state))) from None
        return state

    async def read(self, socket: Messages) -> None:
        """Take what the server sends until it ends; how it ended is for the one who iterates."""
        try:
            while True:
                frame = decode(self._address, await socket.get_message(), _Frame)
                self._state = frame.data if frame.snapshot else self._patched(frame.data)
                self._is_fresh = True
                self._woken.set()
        except ConnectionClosed as closed:
            self._end = self._why(closed)
        except PivotError as error:
            self._end = error
        self._woken.set()

    def _why(self, closed: ConnectionClosed) -> Exception:
        code, reason = (closed.reason.code, closed.reason.reason or "") if closed.reason else (1006, "")
        if code in _CLOSED_IN_PEACE:
            return StopAsyncIteration()
        if code == _CLOSED_BAD_KEY:
            return RefusedError(self._address, 400, reason)
        return UnreachableError(f"{self._address} broke with code {code} {reason}".rstrip())

    def _patched(self, operations: JsonValue) -> JsonValue:
        try:
            return patched(self._state, msgspec.convert(operations, type=list[dict[str, Any]]))
        except (msgspec.ValidationError, JsonPatchException, JsonPointerException) as error:
            said = one_line(msgspec.json.encode(operations))
            raise BadAnswerError(self._address, f"a patch does not fit: {error}", said) from None


def patched(state: JsonValue, operations: list[dict[str, Any]]) -> JsonValue:
    """The state that operations make of another, which stays as it is; of a list, only what they touch is copied.

    Raises:
        JsonPatchException, JsonPointerException: they do not fit.
    """
    if not isinstance(state, list):
        return cast("JsonValue", apply_patch(state, operations))
    result: JsonValue = list(state)
    for operation in operations:
        for pointer in (operation.get("path"), operation.get("from")):
            head, _, inside = str(pointer).removeprefix("/").partition("/")
            if inside and isinstance(result, list) and head.isdecimal() and int(head) < len(result):
                result[int(head)] = deepcopy(result[int(head)])
        result = apply_patch(result, [operation], in_place=True)
    return result
