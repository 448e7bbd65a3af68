"""Entry: the one order of versions, the one form of JSON, and what a peer may not have written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pivot.core.clock import STAMP_MAX
from pivot.core.entry import (
    DEPTH_MAX,
    Entry,
    canonical,
    check_entry,
    fingerprint,
    join,
    overwrote_unseen,
    supersedes,
)
from pivot.errors import BadEntryError, BadKeyError, BadValueError
from pivot.types import StoreId
from tests.core.builders import entry

STAMPS = st.integers(1, 4)


def version(created: int, later: int, data: str | None, origin: str) -> Entry:
    return Entry("users/a", created, created + later if later else 0, data or "", data is None, None, StoreId(origin))


ENTRIES = st.builds(
    version,
    STAMPS,
    st.integers(0, 3),
    st.sampled_from([None, "1", "1.0", '{"a":1}', "[]"]),
    st.sampled_from(["s", "t"]),
)
"""So few versions that equal and nearly equal ones are drawn often."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any) -> Any:
    """The same value, the keys of its objects in another order."""
    if isinstance(value, dict):
        pairs: list[tuple[str, Any]] = list(value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return {name: shuffled(item) for name, item in reversed(pairs)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


# The order -----------------------------------------------------------------------------------------------------------


@given(ENTRIES, ENTRIES, ENTRIES)
def test_joining_in_any_grouping_gives_one_version(one: Entry, two: Entry, three: Entry) -> None:
    assert join(join(one, two), three).version == join(one, join(two, three)).version


@given(ENTRIES, ENTRIES)
def test_joining_in_any_order_gives_one_version(one: Entry, two: Entry) -> None:
    assert join(one, two).version == join(two, one).version == max(one.version, two.version)


@given(ENTRIES)
def test_joining_a_version_with_itself_changes_nothing(one: Entry) -> None:
    assert join(one, one) is one


@given(ENTRIES, ENTRIES)
def test_of_two_versions_one_supersedes_unless_users_see_the_same(one: Entry, two: Entry) -> None:
    same = (one.stamp, one.deleted, one.created, one.data) == (two.stamp, two.deleted, two.created, two.data)
    assert supersedes(one, two) + supersedes(two, one) + same == 1


@given(ENTRIES, ENTRIES)
def test_fingerprints_are_equal_exactly_when_versions_are(one: Entry, two: Entry) -> None:
    assert (fingerprint(one) == fingerprint(two)) == (one.version == two.version)


def test_a_delete_wins_a_tie() -> None:
    assert supersedes(entry(stamp=5, data=None), entry(stamp=5, data='"z"'))


def test_the_first_of_two_equal_versions_stays_whoever_wrote_it() -> None:
    one, two = entry(origin=StoreId("s")), entry(origin=StoreId("t"))
    assert join(one, two) is one
    assert join(two, one) is two


# Lost updates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prev", "lost"),
    [(None, False), (0, True), (4, True), (5, False), (7, False)],
)
def test_an_update_is_lost_when_the_winner_had_seen_only_something_older(prev: int | None, lost: bool) -> None:
    assert overwrote_unseen(entry(stamp=9, prev=prev), entry(stamp=5)) is lost


def test_a_version_does_not_overwrite_itself_unseen() -> None:
    assert not overwrote_unseen(entry(stamp=9, prev=0), entry(stamp=9, prev=3))


# Canonical JSON ------------------------------------------------------------------------------------------------------


@given(JSON)
def test_the_order_of_keys_and_spaces_do_not_matter(value: Any) -> None:
    plain = canonical(json.dumps(value))
    assert canonical(json.dumps(shuffled(value), indent=2)) == plain
    assert canonical(json.dumps(value, ensure_ascii=False).encode()) == plain


@given(JSON)
def test_the_canonical_form_is_its_own_and_means_the_same(value: Any) -> None:
    plain = canonical(json.dumps(value))
    assert canonical(plain) == plain
    assert json.loads(plain) == value


def test_one_is_not_one_point_zero() -> None:
    assert canonical("1") == "1"
    assert canonical("1.0") == "1.0"
    assert canonical("12345678901234567890123") == "12345678901234567890123"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON: Expecting value at character 0"),
        ("{'a':1}", "is not JSON: .* at character 1"),
        ("[1,]", "is not JSON"),
        ("NaN", "has the number NaN"),
        ("[-Infinity]", "has the number -Infinity"),
        ("1e999", "is not a value we can keep: Out of range float"),
        ("1" * 5000, "is not a value we can keep: Exceeds the limit"),
        ('{"a":1,"b":2,"a":3}', "has the key 'a' twice in one object"),
        ('"\\ud800"', "has a lone surrogate at character 1"),
        (b'"\xff"', "is not UTF-8: byte 1 is 0xff"),
        ("[" * (DEPTH_MAX + 1), f"nests deeper than {DEPTH_MAX} levels"),
        ('{"a":' * 100_000, f"nests deeper than {DEPTH_MAX} levels"),
        (b"[" * 100_000, f"nests deeper than {DEPTH_MAX} levels"),
    ],
)
def test_what_is_no_value_is_refused_by_name(text: str | bytes, says: str) -> None:
    with pytest.raises(BadValueError, match=f"^value {says}"):
        canonical(text)


def test_many_brackets_are_no_depth() -> None:
    flat = "[" + ",".join(["[]"] * 200 + ['"[[\\"[["'] * 40) + "]"
    assert canonical(flat) == flat
    deep = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    assert canonical(deep) == deep


# What a peer may not have written ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (entry(stamp=0), f"entry 'users/a': created is 0, allowed is 1 to {STAMP_MAX}"),
        (entry(stamp=2**63), f"entry 'users/a': created is {2**63}"),
        (entry(stamp=5, created=5), f"entry 'users/a': updated is 5, allowed is 0 or 6 to {STAMP_MAX}"),
        (entry(stamp=2**63, created=5), f"entry 'users/a': updated is {2**63}"),
        (entry(prev=-1), "entry 'users/a': prev is -1"),
        (entry(prev=2**63), f"entry 'users/a': prev is {2**63}"),
        (replace(entry(data=None), data="1"), "entry 'users/a': is a tombstone that has data"),
        (entry(data='{"b":1, "a":2}'), "entry 'users/a': data is not in canonical form"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused_by_name(version: Entry, says: str) -> None:
    with pytest.raises(BadEntryError) as caught:
        check_entry(version)
    assert str(caught.value).startswith(says)


def test_an_entry_without_a_key_or_with_no_json_is_refused() -> None:
    with pytest.raises(BadKeyError, match="key 'users/'"):
        check_entry(entry("users/"))
    with pytest.raises(BadValueError, match="is not JSON"):
        check_entry(entry(data="x"))


@given(ENTRIES)
def test_what_a_member_writes_is_not_refused(version: Entry) -> None:
    assert check_entry(version) is version
    assert check_entry(replace(version, prev=0)).stamp == version.stamp
