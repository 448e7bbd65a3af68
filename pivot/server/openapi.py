"""OpenAPI: the document at `/_pivot/openapi.json` that says, for machines, what may be asked and what is answered.

Layer: server. One line a route in `ROUTES`; the shapes of answers are those of the structs that are answered with. What
members say to each other (`/_pivot/stream` and so on) is in `pivot/transport`, and no part of it.
Start at `openapi_document`.
"""

import re
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import msgspec
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from quart import Response
from quart_trio import QuartTrio

from pivot.core.clock import STAMP_MAX
from pivot.legacy.objects import Object
from pivot.paths import KEY_BYTES_MAX
from pivot.replies import Item
from pivot.server.answers import json_response
from pivot.server.backup import BACKUP_PATH
from pivot.server.operating import LostUpdate
from pivot.server.probes import Ready
from pivot.server.root import PAGE_KEYS_MAX, PAGE_MAX, FiltersInfo, Info, KeysPage, State
from pivot.server.roster import NodeStatus
from pivot.server.status import Status
from pivot.transport.http import NDJSON
from pivot.transport.http_server import JSON
from pivot.transport.version import VERSION_PATH, Version

Answer: TypeAlias = Any
"""A type that msgspec can describe, or several of which it is one; a media type; or None when there is no body."""
_Schema: TypeAlias = dict[str, Any]


class Refusal(msgspec.Struct, frozen=True):
    """Why something was not done, in one line."""

    error: str


class Written(msgspec.Struct, frozen=True):
    """What was written: the last segment of its key."""

    index: str


class Unconfirmed(msgspec.Struct, frozen=True):
    """It is kept here, and its leader has not confirmed it in time; several entries have no `index`."""

    index: str
    acked: bool


class Route(msgspec.Struct, frozen=True):
    """One method of one path.

    Attributes:
        method: in lower case.
        path: parameters in braces, which `_PARAMETERS` knows by name, or by method, path and name.
        summary: what it does.
        answers: status -> what the body is. 500 and what `_ALWAYS` has go without saying.
        query: names of its query parameters.
        body: type of the JSON that it takes; None = takes none.
    """

    method: str
    path: str
    summary: str
    answers: dict[int, Answer]
    query: tuple[str, ...] = ()
    body: Answer = None


_WRITE: Final = {202: Unconfirmed, 400: Refusal, 413: Refusal, 415: Refusal}
_READ: Final = {400: Refusal}
_ABSENT: Final = {404: Refusal}
_FOUND: Final = (Item[msgspec.Raw], list[Item[msgspec.Raw]])
_CONFIRMED: Final = ("ack", "timeout")
ROUTES: Final = (
    Route("get", "/", "Names of entries, or what the server is", {200: (KeysPage, Info, State, FiltersInfo), **_READ},
          query=("api", "page", "limit", "filter")),
    Route("get", "/{key}", "An entry, or those that a glob matches", {200: _FOUND, **_READ, **_ABSENT}),
    Route("post", "/{key}", "Create or replace an entry, or push one to a list", {200: Written, **_WRITE},
          query=_CONFIRMED, body=msgspec.Raw),
    Route("patch", "/{key}", "Merge an object into an entry", {200: Written, **_WRITE, **_ABSENT},
          query=_CONFIRMED, body=dict[str, msgspec.Raw]),
    Route("delete", "/{key}", "Delete an entry, or those that a glob matches",
          {204: None, 202: Unconfirmed, **_READ, **_ABSENT}, query=_CONFIRMED),
    Route("get", "/_pivot/status", "What the member is and holds", {200: Status}),
    Route("get", "/_pivot/conflicts", "The newest lost updates, oldest first", {200: list[LostUpdate]}),
    Route("post", "/_pivot/followers/complete", "The known followers are all there are", {204: None}),
    Route("delete", "/_pivot/followers/{store}", "This store will not come back", {204: None, **_ABSENT}),
    Route("get", VERSION_PATH, "What it speaks", {200: Version}),
    Route("get", "/_pivot/pivot", "Pull from our leaders now", {200: None, **_READ}, query=("key",)),
    Route("get", "/_pivot/synchronize/pivot", "Likewise", {200: None, **_READ}, query=("key",)),
    Route("get", "/_pivot/synchronize/node", "Pull, and give them what they lack", {200: None, **_READ}),
    Route("get", "/_pivot/activity/{name}", "Greatest stamp of a collection", {200: dict[str, int], **_ABSENT}),
    Route("get", "/_pivot/pivot/{key}", "All entries of a collection, oldest first, or its one",
          {200: _FOUND, 500: "text/plain", **_ABSENT}),
    Route("post", "/_pivot/pivot/{key}", "Merge a version of an entry", {200: None, **_WRITE, **_ABSENT, 409: Refusal},
          body=Object),
    Route("delete", "/_pivot/pivot/{key}/{time}", "Merge a deletion as of that time, ns",
          {200: None, **_READ, **_ABSENT, 409: Refusal}),
    Route("get", "/_pivot/health/nodes", "Registered nodes, at a leader", {200: list[NodeStatus]}),
    Route("get", "/_pivot/live", "Whether it turns", {200: dict[str, bool]}),
    Route("get", "/_pivot/ready", "Whether it serves", {200: Ready, 503: Ready}),
    Route("get", "/_pivot/metrics", "Numbers for Prometheus", {200: CONTENT_TYPE_PLAIN_0_0_4}),
    Route("get", BACKUP_PATH, "Everything it holds", {200: NDJSON}),
    Route("get", "/_pivot/openapi.json", "This document", {200: dict[str, msgspec.Raw]}),
)  # fmt: skip
_ALWAYS: Final = {429: Refusal, 503: Refusal, 504: Refusal}
"""Too much waits; storage refuses: certainly not done. Not known whether it was done."""

_SEGMENT: Final = r"([A-Za-z0-9_-][A-Za-z0-9._-]*|\.[A-Za-z0-9_-][A-Za-z0-9._-]*|\.\.[A-Za-z0-9._-]+)"
_KEY: Final = f"{_SEGMENT}(/{_SEGMENT})*"
_LIST: Final = f"({_SEGMENT}/)*[*]"
_PATTERN: Final = rf"({_SEGMENT}|[*])(/({_SEGMENT}|[*]))*"


def _text(grammar: str) -> _Schema:
    return {"type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": f"^({grammar})$"}


_PARAMETERS: Final[dict[str, _Schema]] = {
    "get /{key} key": _text(_PATTERN),
    "post /{key} key": _text(f"{_KEY}|{_LIST}"),
    "patch /{key} key": _text(_KEY),
    "delete /{key} key": _text(_PATTERN),
    "post /_pivot/pivot/{key} key": _text(_KEY),
    "time": {"type": "integer", "minimum": 1, "maximum": STAMP_MAX},
    "delete /_pivot/pivot/{key}/{time} key": _text(_KEY),
    "key": _text(_PATTERN),
    "name": _text(_PATTERN),
    "store": {"type": "string", "minLength": 1},
    "api": {"enum": ["keys", "info", "state", "filters"]},
    "page": {"type": "integer", "minimum": 1, "maximum": PAGE_MAX},
    "limit": {"type": "integer", "minimum": 1, "maximum": PAGE_KEYS_MAX},
    "filter": {"type": "string"},
    "ack": {"enum": ["leader"]},
    "timeout": {"type": "number", "minimum": 0, "maximum": 60},
}


@cache
def openapi_document() -> _Schema:
    """The whole document."""
    answers = [answer for route in ROUTES for answer in (*route.answers.values(), *_ALWAYS.values(), route.body)]
    types = [kind for answer in answers for kind in _types(answer)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(map(str, types), schemas, strict=True))
    paths: dict[str, _Schema] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pivot", "version": version("pivot-trio")},
        "paths": paths,
        "components": {"schemas": components},
    }


def _types(answer: Answer) -> tuple[Any, ...]:
    if answer is None or isinstance(answer, str):
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


def _json(answer: Answer, schema_of: dict[str, _Schema]) -> _Schema:
    first, *others = [schema_of[str(kind)] for kind in _types(answer)]
    return {JSON: {"schema": {"anyOf": [first, *others]} if others else first}}


def _operation(route: Route, schema_of: dict[str, _Schema]) -> _Schema:
    named = [("path", name) for name in re.findall(r"{(\w+)}", route.path)] + [("query", name) for name in route.query]
    operation: _Schema = {
        "summary": route.summary,
        "parameters": [
            {
                "name": name,
                "in": where,
                "required": where == "path",
                "schema": _PARAMETERS.get(f"{route.method} {route.path} {name}") or _PARAMETERS[name],
            }
            for where, name in named
        ],
        "responses": {
            str(status): _response(status, answer, schema_of)
            for status, answer in sorted({**_ALWAYS, **route.answers}.items())
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(route.body, schema_of)}
    return operation


def _response(status: int, answer: Answer, schema_of: dict[str, _Schema]) -> _Schema:
    described: _Schema = {"description": HTTPStatus(status).phrase}
    if isinstance(answer, str):
        described["content"] = {answer: {}}
    elif answer is not None:
        described["content"] = _json(answer, schema_of)
    return described


def add_openapi_route(app: QuartTrio) -> None:
    """Serve the document."""

    @app.get("/_pivot/openapi.json")
    async def openapi() -> Response:
        return json_response(openapi_document())
