"""Data routes: REST on keys and globs.

Layer: server. Handlers decode and judge, then ask storage, which finishes what it was asked even when the client hangs
up and the handler is cancelled. Conventions as in the original (`ooo`); see the README for the table.
Start at `add_data_routes`.
"""

from http import HTTPStatus
from math import nan
from typing import Final

from quart import Response
from quart_trio import QuartTrio

from pivot.core.entry import canonical
from pivot.core.patching import VALUE_BYTES_MAX
from pivot.core.questions import Written
from pivot.errors import BadQueryError
from pivot.paths import check_key, check_list, check_pattern, is_glob, last_segment
from pivot.server.answers import answering_errors, argument, json_response
from pivot.server.desk import Desk
from pivot.server.encoding import read_value
from pivot.server.stores import Stores
from pivot.transport.http_server import JSON, error_response

STAMP_HEADER: Final = "X-Pivot-Stamp"
"""Response header of a write: the stamp it was given, ns; two writes compare by it."""
ACK_TIMEOUT_S: Final = 5.0
"""How long a client that wants its leader's confirmation waits, unless it says otherwise."""
ACK_TIMEOUT_S_MAX: Final = 60.0


def add_data_routes(app: QuartTrio, desk: Desk) -> None:
    """Serve the keys of one server."""
    stores = desk.stores

    @app.post("/<path:key>")
    @answering_errors
    async def post(key: str) -> Response:
        write = desk.push if is_glob(key) else desk.put
        check_list(key) if is_glob(key) else check_key(key)
        patience_s = _ack_timeout_s(stores, key)
        value = canonical(await read_value(VALUE_BYTES_MAX))
        return await _written(stores, await write(key, value), patience_s)

    @app.patch("/<path:key>")
    @answering_errors
    async def patch(key: str) -> Response:
        check_key(key)
        patience_s = _ack_timeout_s(stores, key)
        written = await desk.patch(key, canonical(await read_value(VALUE_BYTES_MAX)))
        return await _written(stores, written, patience_s) if written.keys else _absent(key)

    @app.get("/<path:key>")
    @answering_errors
    async def get(key: str) -> Response:
        found = await desk.read(check_pattern(key))
        return _absent(key) if found is None else Response(found + b"\n", content_type=JSON)

    @app.delete("/<path:key>")
    @answering_errors
    async def delete(key: str) -> Response:
        patience_s = _ack_timeout_s(stores, check_pattern(key))
        result = await desk.remove(key)
        if not result.keys and not is_glob(key):
            return _absent(key)
        if await _confirmed(stores, result, patience_s):
            return _stamped(Response(b"", status=HTTPStatus.NO_CONTENT), result)
        return _stamped(json_response({"index": "", "acked": False}, HTTPStatus.ACCEPTED), result)


async def _written(stores: Stores, written: Written, patience_s: float | None) -> Response:
    """The answer to a write of one entry."""
    index = last_segment(written.keys[0])
    if await _confirmed(stores, written, patience_s):
        return _stamped(json_response({"index": index}), written)
    return _stamped(json_response({"index": index, "acked": False}, HTTPStatus.ACCEPTED), written)


def _absent(key: str) -> Response:
    return error_response(HTTPStatus.NOT_FOUND, f"key {key!r} is not here")


def _stamped(response: Response, written: Written) -> Response:
    response.headers[STAMP_HEADER] = str(written.stamp)
    return response


def _ack_timeout_s(stores: Stores, pattern: str) -> float | None:
    """How long the client wants to wait for the leader (`?ack=leader&timeout=5`); None = it does not.

    Raises:
        BadQueryError: there is no such confirmation, or no such time.
        BadKeyError: the key has no leader.
    """
    text = argument("timeout")
    if text is None:
        text = str(ACK_TIMEOUT_S)
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = nan
    if not 0 <= timeout_s <= ACK_TIMEOUT_S_MAX:
        raise BadQueryError("timeout", text, f"0 to {ACK_TIMEOUT_S_MAX:g} s")
    ack = argument("ack")
    if ack is None:
        return None
    if ack != "leader":
        raise BadQueryError("ack", ack, "leader")
    stores.check_has_leader(pattern)
    return timeout_s


async def _confirmed(stores: Stores, written: Written, patience_s: float | None) -> bool:
    return patience_s is None or await stores.wait_confirmed(written, timeout_s=patience_s)
