"""Paths: which names exist, which match and which collide, against an oracle that tries every key."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot.errors import BadKeyError
from pivot.paths import KEY_BYTES_MAX, check_key, check_list, check_pattern, is_glob, last_segment, matches, overlap

NAMES = ("a", "b", "ab")
EVERY_KEY = ["/".join(names) for length in (1, 2, 3) for names in product(NAMES, repeat=length)]
PATTERNS = st.lists(st.sampled_from((*NAMES, "*")), min_size=1, max_size=3).map("/".join)


def expanded(pattern: str) -> set[str]:
    """Every key that a pattern stands for: each star replaced by each name."""
    choices = [NAMES if segment == "*" else (segment,) for segment in pattern.split("/")]
    return {"/".join(names) for names in product(*choices)}


@given(PATTERNS)
def test_a_pattern_matches_exactly_the_keys_it_stands_for(pattern: str) -> None:
    assert {key for key in EVERY_KEY if matches(pattern, key)} == expanded(pattern)


@given(PATTERNS, PATTERNS)
def test_two_patterns_overlap_exactly_when_some_key_is_matched_by_both(one: str, other: str) -> None:
    assert overlap(one, other) is overlap(other, one) is bool(expanded(one) & expanded(other))


@given(PATTERNS)
def test_a_pattern_is_a_key_exactly_when_it_has_no_star(pattern: str) -> None:
    assert check_pattern(pattern) == pattern
    assert is_glob(pattern) is ("*" in pattern)
    if is_glob(pattern):
        with pytest.raises(BadKeyError, match="may only have"):
            check_key(pattern)
    else:
        assert check_key(pattern) == pattern


@pytest.mark.parametrize("pattern", ["*", "users/*", "a/b/*"])
def test_new_entries_can_be_pushed_to_a_list(pattern: str) -> None:
    assert check_list(pattern) == pattern


@pytest.mark.parametrize("pattern", ["users", "*/a", "*/*", "a/*/b"])
def test_new_entries_cannot_be_pushed_elsewhere(pattern: str) -> None:
    with pytest.raises(BadKeyError, match="a new entry needs a glob"):
        check_list(pattern)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "key '' may only have"),
        ("/a", "key '/a' may only have"),
        ("a/", "key 'a/' may only have"),
        ("a//b", "key 'a//b' may only have"),
        ("ä", "key 'ä' may only have"),
        ("a b", "key 'a b' may only have"),
        ("a\n", r"key 'a\n' may only have"),
        ("a*", "key 'a*' may only have"),
        ("a/../b", "key 'a/../b' has a segment . or .."),
        (".", "key '.' has a segment . or .."),
        ("_pivot/x", "key '_pivot/x' starts with _pivot"),
        ("a" * (KEY_BYTES_MAX + 1), f"key '{'a' * 40}...' has {KEY_BYTES_MAX + 1} characters, at most"),
    ],
)
def test_what_is_no_key_is_refused_by_name(key: str, says: str) -> None:
    for check in (check_key, check_pattern):
        with pytest.raises(BadKeyError) as caught:
            check(key)
        assert str(caught.value).startswith(says)


def test_dots_are_names_when_they_are_more_than_two_or_not_alone() -> None:
    for key in ("...", "a.b", ".a", "a/..b", "_pivots", "a/_pivot"):
        assert check_key(key) == key


def test_the_index_of_a_key_is_its_last_segment() -> None:
    assert last_segment("a/b/c") == "c"
    assert last_segment("a") == "a"
