"""Verbs: what `pivot` does with the data of a server, and what it asks and tells it: get, set, watch, status and so on.

Layer: edge. Each verb imports what it needs when it runs, as in `cli`, which lists them. Data goes to stdout, talk to
stderr.
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from pivot.client import Client, FollowerInfo, Written
    from pivot.replies import Item
    from pivot.types import JsonValue

LOCAL = "127.0.0.1:8080"
Url = Annotated[str, Parameter(name="--url", env_var="PIVOT_URL", help="Server to talk to.")]
Value = Annotated[str, Parameter(allow_leading_hyphen=True)]
AckFlag = Annotated[Literal["leader"] | None, Parameter(help="Wait until the leader has it, too; else exit with 1.")]
AckTimeout = Annotated[float, Parameter(help="For how long at most, s.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print for machines: one JSON value a line.")]


def get(pattern: str, /, *, url: Url = LOCAL, as_json: Json = False) -> None:
    """Print the value of a key, or one line per entry of a glob."""

    async def run(client: "Client") -> None:
        if "*" not in pattern:
            item = await client.get(pattern)
            _print(_object(item) if as_json else item.data)
            return
        items = await client.get_list(pattern)
        if as_json:
            _print([_object(item) for item in items])
            return
        for item in items:
            print(item.path, _json(item.data), sep="\t")

    _with_client(url, run)


def set(  # noqa: A001 - the verb
    key: str,
    value: Value = "-",
    /,
    *,
    ack: AckFlag = None,
    ack_timeout: AckTimeout = 5.0,
    url: Url = LOCAL,
    as_json: Json = False,
) -> int:
    """Create or replace an entry; VALUE is JSON, - reads it from stdin."""
    decoded = _decode(value)

    return _write(lambda client: client.set(key, decoded, ack=ack, ack_timeout_s=ack_timeout), url=url, as_json=as_json)


def push(
    pattern: str,
    value: Value = "-",
    /,
    *,
    ack: AckFlag = None,
    ack_timeout: AckTimeout = 5.0,
    url: Url = LOCAL,
    as_json: Json = False,
) -> int:
    """Create a new entry in a list such as users/*; prints its index."""
    decoded = _decode(value)

    return _write(
        lambda client: client.push(pattern, decoded, ack=ack, ack_timeout_s=ack_timeout), url=url, as_json=as_json
    )


def patch(
    key: str,
    value: Value = "-",
    /,
    *,
    ack: AckFlag = None,
    ack_timeout: AckTimeout = 5.0,
    url: Url = LOCAL,
    as_json: Json = False,
) -> int:
    """Merge a JSON object into the one that an entry has; - reads it from stdin."""
    decoded = _decode(value)
    if not isinstance(decoded, dict):
        from pivot.errors import MisuseError

        raise MisuseError(f"{value!r} is no JSON object")
    members = decoded  # narrowed for good: a lambda looks at it later

    return _write(
        lambda client: client.patch(key, members, ack=ack, ack_timeout_s=ack_timeout), url=url, as_json=as_json
    )


def delete(
    pattern: str,
    /,
    *,
    ack: AckFlag = None,
    ack_timeout: AckTimeout = 5.0,
    url: Url = LOCAL,
    as_json: Json = False,
) -> int:
    """Delete an entry, or all that a glob matches."""
    return _write(lambda client: client.delete(pattern, ack=ack, ack_timeout_s=ack_timeout), url=url, as_json=as_json)


def ls(containing: str = "", /, *, url: Url = LOCAL, as_json: Json = False) -> None:
    """Print the keys of all entries, or those that contain a text."""

    async def run(client: "Client") -> None:
        keys = [key async for key in client.keys(containing)]
        if as_json:
            _print(keys)
            return
        for key in keys:
            print(key)

    _with_client(url, run)


def watch(
    pattern: str,
    /,
    *,
    count: Annotated[int | None, Parameter(help="End after so many states.")] = None,
    url: Url = LOCAL,
    as_json: Json = False,
) -> None:
    """Print the state of a key or glob now and after every change, one line each."""
    if count is not None and count < 1:
        from pivot.errors import MisuseError

        raise MisuseError(f"--count is {count}, it must be at least 1")

    async def run(client: "Client") -> None:
        seen = 0
        async with client.watch(pattern) as states:
            async for state in states:
                _print(state if as_json else _values(state))
                seen += 1
                if seen == count:
                    return

    _with_client(url, run)


def status(*, url: Url = LOCAL, as_json: Json = False) -> None:
    """Show what a server says of itself: role, peers, collections."""

    async def run(client: "Client") -> None:
        found = await client.status()
        if as_json:
            _print(found)
            return
        from pivot.statusview import show_status

        show_status(found, client.url)

    _with_client(url, run)


def followers(
    *,
    complete: Annotated[
        bool, Parameter(negative="", help="Say that these are all there are: tombstones may be collected.")
    ] = False,
    remove: Annotated[
        str | None, Parameter(help="Say that this store will not come back: it holds no tombstone any more.")
    ] = None,
    url: Url = LOCAL,
    as_json: Json = False,
) -> None:
    """Show which stores follow a server and how far, or tell it something about them."""

    async def run(client: "Client") -> None:
        if remove is not None:
            await client.remove_follower(remove)
        if complete:
            await client.confirm_followers()
        found = await client.followers()
        if as_json:
            _print([_object(follower) for follower in found])
            return
        from pivot.statusview import show_followers

        show_followers(found)

    _with_client(url, run)


def _with_client(url: str, run: "Callable[[Client], Awaitable[None]]") -> None:
    import trio

    from pivot.client import Client

    async def main() -> None:
        async with Client(url) as client:
            await run(client)

    trio.run(main)


def _write(write: "Callable[[Client], Awaitable[Written]]", *, url: str, as_json: bool) -> int:
    """Let a client write, and print what became of it; returns the exit code."""
    answers: list[Written] = []

    async def run(client: "Client") -> None:
        answers.append(await write(client))

    _with_client(url, run)
    written = answers[0]
    if as_json:
        _print({"index": written.index, "stamp": written.stamp, "acked": written.acked})
    elif written.index:
        _print(written.index)
    if not written.acked:
        print("kept by the server; its leader has not confirmed it yet", file=sys.stderr)
        return 1
    return 0


def _decode(text: str) -> "JsonValue":
    from pivot.core.entry import canonical
    from pivot.errors import MisuseError

    if text.startswith("-") and not text[1:2].isdigit() and text != "-":
        raise MisuseError(f"{text!r} is neither an option nor JSON")
    value: JsonValue = json.loads(canonical(sys.stdin.buffer.read() if text == "-" else os.fsencode(text)))
    return value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _print(value: object) -> None:
    print(_json(value), flush=True)


def _object(item: "Item[JsonValue] | FollowerInfo") -> dict[str, object]:
    return {name: getattr(item, name) for name in item.__struct_fields__}


def _values(state: "JsonValue") -> "JsonValue":
    """Of a state as the server sends it, what a person wants: key -> value, or the value."""
    if isinstance(state, list):
        return {str(entry["path"]): entry["data"] for entry in state if isinstance(entry, dict)}
    return state["data"] if isinstance(state, dict) else state
