"""Operator routes: what those who run a member ask it, and the two things they can tell it about its followers.

Layer: server.

    GET /_pivot/status               what it is and holds
    GET /_pivot/conflicts            the newest lost updates: which version won, and which its writer had not seen
    POST /_pivot/followers/complete  the followers that status shows are all there are: tombstones may be collected
    DELETE /_pivot/followers/STORE   this store will not come back: it holds no tombstone any more
"""

from http import HTTPStatus

import msgspec
from quart import Response
from quart_trio import QuartTrio

from pivot.actors.ref import Ref
from pivot.core.entry import Entry
from pivot.core.questions import ConfirmFollowers, Decommission, Retained
from pivot.replies import Item
from pivot.server.answers import ASK_DEADLINE_S, answering_errors, json_response
from pivot.server.items import item
from pivot.server.status import StatusBoard
from pivot.server.stores import Stores
from pivot.transport.http_server import error_response
from pivot.types import StoreId


class Version(msgspec.Struct, frozen=True):
    """One version of an entry: its stamp (ns), the store that wrote it, and what it is; a deleted one is no value."""

    stamp: int
    origin: StoreId
    deleted: bool
    entry: Item[msgspec.Raw]


class LostUpdate(msgspec.Struct, frozen=True):
    """Of two versions whose writers had not seen each other, which won and which was superseded."""

    key: str
    winner: Version
    loser: Version


def add_operator_routes(app: QuartTrio, stores: Stores, board: StatusBoard) -> None:
    """Serve the operator of one server."""

    @app.get("/_pivot/status")
    @answering_errors
    async def status() -> Response:
        return json_response(await board.status(deadline_s=ASK_DEADLINE_S))

    @app.get("/_pivot/conflicts")
    async def conflicts() -> Response:
        lost = board.lost_updates()
        return json_response([LostUpdate(each.winner.key, _shown(each.winner), _shown(each.loser)) for each in lost])

    @app.post("/_pivot/followers/complete")
    @answering_errors
    async def complete() -> Response:
        for member in stores.members:
            await Ref(member).ask(ConfirmFollowers(), deadline_s=ASK_DEADLINE_S)
        return Response(b"", status=HTTPStatus.NO_CONTENT)

    @app.delete("/_pivot/followers/<store>")
    @answering_errors
    async def decommission(store: str) -> Response:
        changed = 0
        for member in stores.members:
            done = await Ref(member).ask(Decommission(StoreId(store)), deadline_s=ASK_DEADLINE_S)
            assert isinstance(done, Retained), done
            changed += done.changed
        if not changed:
            return error_response(HTTPStatus.NOT_FOUND, f"store {store[:80]!r} does not follow this member")
        return Response(b"", status=HTTPStatus.NO_CONTENT)


def _shown(entry: Entry) -> Version:
    return Version(entry.stamp, entry.origin, entry.deleted, item(entry))
