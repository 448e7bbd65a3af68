"""Collection: the feed gives each key once in order, no reader misses a row, and only what was committed is seen."""

from hypothesis import given
from hypothesis import strategies as st

from pivot.core.collection import ClearAcks, Collection, Row, SetCursor
from pivot.types import NO_EPOCH
from tests.core.builders import USERS, A, entry, put

PLENTY = 2**20
KEYS = st.sampled_from([f"users/{letter}" for letter in "abcde"])
BATCHES = st.lists(st.lists(KEYS, min_size=1, max_size=4), max_size=12)


def collection(*, follows: bool = True) -> Collection:
    return Collection(USERS, follows=follows)


@given(BATCHES)
def test_the_feed_has_each_key_once_with_its_newest_version_in_the_order_of_changes(batches: list[list[str]]) -> None:
    ours, newest, seq = collection(), dict[str, int](), 0
    for batch in batches:
        for key in batch:
            seq += 1
            ours.stage(put(seq, entry(key, seq)))
            newest[key] = seq
        ours.commit()
    feed = ours.feed(0, rows_max=PLENTY, bytes_max=PLENTY)
    assert [row.seq for row in feed.rows] == sorted(newest.values())
    assert {row.entry.key: row.seq for row in feed.rows} == newest
    assert (feed.since, feed.next, feed.head) == (0, seq, seq)
    assert ours.outbox(0, rows_max=PLENTY, bytes_max=PLENTY) == feed


@given(BATCHES, st.integers(1, 3))
def test_a_reader_ends_with_everything_though_writes_go_on_while_it_reads(batches: list[list[str]], rows: int) -> None:
    ours, seq = collection(), 0
    read, cursor = dict[str, int](), 0

    def turn() -> bool:
        nonlocal cursor
        piece = ours.feed(cursor, rows_max=rows, bytes_max=PLENTY)
        assert piece.since == cursor
        assert len(piece.rows) <= rows
        assert all(cursor < row.seq <= piece.next for row in piece.rows)
        read.update((row.entry.key, row.entry.stamp) for row in piece.rows)
        cursor = piece.next
        return piece.next < piece.head

    for batch in batches:
        for key in batch:
            seq += 1
            ours.stage(put(seq, entry(key, seq)))
        ours.commit()
        turn()
    while turn():
        pass
    assert read == {row.entry.key: row.entry.stamp for row in ours.rows()}


def test_a_page_has_at_least_one_row_however_large_it_is() -> None:
    ours = collection()
    for seq in (1, 2):
        ours.apply(put(seq, entry(f"users/{seq}", seq, f'"{"x" * 500}"')))
    piece = ours.feed(0, rows_max=10, bytes_max=1)
    assert [row.seq for row in piece.rows] == [1]
    assert (piece.next, piece.head) == (1, 2)


def test_a_feed_from_beyond_the_end_is_empty_and_stays_there() -> None:
    piece = collection().feed(7, rows_max=10, bytes_max=PLENTY)
    assert (piece.rows, piece.next, piece.head) == ((), 7, 0)


def test_staged_rows_are_built_upon_but_not_seen_until_the_commit() -> None:
    ours = collection()
    ours.stage(put(1, entry("users/a", 1)))
    ours.stage(SetCursor(USERS, A, 4))
    assert ours.peek("users/a") == Row(entry("users/a", 1), 1)
    assert ours.peek_cursor() == (A, 4)
    assert (ours.get("users/a"), len(ours), ours.head, ours.epoch, ours.cursor) == (None, 0, 0, NO_EPOCH, 0)
    assert [row.seq for row in ours.commit()] == [1]
    assert (ours.get("users/a"), len(ours), ours.head) == (ours.peek("users/a"), 1, 1)
    assert (ours.epoch, ours.cursor) == ours.peek_cursor() == (A, 4)


def test_what_is_discarded_never_was() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1)))
    ours.stage(put(2, entry("users/a", 2)))
    ours.stage(SetCursor(USERS, A, 4))
    ours.discard()
    assert ours.peek("users/a") == ours.get("users/a") == Row(entry("users/a", 1), 1)
    assert ours.peek_cursor() == (NO_EPOCH, 0)
    assert ours.commit() == ()


def test_of_two_changes_of_one_key_in_a_commit_the_later_stays() -> None:
    ours = collection()
    ours.stage(put(1, entry("users/a", 1)))
    ours.stage(put(2, entry("users/a", 2)))
    assert [row.seq for row in ours.commit()] == [2]
    assert [row.seq for row in ours.feed(0, rows_max=10, bytes_max=PLENTY).rows] == [2]


def test_every_key_before_or_after_the_commit_is_named_once() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1)))
    ours.stage(put(2, entry("users/a", 2)))
    ours.stage(put(3, entry("users/b", 3)))
    assert list(ours.peek_keys()) == ["users/a", "users/b"]


def test_a_key_may_live_when_it_does_before_or_after_the_commit() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1)))
    ours.stage(put(2, entry("users/a", 2, None)))
    ours.stage(put(3, entry("users/b", 3)))
    ours.stage(put(4, entry("users/c", 4, None)))
    assert [key for key in ours.peek_keys() if ours.may_live(key)] == ["users/a", "users/b"]
    assert not ours.may_live("users/d")


def test_a_confirmed_row_leaves_the_outbox_and_keeps_its_place_in_the_feed() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1)))
    ours.apply(put(2, entry("users/b", 2)))
    ours.apply(put(1, entry("users/a", 1), acked=9))
    assert (ours.outbox_size, ours.head) == (1, 2)
    assert [row.seq for row in ours.feed(0, rows_max=10, bytes_max=PLENTY).rows] == [1, 2]
    assert [row.seq for row in ours.outbox(0, rows_max=10, bytes_max=PLENTY).rows] == [2]


def test_a_row_that_is_put_again_unchanged_changes_nothing() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1)))
    ours.apply(put(1, entry("users/a", 1)))
    assert (len(ours), ours.outbox_size, ours.head) == (1, 1, 1)


def test_a_new_life_of_the_upstream_puts_every_row_into_the_outbox() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1), acked=1))
    ours.apply(put(2, entry("users/b", 2)))
    ours.stage(ClearAcks(USERS))
    ours.commit()
    assert [row.acked for row in ours.rows()] == [None, None]
    assert [row.seq for row in ours.outbox(0, rows_max=10, bytes_max=PLENTY).rows] == [1, 2]


def test_a_collection_that_leads_has_no_outbox() -> None:
    ours = collection(follows=False)
    ours.apply(put(1, entry("users/a", 1)))
    ours.apply(ClearAcks(USERS))
    assert ours.outbox_size == 0


@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=20))
def test_tombstones_are_counted(writes: list[tuple[str, bool]]) -> None:
    ours = collection()
    for seq, (key, deleted) in enumerate(writes, 1):
        ours.apply(put(seq, entry(key, seq, None if deleted else "1")))
    assert ours.tombstones == sum(row.entry.deleted for row in ours.rows())
