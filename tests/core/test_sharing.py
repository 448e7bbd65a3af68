"""Sharing: what storage gives to another node, and what it takes from one."""

from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.collection import FeedSlice
from pivot.core.effects import Persist, TellConfirmed
from pivot.core.questions import Failed, MergeFromPeer, MergeResync, Position, ReadForPeer
from pivot.core.sharing import SLICES_MAX
from tests.core.builders import (
    USERS,
    WALL_NS,
    A,
    B,
    Desk,
    entry,
    following_desk,
    leading_desk,
    only,
    opened,
    place,
    set_place,
)
from tests.core.builders import put as row


def given(desk: Desk, *, since: int = 0, cursor: int = 0) -> FeedSlice:
    piece = desk.ask(ReadForPeer(USERS, since, A, cursor))
    assert isinstance(piece, FeedSlice)
    return piece


def offer(*stamps: int, acks: tuple[int, ...] = (), cursor: int = 9) -> MergeFromPeer:
    entries = tuple(entry(f"users/{stamp}", stamp) for stamp in stamps)
    return MergeFromPeer(USERS, A, cursor, entries, acks or (0,) * len(stamps))


def test_a_peer_is_given_what_its_leader_had_not_confirmed_when_it_read_its_feed() -> None:
    desk = following_desk(row(1, entry("users/a", 1), acked=5), row(2, entry("users/b", 2), acked=7), cursor=8)
    desk.ask(offer(3))
    piece = given(desk, cursor=5)
    assert [(each.entry.key, each.acked) for each in piece.rows] == [("users/b", 7), ("users/3", None)]
    assert (piece.since, piece.next, piece.head, piece.place) == (0, 3, 3, place(8))


def test_a_peer_that_follows_another_life_is_given_everything() -> None:
    desk = following_desk(row(1, entry("users/a", 1), acked=5), cursor=8)
    piece = desk.ask(ReadForPeer(USERS, 0, B, 99))
    assert isinstance(piece, FeedSlice)
    assert len(piece.rows) == 1


def test_a_peer_that_is_ahead_of_our_feed_begins_again() -> None:
    piece = given(following_desk(row(1, entry("users/a", 1)), cursor=8), since=7)
    assert (piece.since, piece.next, len(piece.rows)) == (0, 1, 1)


def test_rows_that_a_peer_has_are_passed_over_a_few_pages_at_a_time() -> None:
    count = 2 * SLICES_MAX
    changes = [row(seq, entry(f"users/{seq}", seq), acked=seq) for seq in range(1, count + 1)]
    changes.append(row(count + 1, entry("users/x", 1000)))
    knobs = Knobs(page_rows=1)
    desk = Desk(opened([*changes, set_place(count)], follows=True), knobs=knobs, listener="node")
    first = given(desk, cursor=count)
    assert (first.rows, first.next) == ((), SLICES_MAX)
    second = given(desk, since=first.next, cursor=count)
    assert (second.rows, second.next) == ((), 2 * SLICES_MAX)
    assert [each.entry.key for each in given(desk, since=second.next, cursor=count).rows] == ["users/x"]


def test_a_node_that_missed_collected_deletions_neither_gives_nor_takes() -> None:
    desk = following_desk(row(1, entry("users/a", 1)), cursor=3, floor=4)
    assert isinstance(desk.ask(ReadForPeer(USERS, 0, A, 0)), Failed)
    assert desk.ask(offer(2)) == Position(place(3, floor=4), applied=False)
    again = following_desk(cursor=3)
    again.ask(MergeResync(USERS, A, 0, (), (), 1, 0, 0, 0, last=False))
    assert isinstance(again.ask(ReadForPeer(USERS, 0, A, 0)), Failed)
    assert again.ask(offer(2)) == Position(place(3), applied=False)


def test_a_leader_neither_gives_nor_takes() -> None:
    desk = leading_desk(row(1, entry("users/a", 1)))
    assert isinstance(desk.ask(ReadForPeer(USERS, 0, A, 0)), Failed)
    assert desk.ask(offer(2)) == Position(place(0, epoch=A.__class__("")), applied=False)


def test_what_a_peer_has_is_merged_and_what_its_leader_confirmed_is_confirmed() -> None:
    desk = following_desk(row(1, entry("users/3", 3, "2")), row(2, entry("users/4", 4)), cursor=5)
    assert desk.ask(offer(2, 3, 4, 5, acks=(7, 8, 9, 0))) == Position(place(5), applied=True)
    rows = {each.entry.key: (each.entry.data, each.acked) for each in desk.store[USERS].rows()}
    assert rows == {"users/2": ("1", 7), "users/3": ("2", None), "users/4": ("1", 9), "users/5": ("1", None)}
    assert only(desk.effects, TellConfirmed) == [TellConfirmed(("users/2", "users/4"))]


def test_what_a_peer_has_twice_changes_nothing() -> None:
    desk = following_desk(cursor=5)
    desk.ask(offer(2, 3, acks=(0, 7)))
    desk.ask(offer(2, 3, acks=(0, 7)))
    assert not only(desk.effects, Persist)


def test_a_peer_that_has_not_seen_what_was_collected_is_not_believed() -> None:
    desk = following_desk(cursor=9, floor=4)
    assert desk.ask(offer(2, cursor=3)) == Position(place(9, floor=4), applied=False)
    assert desk.ask(offer(2, cursor=4)) == Position(place(9, floor=4), applied=True)


def test_a_peer_that_follows_another_life_is_not_believed() -> None:
    desk = following_desk(cursor=9)
    assert desk.ask(replace(offer(2), epoch=B)) == Position(place(9), applied=False)


def test_strangers_and_what_is_ahead_of_our_clock_are_left_out() -> None:
    desk = following_desk(cursor=5)
    far = entry("users/far", WALL_NS + 61 * 10**9)
    question = MergeFromPeer(USERS, A, 5, (entry("things/a", 1), far, entry("users/a", 1)), (0, 0, 0))
    assert desk.ask(question) == Position(place(5), applied=True)
    assert [each.entry.key for each in desk.store[USERS].rows()] == ["users/a"]
    assert desk.store.clock.last < far.stamp
