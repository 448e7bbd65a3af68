"""Collection: the feed gives each key once in order, no reader misses a row, and only what was committed is seen."""

from hypothesis import given
from hypothesis import strategies as st

from pivot.core.collection import (
    ClearAcks,
    Collection,
    DropFollower,
    DropRow,
    Place,
    Retention,
    Row,
    SetFollower,
    SetRetention,
)
from pivot.core.digest import NO_DIGEST
from tests.core.builders import USERS, B, entry, follower, place, put, set_place

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
    assert ours.outbox(0, rows_max=PLENTY, bytes_max=PLENTY).rows == feed.rows


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


def test_what_is_staged_is_built_upon_but_not_seen_until_the_commit() -> None:
    ours = collection()
    kept = Retention(floor=1, known=True)
    ours.stage(put(1, entry("users/a", 1)))
    ours.stage(set_place(4))
    ours.stage(SetRetention(USERS, kept))
    ours.stage(SetFollower(USERS, follower("n", 1)))
    assert ours.peek("users/a") == Row(entry("users/a", 1), 1)
    assert (ours.peek_place(), ours.peek_retention()) == (place(4), kept)
    assert (ours.get("users/a"), len(ours), ours.head) == (None, 0, 0)
    assert (ours.place, ours.retention, ours.followers) == (Place(), Retention(), {})
    ours.commit()
    assert (ours.get("users/a"), len(ours), ours.head) == (ours.peek("users/a"), 1, 1)
    assert ours.place == ours.peek_place() == place(4)
    assert ours.retention == ours.peek_retention() == kept
    assert list(ours.followers.values()) == [follower("n", 1)]


def test_what_is_discarded_never_was() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1)))
    ours.stage(put(2, entry("users/a", 2)))
    ours.stage(DropRow(USERS, "users/a", 2))
    ours.stage(set_place(4))
    ours.stage(SetRetention(USERS, Retention(floor=9)))
    ours.discard()
    assert ours.peek("users/a") == ours.get("users/a") == Row(entry("users/a", 1), 1)
    assert (ours.peek_place(), ours.peek_retention()) == (Place(), Retention())
    ours.commit()
    assert (len(ours), ours.head, ours.place, ours.retention) == (1, 1, Place(), Retention())


def test_of_two_changes_of_one_key_in_a_commit_the_later_stays() -> None:
    ours = collection()
    ours.stage(put(1, entry("users/a", 1)))
    ours.stage(put(2, entry("users/a", 2)))
    ours.commit()
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


def test_a_new_life_of_the_upstream_that_kept_everything_clears_nothing() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1), acked=4))
    ours.apply(put(2, entry("users/b", 2)))
    ours.apply(ClearAcks(USERS, 4))
    assert [row.acked for row in ours.rows()] == [4, None]
    assert (ours.outbox_size, ours.acked_max) == (1, 4)


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


# Dropping rows -------------------------------------------------------------------------------------------------------


def test_a_dropped_row_is_in_no_index_and_its_number_stays_used() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1)))
    ours.apply(put(5, entry("users/b", 2, None)))
    ours.stage(DropRow(USERS, "users/b", 5))
    assert ours.peek("users/b") is None
    assert ours.get("users/b") == Row(entry("users/b", 2, None), 5)
    ours.commit()
    assert (len(ours), ours.tombstones, ours.outbox_size, ours.head) == (1, 0, 1, 5)
    assert [row.seq for row in ours.feed(0, rows_max=10, bytes_max=PLENTY).rows] == [1]
    assert ours.feed(0, rows_max=10, bytes_max=PLENTY).next == 5


def test_a_row_that_is_not_there_is_dropped_without_harm() -> None:
    ours = collection()
    ours.apply(DropRow(USERS, "users/a", 3))
    assert (len(ours), ours.head) == (0, 3)


def test_a_key_dropped_and_written_within_one_commit_has_the_new_row() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1, None)))
    ours.stage(DropRow(USERS, "users/a", 1))
    assert not ours.may_live("users/a")
    ours.stage(put(2, entry("users/a", 9)))
    ours.commit()
    assert (ours.get("users/a"), ours.tombstones) == (Row(entry("users/a", 9), 2), 0)


def test_tombstones_are_listed_in_feed_order() -> None:
    ours = collection()
    for seq, letter in enumerate("cab", 1):
        ours.apply(put(seq, entry(f"users/{letter}", seq)))
    for seq, letter in enumerate("bca", 4):
        ours.apply(put(seq, entry(f"users/{letter}", seq, None)))
    ours.apply(put(7, entry("users/c", 7)))
    assert [row.seq for row in ours.tombstone_rows()] == [4, 6]


# Facts beside the rows -----------------------------------------------------------------------------------------------


def test_a_feed_says_what_was_collected_from_it_and_never_ends_below_that() -> None:
    ours = collection()
    ours.apply(SetRetention(USERS, Retention(floor=7, collected=70)))
    piece = ours.feed(0, rows_max=10, bytes_max=PLENTY)
    assert (piece.floor, piece.collected, piece.next, piece.head) == (7, 70, 7, 7)


def test_only_the_end_of_a_feed_tells_the_digest() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1)))
    assert ours.feed(0, rows_max=10, bytes_max=PLENTY).digest == NO_DIGEST
    assert ours.feed(1, rows_max=10, bytes_max=PLENTY).digest == ours.digest.text()


def test_an_outbox_says_how_much_of_the_upstreams_feed_was_here_when_it_was_read() -> None:
    ours = collection()
    ours.apply(set_place(4, epoch=B))
    assert ours.outbox(0, rows_max=10, bytes_max=PLENTY).place == place(4, epoch=B)


def test_the_greatest_number_that_was_confirmed_is_known_until_the_upstream_begins_a_new_life() -> None:
    ours = collection()
    ours.apply(put(1, entry("users/a", 1), acked=9))
    ours.apply(put(2, entry("users/b", 2), acked=5))
    assert ours.acked_max == 9
    ours.apply(ClearAcks(USERS))
    assert ours.acked_max == 0


def test_a_follower_is_known_until_it_is_dropped() -> None:
    ours = collection()
    for known in (follower("n", 1), follower("m", 2), follower("n", 3)):
        ours.apply(SetFollower(USERS, known))
    assert list(ours.followers.values()) == [follower("n", 3), follower("m", 2)]
    ours.apply(DropFollower(USERS, follower("n", 0).store))
    ours.apply(DropFollower(USERS, follower("unknown", 0).store))
    assert list(ours.followers.values()) == [follower("m", 2)]


TURNS = st.lists(st.tuples(KEYS, st.booleans(), st.sampled_from(["write", "write", "collect", "read"])), max_size=40)


@given(TURNS, st.integers(1, 3))
def test_a_reader_misses_nothing_but_tombstones_up_to_the_floor_though_writes_and_collections_go_on(
    turns: list[tuple[str, bool, str]], rows: int
) -> None:
    ours = collection(follows=False)
    read, cursor, newest = dict[str, int](), 0, dict[str, tuple[int, bool]]()

    def turn() -> bool:
        nonlocal cursor
        piece = ours.feed(cursor, rows_max=rows, bytes_max=PLENTY)
        within = [row for row in ours.rows() if cursor < row.seq <= piece.next]
        assert sorted(within, key=lambda row: row.seq) == list(piece.rows)
        read.update((row.entry.key, row.seq) for row in piece.rows)
        cursor = piece.next
        return piece.next < piece.head

    for seq, (key, deleted, what) in enumerate(turns, 1):
        match what:
            case "write":
                ours.apply(put(seq, entry(key, seq, None if deleted else "1")))
                newest[key] = seq, deleted
            case "collect":
                for row in ours.tombstone_rows()[:2]:
                    ours.apply(DropRow(USERS, row.entry.key, row.seq))
                    ours.apply(SetRetention(USERS, Retention(floor=row.seq)))
            case _:
                turn()
    while turn():
        pass
    for key, (seq, deleted) in newest.items():
        assert read.get(key) == seq or (deleted and seq <= ours.retention.floor)
    assert cursor == ours.head == max((seq for seq, _ in newest.values()), default=0)
