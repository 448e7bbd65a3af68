"""SeqIndex: a sorted map from numbers to keys that forgets what was removed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot.core.seqindex import SeqIndex

OPERATIONS = st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=300)


@given(OPERATIONS, st.integers(0, 900))
def test_it_reads_like_a_sorted_map_whatever_was_added_and_removed(
    operations: list[tuple[bool, int]], since: int
) -> None:
    index, model, last = SeqIndex(), dict[int, str](), 0
    for add, step in operations:
        if add:
            last += step
            index.append(last, f"key-{last}")
            model[last] = f"key-{last}"
        else:
            gone = max(0, last - 7 * step)
            index.discard(gone)
            model.pop(gone, None)
    assert len(index) == len(model)
    assert all(number in index for number in model)
    assert list(index.after(since)) == [(number, key) for number, key in sorted(model.items()) if number > since]


def test_holes_are_swept_when_they_outnumber_what_is_left() -> None:
    index = SeqIndex()
    for number in range(1, 1001):
        index.append(number, str(number))
    for number in range(1, 1000):
        index.discard(number)
    assert list(index.after(0)) == [(1000, "1000")]
    index.append(1001, "next")
    assert list(index.after(1000)) == [(1001, "next")]
    assert 999 not in index


def test_a_number_that_does_not_rise_is_our_bug() -> None:
    index = SeqIndex()
    index.append(5, "a")
    with pytest.raises(AssertionError):
        index.append(5, "b")
