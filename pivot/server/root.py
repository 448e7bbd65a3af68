"""Root: what a server says of itself at `GET /`, in JSON.

Layer: server.

    GET /?api=keys&page=&limit=&filter=    names of live entries that contain a text, in order, a page of them
    GET /?api=info                         what it is
    GET /?api=state                        who is subscribed to what
    GET /?api=filters                      what is filtered

Without `api` it is the keys.
"""

from importlib.metadata import version
from typing import Final

import msgspec
from quart import Response, request
from quart_trio import QuartTrio

from pivot.errors import BadQueryError
from pivot.server.answers import answering_errors, json_response
from pivot.server.desk import Desk
from pivot.server.filters import FilterInfo, Filters
from pivot.server.hub import Hub
from pivot.server.status import role_of
from pivot.server.stores import Stores
from pivot.types import Epoch, MemberId, StoreId

PAGE_KEYS_MAX: Final = 1000
"""Most keys in one answer."""
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
    """

    package: str
    role: str
    member: MemberId
    store: StoreId
    epoch: Epoch
    keys: tuple[str, ...]


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
        match request.args.get("api", "keys"):
            case "keys":
                return json_response(await _keys(stores))
            case "info":
                config, member = stores.config, stores.own
                package = version("pivot-trio")
                role = role_of(config)
                return json_response(Info(package, role, member.id, member.store, member.epoch, config.collections()))
            case "state":
                pools = tuple(Pool(pattern, count) for pattern, count in hub.statistics().items())
                return json_response(State(pools, sum(pool.connections for pool in pools)))
            case "filters":
                return json_response(_filters(desk.filters))
            case other:
                raise BadQueryError("api", other, "keys, info, state or filters")


def _filters(filters: Filters) -> FiltersInfo:
    known = filters.known()
    return FiltersInfo(tuple(dict.fromkeys(each.path for each in known)), known, filters.static)


async def _keys(stores: Stores) -> KeysPage:
    page = _number("page", 1, None)
    limit = _number("limit", _PAGE_KEYS, PAGE_KEYS_MAX)
    containing = request.args.get("filter", "")
    found = await stores.keys(containing)
    return KeysPage(found[(page - 1) * limit : page * limit], page, limit, len(found), containing)


def _number(name: str, default: int, most: int | None) -> int:
    text = request.args.get(name, "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0 if text else default
    if number < 1 or (most is not None and number > most):
        raise BadQueryError(name, text, f"a whole number of 1 to {most}" if most else "a whole number of at least 1")
    return number
