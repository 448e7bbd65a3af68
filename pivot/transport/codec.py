"""Codec: envelopes to bytes and back; the border at which a peer's bytes are believed or refused.

Layer: transport. One envelope is one line of JSON (UTF-8, no newline inside), in HTTP bodies, in NDJSON streams and in
the simulator alike. Start at `decode`, which states everything that is refused.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pivot.core.digest import BUCKETS
from pivot.core.entry import Entry, check_entry
from pivot.core.messages import (
    COLLECTIONS_MAX,
    PROTOCOL,
    ROWS_MAX,
    Digest,
    Envelope,
    Glimpse,
    Hello,
    Page,
    Push,
    PushAck,
    Repair,
)
from pivot.errors import BadEnvelopeError, PivotError, UnknownVersionError

ENVELOPE_BYTES_MAX: Final = 4 * 2**20
"""Longest encoded envelope: a page of 1 MiB of values, every character escaped, and room for one large value."""


class _Version(msgspec.Struct, frozen=True, gc=False):
    version: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)
_version_decoder = msgspec.json.Decoder(_Version)


def encode(envelope: Envelope) -> bytes:
    """One line without its newline."""
    return _encoder.encode(envelope)


def decode(line: bytes) -> Envelope:
    """The envelope that a peer wrote.

    Raises:
        BadEnvelopeError: it is longer than `ENVELOPE_BYTES_MAX`, not JSON, lacks a field, has an unknown one or one
            twice, a value of the wrong type or out of range, too many rows, or an entry that contradicts itself.
        UnknownVersionError: its message version is not `PROTOCOL`.
    """
    if len(line) > ENVELOPE_BYTES_MAX:
        raise BadEnvelopeError(f"envelope has {len(line)} bytes, at most {ENVELOPE_BYTES_MAX} are allowed")
    try:
        envelope = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _check_version(line)
        raise BadEnvelopeError(f"envelope is malformed: {error}") from None
    if envelope.version != PROTOCOL:
        raise UnknownVersionError(envelope.version, (PROTOCOL, PROTOCOL))
    if _encoder.encode(envelope) != line:
        _check_duplicates(line)
    _check_body(envelope)
    return envelope


def _check_version(line: bytes) -> None:
    """Say first that the version is unknown: then nothing else about the envelope can be judged."""
    try:
        version = _version_decoder.decode(line).version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if version != PROTOCOL:
        raise UnknownVersionError(version, (PROTOCOL, PROTOCOL))


def _check_duplicates(line: bytes) -> None:
    """Refuse a field that is there twice. Only lines that our own encoder would have written otherwise come here."""

    def distinct(pairs: Sequence[tuple[str, Any]]) -> None:
        names: dict[str, None] = {}
        for name, _ in pairs:
            if name in names:
                raise BadEnvelopeError(f"envelope has the field {name!r} twice")
            names[name] = None

    json.loads(line, object_pairs_hook=distinct)


def _check_body(envelope: Envelope) -> None:
    body = envelope.body
    match body:
        case Hello() if len(body.collections) > COLLECTIONS_MAX:
            raise BadEnvelopeError(f"hello names {len(body.collections)} collections, at most {COLLECTIONS_MAX} may be")
        case Page() if len(body.entries) != len(body.seqs):
            raise BadEnvelopeError(f"page has {len(body.entries)} entries and {len(body.seqs)} sequence numbers")
        case Page() if not 0 <= body.since <= body.next <= body.head:
            raise BadEnvelopeError(f"page goes from {body.since} to {body.next} of {body.head}")
        case Glimpse() if len(body.entries) != len(body.acks):
            raise BadEnvelopeError(f"glimpse has {len(body.entries)} entries and {len(body.acks)} numbers")
        case Glimpse() if not 0 <= body.since <= body.next <= body.head:
            raise BadEnvelopeError(f"glimpse goes from {body.since} to {body.next} of {body.head}")
        case Repair() if len(body.entries) != len(body.seqs):
            raise BadEnvelopeError(f"repair has {len(body.entries)} entries and {len(body.seqs)} sequence numbers")
        case Repair() if len(body.buckets) > BUCKETS:
            raise BadEnvelopeError(f"repair names {len(body.buckets)} buckets, there are {BUCKETS}")
        case Repair() if max(body.buckets, default=0) >= BUCKETS:
            raise BadEnvelopeError(f"repair names bucket {max(body.buckets)}, there are {BUCKETS}, from 0")
        case Digest() if len(body.sums) != BUCKETS:
            raise BadEnvelopeError(f"digest has {len(body.sums)} sums, there are {BUCKETS} buckets")
        case PushAck() if (rows := len(body.acks) + len(body.rejected)) > ROWS_MAX:
            raise BadEnvelopeError(f"push_ack has {rows} rows, at most {ROWS_MAX} are allowed")
        case _:
            pass
    if isinstance(body, Page | Push | Repair | Glimpse):
        if len(body.entries) > ROWS_MAX:
            raise BadEnvelopeError(f"message has {len(body.entries)} rows, at most {ROWS_MAX} are allowed")
        _check_entries(body.entries)
    if isinstance(body, PushAck):
        _check_entries(tuple(row.instead for row in body.rejected if row.instead is not None))


def _check_entries(entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        try:
            check_entry(entry)
        except PivotError as error:
            raise BadEnvelopeError(str(error)) from None
