"""Codec: every envelope comes back as it was, and whatever else a peer writes is refused by name."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pivot.core.digest import BUCKETS
from pivot.core.entry import Entry, canonical
from pivot.core.messages import (
    COLLECTIONS_MAX,
    PROTOCOL,
    ROWS_MAX,
    Ack,
    Digest,
    Envelope,
    Gone,
    Hello,
    Message,
    Page,
    Push,
    PushAck,
    Refused,
    Repair,
    Reset,
    RowAck,
    RowRejected,
    Stale,
    Subscribe,
    Welcome,
)
from pivot.errors import BadEnvelopeError, PeerError, UnknownVersionError
from pivot.transport.codec import ENVELOPE_BYTES_MAX, decode, encode
from pivot.types import Address, Epoch, MemberId, StoreId
from tests.core.builders import A, entry, page, push, row_ack

NUMBERS = st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NAMES = st.tuples() | st.lists(TEXTS, max_size=3).map(tuple)
EPOCHS = TEXTS.map(Epoch)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    created = draw(st.integers(1, 2**62))
    updated = draw(st.just(0) | st.integers(created + 1, 2**63 - 1))
    deleted = draw(st.booleans())
    data = "" if deleted else canonical(json.dumps(draw(JSON)))
    prev = draw(st.none() | NUMBERS)
    return Entry("users/a", created, updated, data, deleted, prev, StoreId(draw(TEXTS)))


@st.composite
def pages(draw: st.DrawFn) -> Page:
    rows = draw(st.lists(entries(), max_size=3))
    since, end, head = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    seqs = tuple(draw(NUMBERS) for _ in rows)
    numbers = draw(st.tuples(NUMBERS, NUMBERS, NUMBERS))
    return Page(
        draw(TEXTS), draw(EPOCHS), since, tuple(rows), seqs, end, head, *numbers, draw(st.booleans()), draw(TEXTS)
    )


@st.composite
def repairs(draw: st.DrawFn) -> Repair:
    rows = draw(st.lists(entries(), max_size=3))
    buckets = draw(st.lists(st.integers(0, BUCKETS - 1), max_size=3))
    return Repair(draw(TEXTS), draw(EPOCHS), tuple(buckets), tuple(rows), tuple(draw(NUMBERS) for _ in rows))


ROW_ACKS = st.lists(st.builds(RowAck, TEXTS, TEXTS, NUMBERS), max_size=3).map(tuple)
REJECTED = st.lists(
    st.builds(RowRejected, TEXTS, TEXTS, TEXTS, st.booleans(), st.integers(0, 2**63 - 1), st.booleans()), max_size=3
).map(tuple)
BODIES: dict[type[Message], st.SearchStrategy[Message]] = {
    Hello: st.builds(
        Hello, st.tuples(st.integers(0, 9), st.integers(0, 9)), TEXTS, st.integers(-1, 2**63), NAMES, st.booleans()
    ),
    Welcome: st.builds(Welcome, st.integers(0, 9), TEXTS, st.integers(-1, 2**63), NAMES),
    Refused: st.builds(Refused, TEXTS),
    Subscribe: st.builds(Subscribe, TEXTS, EPOCHS, NUMBERS, st.booleans()),
    Reset: st.builds(Reset, TEXTS, EPOCHS, EPOCHS),
    Page: pages(),
    Ack: st.builds(Ack, TEXTS, EPOCHS, NUMBERS, st.booleans()),
    Push: st.builds(Push, TEXTS, NUMBERS, EPOCHS, NUMBERS, st.lists(entries(), max_size=3).map(tuple)),
    PushAck: st.builds(PushAck, TEXTS, NUMBERS, EPOCHS, ROW_ACKS, REJECTED),
    Gone: st.builds(Gone, TEXTS, EPOCHS, NUMBERS, NUMBERS),
    Stale: st.builds(Stale, TEXTS, NUMBERS, EPOCHS, NUMBERS, NUMBERS),
    Digest: st.builds(Digest, TEXTS, EPOCHS, NUMBERS, TEXTS.map(lambda text: (text,) * BUCKETS)),
    Repair: repairs(),
}


def enveloped(body: Message) -> Envelope:
    return Envelope(PROTOCOL, MemberId("node"), Address("leader"), StoreId("store"), A, body)


def fields(body: Message) -> dict[str, Any]:
    """An envelope as a peer would build it by hand."""
    return msgspec.json.decode(encode(enveloped(body)), type=dict[str, Any])


def refused(line: bytes, says: str, error: type[PeerError] = BadEnvelopeError) -> None:
    with pytest.raises(error) as caught:
        decode(line)
    assert type(caught.value) is error
    assert says in str(caught.value)


def refused_fields(changed: dict[str, Any], says: str) -> None:
    refused(json.dumps(changed).encode(), says)


# What comes back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_every_message_comes_back_as_it_was_in_one_line(kind: type[Message], data: st.DataObject) -> None:
    envelope = enveloped(data.draw(BODIES[kind]))
    line = encode(envelope)
    assert b"\n" not in line
    assert decode(line) == envelope


@given(st.one_of(*BODIES.values()))
def test_it_comes_back_whatever_the_spaces_and_the_order_of_fields(body: Message) -> None:
    written = fields(body)
    turned: dict[str, Any] = {name: written[name] for name in reversed(written)}
    assert decode(json.dumps(turned, indent=1).encode()) == enveloped(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_refused(line: bytes) -> None:
    with pytest.raises(BadEnvelopeError):
        decode(line)


@given(st.data())
def test_a_damaged_line_is_an_envelope_or_refused(data: st.DataObject) -> None:
    line = bytearray(encode(enveloped(page(0, [entry()]))))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] = data.draw(st.integers(0, 255))
    with suppress(PeerError):
        assert isinstance(decode(bytes(line)), Envelope)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"null", b'"\xff"', b"[" * 100_000, b"\xff\xfe", b'{"version":1}'],
    ids=["empty", "cut", "list", "null", "no text", "deep", "no UTF-8", "nothing else"],
)
def test_what_is_no_envelope_is_malformed(line: bytes) -> None:
    refused(line, "envelope is malformed: ")


def test_an_envelope_above_the_limit_is_not_even_read() -> None:
    refused(b" " * (ENVELOPE_BYTES_MAX + 1), f"has {ENVELOPE_BYTES_MAX + 1} bytes, at most {ENVELOPE_BYTES_MAX}")
    line = encode(enveloped(Refused("why")))
    assert decode(line.ljust(ENVELOPE_BYTES_MAX)) == enveloped(Refused("why"))


@pytest.mark.parametrize("version", [0, 2, -1, 10**6])
def test_an_unknown_version_is_named_whatever_else_the_envelope_says(version: int) -> None:
    says = f"message version {version} is not spoken here, only {PROTOCOL} to {PROTOCOL}"
    refused(json.dumps(fields(Refused("why")) | {"version": version}).encode(), says, UnknownVersionError)
    refused(json.dumps({"version": version, "news": []}).encode(), says, UnknownVersionError)


@pytest.mark.parametrize("version", [None, "1", 1.5, []])
def test_a_version_that_is_no_number_is_malformed(version: object) -> None:
    refused_fields(fields(Refused("why")) | {"version": version}, "envelope is malformed: ")


def test_an_unknown_field_is_refused_by_name() -> None:
    refused_fields(fields(Refused("why")) | {"more": 1}, "contains unknown field `more`")
    refused_fields(
        fields(Refused("why")) | {"body": {"type": "refused", "reason": "", "more": 1}}, "unknown field `more`"
    )


def test_a_missing_field_is_refused_by_name() -> None:
    written = fields(Refused("why"))
    del written["store"]
    refused_fields(written, "missing required field `store`")
    refused_fields(fields(Refused("why")) | {"body": {"type": "refused"}}, "missing required field `reason`")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (b'"sender":"node"', b'"sender":"node","sender":"other"', "sender"),
        (b'"reason":"why"', b'"reason":"why","reason":"why"', "reason"),
        (b'"type":"refused"', b'"type":"refused","type":"refused"', "type"),
        (b'"sender":"node"', b'"sender":"node","\\u0073ender":"other"', "sender"),
    ],
)
def test_a_field_that_is_there_twice_is_refused_by_name(old: bytes, new: bytes, name: str) -> None:
    line = encode(enveloped(Refused("why")))
    assert old in line
    refused(line.replace(old, new), f"envelope has the field {name!r} twice")


@pytest.mark.parametrize("kind", ["gossip", "", None, 1])
def test_an_unknown_kind_of_message_is_malformed(kind: object) -> None:
    refused_fields(fields(Refused("why")) | {"body": {"type": kind, "reason": "why"}}, "envelope is malformed: ")


@pytest.mark.parametrize("number", [-1, 2**63, 1.5, "1", None, True])
def test_a_place_that_is_no_number_we_can_keep_is_malformed(number: object) -> None:
    written = fields(Ack(collection="users/*", epoch=A, cursor=1))
    written["body"]["cursor"] = number
    refused_fields(written, "envelope is malformed: ")


def test_what_is_as_usual_takes_no_room_in_a_message() -> None:
    body = fields(page(0))["body"]
    assert sorted(body) == ["collection", "entries", "epoch", "head", "next", "seqs", "since", "type"]
    assert sorted(fields(Ack("users/*", A, 1))["body"]) == ["collection", "cursor", "epoch", "type"]


@pytest.mark.parametrize("change", [{"sender": 1}, {"target": None}, {"epoch": []}, {"body": "hello"}, {"body": None}])
def test_a_value_of_the_wrong_type_is_malformed(change: dict[str, object]) -> None:
    refused_fields(fields(Refused("why")) | change, "envelope is malformed: ")


MANY = tuple(row_ack(entry()) for _ in range(ROWS_MAX + 1))
ROWS = tuple(entry(f"users/{number}", number) for number in range(1, ROWS_MAX + 2))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            Hello((1, 1), "", 1, ("users/*",) * (COLLECTIONS_MAX + 1)),
            f"hello names {COLLECTIONS_MAX + 1} collections, at most {COLLECTIONS_MAX}",
        ),
        (replace(page(0, [entry()]), seqs=(1, 2)), "page has 1 entries and 2 sequence numbers"),
        (page(5, to=4), "page goes from 5 to 4 of 4"),
        (page(5, head=4), "page goes from 5 to 5 of 4"),
        (page(0, ROWS), f"message has {ROWS_MAX + 1} rows, at most {ROWS_MAX}"),
        (push(1, ROWS), f"message has {ROWS_MAX + 1} rows, at most {ROWS_MAX}"),
        (PushAck("users/*", 1, A, MANY), f"push_ack has {ROWS_MAX + 1} rows, at most {ROWS_MAX}"),
        (
            PushAck("users/*", 1, A, MANY[1:], (RowRejected("users/a", "f", "why"),)),
            f"push_ack has {ROWS_MAX + 1} rows, at most {ROWS_MAX}",
        ),
        (
            PushAck("users/*", 1, A, (), (RowRejected("users/a", "f", "why", instead=entry(stamp=0)),)),
            "entry 'users/a': created is 0",
        ),
        (Repair("users/*", A, (), ROWS, tuple(range(ROWS_MAX + 1))), f"message has {ROWS_MAX + 1} rows, at most"),
        (Repair("users/*", A, (), (entry(),), ()), "repair has 1 entries and 0 sequence numbers"),
        (Repair("users/*", A, (), (), (1,)), "repair has 0 entries and 1 sequence numbers"),
        (
            Repair("users/*", A, (0,) * (BUCKETS + 1), (), ()),
            f"repair names {BUCKETS + 1} buckets, there are {BUCKETS}",
        ),
        (Repair("users/*", A, (0, BUCKETS), (), ()), f"repair names bucket {BUCKETS}, there are {BUCKETS}"),
        (Repair("users/*", A, (), (entry(stamp=0),), (1,)), "entry 'users/a': created is 0"),
        (Digest("users/*", A, 1, ("",) * (BUCKETS - 1)), f"digest has {BUCKETS - 1} sums, there are {BUCKETS}"),
        (Digest("users/*", A, 1, ("",) * (BUCKETS + 1)), f"digest has {BUCKETS + 1} sums, there are {BUCKETS}"),
        (push(1, [entry("users/")]), "key 'users/' may only have"),
        (page(0, [entry(stamp=0)]), "entry 'users/a': created is 0"),
        (push(1, [entry(data="[1, 2]")]), "entry 'users/a': data is not in canonical form"),
        (push(1, [entry(data='{"a":1,"a":2}')]), "value has the key 'a' twice"),
        (push(1, [entry(data="NaN")]), "value has the number NaN"),
    ],
    ids=lambda part: part[:30] if isinstance(part, str) else type(part).__name__,
)
def test_a_message_that_contradicts_itself_is_refused_in_numbers(body: Message, says: str) -> None:
    refused(encode(enveloped(body)), says)
