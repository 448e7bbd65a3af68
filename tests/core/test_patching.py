"""Patching: objects merge, the rest is replaced, and what cannot be merged is refused by its place."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot.core.entry import canonical
from pivot.core.patching import VALUE_BYTES_MAX, patched
from pivot.errors import BadValueError
from pivot.types import JsonValue


@pytest.mark.parametrize(
    ("data", "patch", "becomes"),
    [
        ('{"a":1}', "{}", '{"a":1}'),
        ('{"a":1}', '{"b":2}', '{"a":1,"b":2}'),
        ('{"a":1}', '{"a":"x"}', '{"a":"x"}'),
        ('{"a":{"b":{"c":1,"d":2}}}', '{"a":{"b":{"c":3}}}', '{"a":{"b":{"c":3,"d":2}}}'),
        ('{"a":{"b":1}}', '{"a":null}', '{"a":null}'),
        ('{"a":null}', '{"a":{"b":1}}', '{"a":{"b":1}}'),
        ('{"a":1}', '{"a":{"b":1}}', '{"a":{"b":1}}'),
        ('{"a":[1,2]}', '{"a":[3]}', '{"a":[3]}'),
        ('{"a":[1,2]}', '{"a":7}', '{"a":7}'),
        ("{}", '{"big":123456789012345678901234567890,"f":1.5,"\u00e9":"\u20ac"}', None),
    ],
)
def test_objects_merge_and_the_rest_is_replaced(data: str, patch: str, becomes: str | None) -> None:
    assert patched(data, patch) == (canonical(patch) if becomes is None else becomes)


@pytest.mark.parametrize(
    ("data", "patch", "words"),
    [
        ("{}", "null", "is null"),
        ("{}", "true", "is a boolean"),
        ("{}", "1", "is a number"),
        ("{}", "1.5", "is a number"),
        ("{}", '"x"', "is a string"),
        ("{}", "[]", "is an array"),
        ("[1]", "{}", "what is here is an array"),
        ("null", "{}", "what is here is null"),
        ('{"a":{"b":{}}}', '{"a":{"b":1}}', "clashes at '/a/b': there is an object, the patch has a number"),
        ('{"a":{"b":[]}}', '{"a":{"b":{}}}', "clashes at '/a/b': there is an array, the patch has an object"),
        ('{"a":"x"}', '{"b":"' + "y" * VALUE_BYTES_MAX + '"}', f"at most {VALUE_BYTES_MAX}"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_its_place(data: str, patch: str, words: str) -> None:
    with pytest.raises(BadValueError, match=words):
        patched(data, patch)


NAMES = st.sampled_from("abc")
PLAIN: list[JsonValue] = [None, True, 1, 1.0, "x", [], [{}]]
LEAVES = st.sampled_from(PLAIN)
INNER = st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES, max_size=2), max_size=2)
OBJECTS = st.dictionaries(NAMES, LEAVES | INNER, max_size=3)


@settings(deadline=None)
@given(OBJECTS, OBJECTS)
def test_a_patch_shows_in_what_it_made_and_a_second_time_changes_nothing(data: object, patch: object) -> None:
    first, second = canonical(json.dumps(data)), canonical(json.dumps(patch))
    try:
        result = patched(first, second)
    except BadValueError:
        return
    assert patched(result, second) == result
    assert patched("{}", second) == second
    assert patched(result, "{}") == result
