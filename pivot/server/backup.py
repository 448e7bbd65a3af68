"""Backup route: everything a running member holds, as one stream that proves itself; see `pivot.engine.dump`.

Layer: server. What is sent is one committed state: the references to all rows are copied at one instant (a millisecond
for 100,000 of them; rows never change), and encoded piece by piece while the member goes on. A reader that is slow, or
goes away, costs the member those references and nothing else.
"""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

from quart import Response
from quart_trio import QuartTrio

from pivot.actors.member import Member
from pivot.core.store import UNREPLICATED
from pivot.engine.dump import FORMAT, Header, Section, Tally, dump
from pivot.errors import NotRunningError
from pivot.server.answers import answering_errors
from pivot.transport.http import NDJSON
from pivot.transport.http_server import error_response

BACKUP_PATH: Final = "/_pivot/backup"
BACKUPS_MAX: Final = 2
"""Most backups of one member under way at a time."""


def add_backup_route(app: QuartTrio, member: Member) -> None:
    """Let an operator take a backup of a running member."""
    under_way = 0

    async def stream() -> AsyncGenerator[bytes, None]:
        nonlocal under_way
        under_way += 1
        try:
            header = Header(FORMAT, member.store, member.epoch, member.now().wall_ns)
            for chunk in dump(header, snapshot(member), Tally()):
                yield chunk
        finally:
            under_way -= 1

    @app.get(BACKUP_PATH)
    @answering_errors
    async def backup() -> Response:
        if under_way >= BACKUPS_MAX:
            reason = f"{under_way} backups are under way, at most {BACKUPS_MAX} may be"
            return error_response(HTTPStatus.TOO_MANY_REQUESTS, reason)
        response = Response(stream(), content_type=NDJSON)
        response.timeout = None
        return response


def snapshot(member: Member) -> list[Section]:
    """All rows of a member as they are committed now; they stay as they are while the member goes on.

    Raises:
        NotRunningError: the member does not run.
    """
    store = member._store  # pyright: ignore[reportPrivateUsage] - there is no question for all rows yet
    if store is None:
        raise NotRunningError(f"member {member.id} does not run")
    collections = [*store.replicated(), store[UNREPLICATED]]
    kept = [
        (c.path, max(c.place.collected, c.retention.collected), tuple(c.rows())) for c in collections
    ]  # all before the first is encoded: one instant
    return [Section(path, collected, (row.entry for row in rows)) for path, collected, rows in kept]
