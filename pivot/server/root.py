"""Root: what a server says of itself at `GET /`: in JSON to programs, as a page to people.

Layer: server.

    GET /?api=keys&page=&limit=&filter=    names of live entries that contain a text, in order, a page of them
    GET /?api=info                         what it is
    GET /?api=state                        who is subscribed to what
    GET /?api=filters                      what is filtered

Without `api` it is the page (see `page.py`) for who asks for HTML, and the keys for everybody else.
"""

from importlib.metadata import version
from typing import Final

import msgspec
from quart import Response, request
from quart_trio import QuartTrio

from pivot.errors import BadQueryError
from pivot.server.answers import answering_errors, argument, json_response
from pivot.server.desk import Desk
from pivot.server.filters import FilterInfo, Filters
from pivot.server.hub import Hub
from pivot.server.page import page_response, wants_html
from pivot.server.status import role_of
from pivot.server.stores import Stores
from pivot.types import Epoch, MemberId, StoreId

PAGE_KEYS_MAX: Final = 1000
"""Most keys in one answer."""
PAGE_MAX: Final = 10**9 - 1
_PAGE_KEYS: Final = 100


class KeysPage(msgspec.Struct, frozen=True):
    """Some of the names of live entries, in order; the first page is 1. `total` is how many there are on all pages."""

    keys: tuple[str, ...]
    page: int
    limit: int
    total: int
    filter: str


class Info(msgspec.Struct, frozen=True):
    """What a server is.

    Attributes:
        package: version of this software.
        role: `pivot`, `node` or `mixed`.
        member: how peers call it.
        store: id of its store.
        epoch: life of its store.
        keys: what is replicated.
        nodesKey: glob under which nodes register; empty = none.
    """

    package: str
    role: str
    member: MemberId
    store: StoreId
    epoch: Epoch
    keys: tuple[str, ...]
    nodesKey: str  # noqa: N815 - the original's name


class Pool(msgspec.Struct, frozen=True):
    """A key or glob, and how many are subscribed to it."""

    key: str
    connections: int


class State(msgspec.Struct, frozen=True):
    """Who is subscribed; the names are the original's."""

    pools: tuple[Pool, ...]
    totalConnections: int  # noqa: N815 - the original's name


class FiltersInfo(msgspec.Struct, frozen=True):
    """What is filtered: keys and globs, each once; every filter; and whether nothing else is served."""

    paths: tuple[str, ...]
    filters: tuple[FilterInfo, ...]
    static: bool


def add_root_route(app: QuartTrio, desk: Desk, hub: Hub) -> None:
    """Serve `GET /` of one server."""
    stores = desk.stores

    @app.get("/")
    @answering_errors
    async def root() -> Response:
        if "api" not in request.args and wants_html():
            return page_response("page.html")
        page, limit = _number("page", 1, PAGE_MAX), _number("limit", _PAGE_KEYS, PAGE_KEYS_MAX)
        match "keys" if (api := argument("api")) is None else api:
            case "keys":
                return json_response(await _keys(stores, page, limit))
            case "info":
                return json_response(_info(stores))
            case "state":
                pools = tuple(Pool(pattern, count) for pattern, count in hub.statistics().items())
                return json_response(State(pools, sum(pool.connections for pool in pools)))
            case "filters":
                return json_response(_filters(desk.filters))
            case other:
                raise BadQueryError("api", other, "keys, info, state or filters")


def _info(stores: Stores) -> Info:
    config, member = stores.config, stores.own
    return Info(
        package=version("pivot-trio"),
        role=role_of(config),
        member=member.id,
        store=member.store,
        epoch=member.epoch,
        keys=config.collections(),
        nodesKey=config.nodes_key,
    )


def _filters(filters: Filters) -> FiltersInfo:
    known = filters.known()
    return FiltersInfo(tuple(dict.fromkeys(each.path for each in known)), known, filters.static)


async def _keys(stores: Stores, page: int, limit: int) -> KeysPage:
    containing = argument("filter") or ""
    found = await stores.keys(containing)
    return KeysPage(found[(page - 1) * limit : page * limit], page, limit, len(found), containing)


def _number(name: str, default: int, most: int) -> int:
    text = argument(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= most:
        raise BadQueryError(name, text, f"a whole number of 1 to {most}")
    return number
