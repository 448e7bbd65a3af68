"""Cluster routes: how peers of the original read and write the collections of this member, and call it to pull.

Layer: server.

    GET /_pivot/pivot, /_pivot/synchronize/pivot   have what our leaders have; `?key=` one collection; 400 at a leader
    GET /_pivot/synchronize/node                   likewise, and give them what they lack
    GET /_pivot/activity/KEY                       greatest stamp of a collection, tombstones included
    GET /_pivot/pivot/KEY                          its entry, or all of its entries, oldest first
    POST /_pivot/pivot/KEY[/INDEX]                 merge a version of one entry; an older one is ignored
    DELETE /_pivot/pivot/KEY[/INDEX]/TIME          delete one entry as of that time, ns; an earlier one is ignored
    GET /_pivot/version                            what we speak

A write says with `X-Pivot-Originator: ip:port` who made it. Start at `add_cluster_routes`.
"""

import re
from http import HTTPStatus
from typing import Final

from quart import Response, request
from quart_trio import QuartTrio

from pivot.actors.ref import Ref
from pivot.core.entry import Entry
from pivot.core.patching import VALUE_BYTES_MAX
from pivot.core.questions import CollectionInfo, Merged, MergePushed
from pivot.errors import BadKeyError, BadQueryError
from pivot.legacy.activities import Activities
from pivot.legacy.objects import OBJECT_BYTES, base_of, entry_of, tombstone_of
from pivot.legacy.rest import NOT_FOUND_TEXT, ORIGINATOR_HEADER
from pivot.paths import check_key, is_glob, matches
from pivot.server.answers import ASK_DEADLINE_S, answering_errors, argument, json_response
from pivot.server.desk import Desk
from pivot.server.encoding import read_value
from pivot.server.items import item
from pivot.server.pulling import Puller
from pivot.server.stores import Stores
from pivot.transport.http_server import error_response
from pivot.transport.version import VERSION_PATH, our_version

_ORIGINATOR = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}", re.ASCII)
_DIGITS_MAX: Final = 19


def add_cluster_routes(app: QuartTrio, desk: Desk, puller: Puller, activities: Activities) -> None:
    """Serve peers of the original."""
    stores = desk.stores

    @app.get(VERSION_PATH)
    async def say_version() -> Response:
        return json_response(our_version(stores.own.id, stores.config.protocols))

    _add_triggers(app, stores, puller)
    if "2.0" in stores.config.protocols:
        _add_data(app, desk, activities)


def _add_triggers(app: QuartTrio, stores: Stores, puller: Puller) -> None:
    @app.get("/_pivot/pivot")
    @app.get("/_pivot/synchronize/pivot")
    @answering_errors
    async def pull_now() -> Response:
        paths = _wanted(stores, puller)
        if not paths:
            return _leads()
        await puller.pull(paths)
        return Response(b"", status=HTTPStatus.OK)

    @app.get("/_pivot/synchronize/node")
    @answering_errors
    async def exchange_now() -> Response:
        if not puller.followed:
            return _leads()
        await puller.exchange(puller.followed)
        return Response(b"", status=HTTPStatus.OK)


def _add_data(app: QuartTrio, desk: Desk, activities: Activities) -> None:
    stores = desk.stores

    @app.get("/_pivot/activity/<path:name>")
    @answering_errors
    async def activity(name: str) -> Response:
        path = _collection(stores, name)
        if path is None:
            return _unknown(name)
        return json_response({"lastEntry": activities.of(path, (await _info(stores, path)).newest)})

    @app.get("/_pivot/pivot/<path:name>")
    @answering_errors
    async def read_collection(name: str) -> Response:
        path = _collection(stores, name)
        if path is None:
            return _unknown(name)
        found = await stores.read(path)
        if is_glob(path):
            return json_response([item(entry) for entry in reversed(found)])
        if not found:
            return Response(NOT_FOUND_TEXT, status=HTTPStatus.INTERNAL_SERVER_ERROR, content_type="text/plain")
        return json_response(item(found[0]))

    @app.post("/_pivot/pivot/<path:key>")
    @answering_errors
    async def merge_object(key: str) -> Response:
        path = _home(stores, key)
        if path is None:
            return _unknown(key)
        writer = _originator()
        body = await read_value(VALUE_BYTES_MAX + OBJECT_BYTES)
        return await _merge(desk, path, entry_of(body, key=key, writer=writer))

    @app.delete("/_pivot/pivot/<path:key_and_time>")
    @answering_errors
    async def merge_delete(key_and_time: str) -> Response:
        key, _, time = key_and_time.rpartition("/")
        if is_glob(key_and_time):
            raise BadKeyError(key, "has *: a delete names one entry, since it may not hit what its writer never saw")
        if not (time.isascii() and time.isdigit() and len(time) <= _DIGITS_MAX):
            raise BadQueryError("time", time, "the nanoseconds of a time, after the last separator")
        path = _home(stores, key)
        if path is None:
            return _unknown(key)
        return await _merge(desk, path, tombstone_of(key, int(time), writer=_originator()))


async def _merge(desk: Desk, path: str, entry: Entry) -> Response:
    """Merge one version of a peer, which cannot say what it had seen."""
    leads = not desk.stores.config.upstreams()[path]
    question = MergePushed(path, None, (entry,), desk.filters.pushed([entry]) if leads else ())
    merged = await Ref(desk.stores.of(path)).ask(question, deadline_s=ASK_DEADLINE_S)
    assert isinstance(merged, Merged), merged
    if not merged.rejected:
        return Response(b"", status=HTTPStatus.OK)
    refused = merged.rejected[0]
    status = HTTPStatus.BAD_REQUEST if refused.ahead else HTTPStatus.CONFLICT
    return error_response(status, f"entry {entry.key!r}: {refused.reason}")


async def _info(stores: Stores, path: str) -> CollectionInfo:
    info = await stores.describe()
    return next(each for each in info.collections if each.path == path)


def _wanted(stores: Stores, puller: Puller) -> tuple[str, ...]:
    """The collections that a call to pull is about; none when we lead them.

    Raises:
        BadQueryError: it names no collection.
    """
    name = argument("key") or ""
    if not name:
        return puller.followed
    path = _collection(stores, name) or (None if is_glob(name) else _home(stores, name))
    if path is None:
        raise BadQueryError("key", name, "a collection: " + ", ".join(stores.config.collections())[:200])
    return tuple({path} & {*puller.followed})


def _collection(stores: Stores, name: str) -> str | None:
    """The collection of this name: `things`, `things/` and `things/*` are one, unless `things` is one by itself."""
    paths = stores.config.collections()
    if name in paths:
        return name
    base = base_of(name.removesuffix("/"))
    return next((path for path in paths if base_of(path) == base and is_glob(path)), None)


def _home(stores: Stores, key: str) -> str | None:
    """The collection that a key belongs to.

    Raises:
        BadKeyError: the key is none.
    """
    check_key(key)
    return next((path for path in stores.config.collections() if matches(path, key)), None)


def _originator() -> str:
    """Who makes this write; empty when it does not say.

    Raises:
        BadQueryError: it says something else.
    """
    text = request.headers.get(ORIGINATOR_HEADER, "")
    if text and not _ORIGINATOR.fullmatch(text):
        raise BadQueryError(ORIGINATOR_HEADER, text, "ip:port")
    return text


def _leads() -> Response:
    return error_response(HTTPStatus.BAD_REQUEST, "this member leads here: there is nobody to pull from")


def _unknown(name: str) -> Response:
    return error_response(HTTPStatus.NOT_FOUND, f"{name[:80]!r} is in no collection of this member")
