"""The server's side of `HttpTransport`: three routes of a Quart application.

Layer: transport. Everything a peer sends is judged by the codec before it changes anything; what is refused gets a 4xx
with the reason in one line.
"""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec.structs import replace
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import RequestEntityTooLarge

from pivot.config import NAME_MAX
from pivot.core.entry import Entry
from pivot.core.messages import Envelope, Hello, Peek, Push, Refused, RowRefused, Welcome
from pivot.errors import BadEnvelopeError, PeerError
from pivot.legacy.objects import ORIGIN
from pivot.transport.codec import decode
from pivot.transport.http import ENVELOPES_PATH, NDJSON, PEEK_PATH, POST_BYTES_MAX, STREAM_PATH, HttpTransport, stream

JSON: Final = "application/json"


def error_response(status: HTTPStatus, reason: str) -> Response:
    """An answer that says no, and why: `{"error": reason}`."""
    body = msgspec.json.encode({"error": reason}) + b"\n"
    return Response(body, status=status, content_type=JSON)


async def read_body(bytes_max: int) -> bytes:
    """The body of the request at hand, whole.

    Raises:
        RequestEntityTooLarge: it has more than `bytes_max` bytes, or says so (status 413).
    """
    too_large = RequestEntityTooLarge(f"body has more than {bytes_max} bytes, which is the limit here")
    if (request.content_length or 0) > bytes_max:
        raise too_large
    body = bytearray()
    try:
        async for part in request.body:
            body += part
            if len(body) > bytes_max:
                raise too_large
    except RequestEntityTooLarge:  # or Quart's, which says no limit
        raise too_large from None
    return bytes(body)


def _other_type() -> Response | None:
    """The answer to a body that does not say that it is envelopes, such as one that a web page made a browser send."""
    if request.mimetype == NDJSON:
        return None
    reason = f"content type is {request.mimetype!r}, it must be {NDJSON}"
    return error_response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)


def _judge(line: bytes) -> Envelope:
    """The envelope that a node wrote.

    Raises:
        PeerError: see `decode`; or its sender is called like an address, which is what we call our leader, or like
            what stands for a peer of the original.
    """
    envelope = decode(line)
    if envelope.sender.startswith(ORIGIN):
        raise BadEnvelopeError(f"sender is {envelope.sender[:NAME_MAX]!r}, but names that begin so are not for peers")
    if not 0 < len(envelope.sender) <= NAME_MAX or "://" in envelope.sender:
        shown = envelope.sender[:NAME_MAX]
        raise BadEnvelopeError(f"sender is {shown!r}, it must be a name of 1 to {NAME_MAX} characters, no address")
    return envelope


def _about(envelope: Envelope) -> tuple[str, ...]:
    """The collections that an envelope is about."""
    match envelope.body:
        case Hello() as hello:
            return hello.collections
        case Welcome() | Refused():
            return ()
        case body:
            return (body.collection,)


def add_transport_routes(
    app: QuartTrio,
    transport: HttpTransport,
    others: Mapping[str, HttpTransport] | None = None,
    judge: Callable[[Iterable[Entry]], tuple[RowRefused, ...]] = lambda _: (),
) -> None:
    """Let nodes reach the members of a server.

    Args:
        app: gets the routes.
        transport: of the member that takes what the others do not.
        others: collection -> transport of another member, which keeps it; may change.
        judge: says which versions that a node pushes are not wanted here.
    """

    def takers(envelope: Envelope) -> list[HttpTransport]:
        return list(dict.fromkeys((others or {}).get(path, transport) for path in _about(envelope))) or [transport]

    def judged_by_filters(envelope: Envelope) -> Envelope:
        push = envelope.body
        if not isinstance(push, Push):
            return envelope
        return replace(envelope, body=replace(push, refused=judge(push.entries)))

    @app.post(STREAM_PATH)
    async def open_stream() -> Response:
        refusal = _other_type()
        if refusal is not None:
            return refusal
        line = await read_body(POST_BYTES_MAX)
        try:
            hello = _judge(line.strip())
            if not isinstance(hello.body, Hello):
                raise BadEnvelopeError("a stream begins with a hello")
        except PeerError as error:
            return error_response(HTTPStatus.BAD_REQUEST, str(error))

        response = Response(stream(takers(hello), hello), content_type=NDJSON)
        response.timeout = None
        return response

    @app.post(PEEK_PATH)
    async def peek() -> Response:
        refusal = _other_type()
        if refusal is not None:
            return refusal
        line = await read_body(POST_BYTES_MAX)
        try:
            envelope = _judge(line.strip())
            if not isinstance(envelope.body, Peek):
                raise BadEnvelopeError(f"a {envelope.body.__struct_config__.tag} is no peek")
        except PeerError as error:
            return error_response(HTTPStatus.BAD_REQUEST, str(error))
        answer = await takers(envelope)[0].answer_peek(envelope, envelope.body.ordinal)
        if not answer:
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "this member has nothing to show now")
        return Response(answer, content_type=NDJSON)

    @app.post(ENVELOPES_PATH)
    async def envelopes() -> Response:
        refusal = _other_type()
        if refusal is not None:
            return refusal
        body = await read_body(POST_BYTES_MAX)
        try:
            # All are judged before the first is taken: a refused post changes nothing.
            judged = [_judge(line) for line in body.split(b"\n") if line]
        except PeerError as error:
            return error_response(HTTPStatus.BAD_REQUEST, str(error))
        for envelope in judged:
            takers(envelope)[0].deliver(judged_by_filters(envelope))
        return Response(b"", status=HTTPStatus.NO_CONTENT)
