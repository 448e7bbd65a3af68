"""Encoding: gzip both ways, and the headers that let web pages of any origin use the data routes (CORS).

Layer: server. What a client sends is unpacked piece by piece up to the limit, so that a small body cannot become a huge
one. Start at `read_value` and `add_encoding`.
"""

import gzip
import zlib
from http import HTTPStatus
from typing import Final

import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from pivot.errors import BadValueError
from pivot.transport.http_server import read_body

GZIP_BYTES_MIN: Final = 1024
"""Shorter answers are sent as they are."""
_THREAD_BYTES_MIN: Final = 128 * 1024
"""Longer ones are packed in a thread, so that others do not wait for them."""
_LEVEL: Final = 5
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_CLUSTER_ROUTES: Final = "/_pivot/"
_CORS: Final = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "X-Pivot-Stamp"}
_CORS_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Content-Encoding, Authorization",
    "Access-Control-Max-Age": "600",
}


async def read_value(bytes_max: int) -> bytes:
    """The body of the request at hand, unpacked.

    Raises:
        RequestEntityTooLarge: it has more than `bytes_max` bytes, packed or unpacked (status 413).
        UnsupportedMediaType: it is packed, and not with gzip (status 415).
        BadValueError: it is missing, or is no gzip.
    """
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise UnsupportedMediaType(f"content encoding is {coding[:40]!r}, it must be gzip or none")
    body = await read_body(bytes_max)
    if coding != "identity":
        body = _unpacked(body, bytes_max)
    if not body.strip():
        raise BadValueError("is missing: the body is empty")
    return body


def _unpacked(body: bytes, bytes_max: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        result = unpacker.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise BadValueError(f"is not gzip: {error}") from None
    if len(result) > bytes_max:
        raise RequestEntityTooLarge(f"body has more than {bytes_max} bytes when unpacked, which is the limit here")
    if not unpacker.eof:
        raise BadValueError("is not gzip: its end is missing")
    if unpacker.unused_data:
        raise BadValueError(f"has {len(unpacker.unused_data)} bytes after the end of its gzip")
    return result


def add_encoding(app: QuartTrio) -> None:
    """Pack long answers for clients that take gzip, and let web pages read those of the data routes."""

    @app.after_request
    async def encode(response: Response) -> Response:
        size = response.headers.get("Content-Length")  # a stream has none, and goes as it comes
        if size is not None and int(size) >= GZIP_BYTES_MIN and response.status_code == HTTPStatus.OK:
            await _pack(response)
        if not request.path.startswith(_CLUSTER_ROUTES):
            response.headers.update(_CORS)
            if request.method == "OPTIONS":
                response.headers.update(_CORS_PREFLIGHT)
        return response


async def _pack(response: Response) -> None:
    response.headers.add("Vary", "Accept-Encoding")
    if request.accept_encodings.best_match(["gzip", "identity"]) != "gzip":
        return
    body = await response.get_data(as_text=False)
    if len(body) < _THREAD_BYTES_MIN:
        packed = gzip.compress(body, _LEVEL, mtime=0)
    else:
        packed = await trio.to_thread.run_sync(lambda: gzip.compress(body, _LEVEL, mtime=0))
    response.set_data(packed)
    response.headers["Content-Encoding"] = "gzip"
