"""Collecting: a tombstone ends when every follower has it, and whoever may have missed one hears of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot.config import Knobs
from pivot.core.collection import (
    Change,
    DropFollower,
    DropRow,
    Follower,
    Retention,
    Row,
    SetFollower,
    SetPlace,
    SetRetention,
)
from pivot.core.effects import Persist, Reply
from pivot.core.notices import Collected
from pivot.core.questions import Collect, ConfirmFollowers, Decommission, HearFloor, Position, Put, Retained
from pivot.types import NO_EPOCH, StoreId
from tests.core.builders import (
    SETTINGS,
    USERS,
    WALL_NS,
    A,
    B,
    Desk,
    at,
    entry,
    follower,
    following_desk,
    leading_desk,
    notices,
    only,
    opened,
    place,
    put,
)

KNOBS = Knobs(member_ttl_s=100.0)
KNOWN = SetRetention(USERS, Retention(since_ns=WALL_NS, known=True))


def tombstone(seq: int, stamp: int | None = None) -> Row:
    return Row(entry(f"users/{seq}", stamp or seq, None), seq)


def leader(*changes: Change | Row) -> Desk:
    return leading_desk(*changes, knobs=KNOBS)


def collect(*followers: Follower) -> Collect:
    return Collect(USERS, followers)


def changes(desk: Desk) -> list[Change]:
    return [change for persist in only(desk.effects, Persist) for change in persist.changes]


def followers(desk: Desk) -> list[Follower]:
    return list(desk.store[USERS].followers.values())


# Which tombstones end ------------------------------------------------------------------------------------------------


def test_tombstones_that_every_follower_has_are_dropped_and_the_floor_rises_to_the_last_of_them() -> None:
    desk = leader(KNOWN, Row(entry(), 1), tombstone(2, 90), tombstone(3, 80), tombstone(6))
    assert desk.ask(collect(follower("n", 5), follower("m", 9))) == Retained(2)
    assert [row.seq for row in desk.store[USERS].rows()] == [1, 6]
    assert desk.store[USERS].retention == Retention(floor=3, collected=90, since_ns=WALL_NS, known=True)
    assert notices(desk.effects) == [Collected(USERS, 2, 3)]
    assert desk.ask(collect(follower("n", 6))) == Retained(1)
    assert desk.store[USERS].retention == Retention(floor=6, collected=90, since_ns=WALL_NS, known=True)


def test_a_leader_that_nobody_follows_drops_all_tombstones() -> None:
    desk = leader(KNOWN, tombstone(1), tombstone(2))
    assert desk.ask(collect()) == Retained(2)


def test_one_follower_that_has_not_seen_a_tombstone_holds_it_back() -> None:
    desk = leader(KNOWN, tombstone(5), SetFollower(USERS, follower("away", 4)))
    assert desk.ask(collect(follower("n", 9))) == Retained(0)
    assert desk.store[USERS].tombstones == 1
    assert notices(desk.effects) == []


def test_a_tombstone_that_is_replaced_in_the_same_batch_is_not_dropped() -> None:
    desk = leader(KNOWN, tombstone(1), tombstone(2))
    desk.stage(Put("users/1", "1"))
    assert desk.stage(collect()) == Retained(1)
    desk.commit()
    assert [row.entry.deleted for row in desk.store[USERS].rows()] == [False]


def test_two_collections_in_one_batch_drop_a_tombstone_once() -> None:
    desk = leader(KNOWN, tombstone(1))
    assert desk.stage(collect()) == Retained(1)
    assert desk.stage(collect()) == Retained(0)


def test_one_commit_drops_a_bounded_number_of_tombstones_and_the_next_ones_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pivot.core.collecting.DROPS_MAX", 2)
    desk = leader(KNOWN, tombstone(1), tombstone(2), tombstone(3))
    assert [desk.ask(collect()) for _ in range(3)] == [Retained(2), Retained(1), Retained(0)]
    assert [change.retention.floor for change in desk.kept if isinstance(change, SetRetention)] == [2, 3]


@given(st.lists(st.booleans(), max_size=8), st.lists(st.integers(0, 9), max_size=3))
def test_no_tombstone_is_dropped_that_a_follower_has_not_acknowledged(deleted: list[bool], cursors: list[int]) -> None:
    rows = [Row(entry(f"users/{seq}", seq, None if gone else "1"), seq) for seq, gone in enumerate(deleted, 1)]
    desk = leader(KNOWN, *rows)
    desk.ask(collect(*(follower(str(number), cursor) for number, cursor in enumerate(cursors))))
    seen = min(cursors, default=9)
    kept = [row for row in rows if not row.entry.deleted or row.seq > seen]
    assert list(desk.store[USERS].rows()) == kept
    assert desk.store[USERS].retention.floor == max((row.seq for row in rows if row not in kept), default=0)


# When it begins ------------------------------------------------------------------------------------------------------


def test_nothing_is_collected_until_this_life_is_older_than_a_follower_may_be_silent() -> None:
    desk = leader(tombstone(1))
    assert desk.ask(collect(), at(0)) == Retained(0)
    assert desk.store[USERS].retention == Retention(since_ns=WALL_NS)
    assert desk.ask(collect(), at(100)) == Retained(0)
    assert desk.kept == [SetRetention(USERS, Retention(since_ns=WALL_NS))]
    assert desk.ask(collect(), at(100.1)) == Retained(1)


def test_it_begins_at_once_when_the_operator_says_that_the_followers_are_known() -> None:
    desk = leader(tombstone(1))
    assert desk.ask(ConfirmFollowers()) == Retained(0)
    assert desk.store[SETTINGS].retention == Retention(known=True)
    assert desk.ask(collect()) == Retained(1)
    assert desk.store[USERS].retention == Retention(floor=1, collected=1, since_ns=WALL_NS, known=True)


def test_the_operators_word_concerns_what_is_led_here_only() -> None:
    desk = Desk(opened(collections={USERS: True, SETTINGS: False}))
    desk.ask(ConfirmFollowers())
    assert changes(desk) == [SetRetention(SETTINGS, Retention(known=True))]


# Who follows ---------------------------------------------------------------------------------------------------------


def test_followers_are_noted_and_only_what_is_new_about_them_is_kept() -> None:
    desk = leader(KNOWN)
    desk.ask(collect(follower("n", 5), follower("m", 2)))
    assert changes(desk) == [SetFollower(USERS, follower("n", 5)), SetFollower(USERS, follower("m", 2))]
    desk.ask(collect(follower("n", 5), follower("m", 3, heard_s=1)))
    assert changes(desk) == [SetFollower(USERS, follower("m", 3, heard_s=1))]


def test_a_followers_cursor_and_last_sign_of_life_never_go_back() -> None:
    desk = leader(KNOWN, SetFollower(USERS, follower("n", 5, heard_s=1)))
    desk.ask(collect(follower("n", 3, heard_s=2)))
    assert followers(desk) == [follower("n", 5, heard_s=2)]
    desk.ask(collect(follower("n", 7, heard_s=0)))
    assert followers(desk) == [follower("n", 7, heard_s=2)]


def test_a_wiped_member_is_another_follower_and_takes_the_place_of_the_one_of_its_name() -> None:
    desk = leader(KNOWN, tombstone(5), SetFollower(USERS, follower("old", 9, name="n")))
    assert desk.ask(collect(follower("new", 0, name="n"))) == Retained(0)
    assert followers(desk) == [follower("new", 0, name="n")]


def test_a_follower_that_was_silent_for_too_long_does_not_hold_tombstones_back_any_more() -> None:
    desk = leader(KNOWN, tombstone(5), SetFollower(USERS, follower("away", 4)))
    assert desk.ask(collect(), at(100)) == Retained(0)
    assert desk.ask(collect(), at(100.1)) == Retained(1)
    assert DropFollower(USERS, StoreId("away")) in changes(desk)
    assert followers(desk) == []


def test_a_follower_that_will_not_come_back_is_forgotten_when_the_operator_says_so() -> None:
    known = [SetFollower(USERS, follower("gone", 4)), SetFollower(SETTINGS, follower("other", 4))]
    desk = leader(KNOWN, tombstone(5), *known)
    assert desk.ask(Decommission(StoreId("gone"))) == Retained(1)
    assert changes(desk) == [DropFollower(USERS, StoreId("gone"))]
    assert desk.ask(Decommission(StoreId("gone"))) == Retained(0)
    assert desk.ask(collect()) == Retained(1)


# What nodes hear -----------------------------------------------------------------------------------------------------


def confirmed(seq: int, acked: int | None, data: str | None = None) -> Row:
    return Row(entry(f"users/{seq}", seq, data), seq, acked)


def test_a_node_drops_the_confirmed_tombstones_up_to_the_floor_it_hears_of() -> None:
    rows = [confirmed(1, 5), confirmed(2, 7), confirmed(3, 8), confirmed(4, None), confirmed(5, 6, "1")]
    desk = following_desk(*rows, cursor=9)
    assert desk.ask(HearFloor(USERS, A, 7, 70)) == Position(place(9, floor=7, collected=70), applied=True)
    assert [row.seq for row in desk.store[USERS].rows()] == [3, 4, 5]
    assert changes(desk) == [
        SetPlace(USERS, place(9, floor=7, collected=70)),
        DropRow(USERS, "users/1", 1),
        DropRow(USERS, "users/2", 2),
    ]


def test_a_node_that_is_behind_the_floor_drops_nothing_but_remembers_it() -> None:
    desk = following_desk(confirmed(1, 5), cursor=6)
    assert desk.ask(HearFloor(USERS, A, 7, 70)) == Position(place(6, floor=7, collected=70), applied=True)
    assert desk.store[USERS].tombstones == 1


def test_a_tombstone_that_is_replaced_in_the_same_batch_is_not_dropped_at_a_node() -> None:
    desk = following_desk(confirmed(1, 5), cursor=9)
    desk.stage(Put("users/1", "1"))
    desk.stage(HearFloor(USERS, A, 7, 70))
    assert changes(desk) == [SetPlace(USERS, place(9, floor=7, collected=70))]


def test_a_floor_of_another_life_or_one_that_we_know_changes_nothing() -> None:
    desk = following_desk(confirmed(1, 5), cursor=9, floor=7)
    for question in (HearFloor(USERS, B, 8, 80), HearFloor(USERS, A, 7, 80), HearFloor(USERS, NO_EPOCH, 8, 80)):
        assert desk.ask(question) == Position(place(9, floor=7), applied=False)
        assert [type(effect) for effect in desk.effects] == [Reply]


def test_the_greatest_collected_stamp_a_node_heard_of_never_goes_back() -> None:
    desk = following_desk(cursor=9)
    desk.ask(HearFloor(USERS, A, 7, 70))
    assert desk.ask(HearFloor(USERS, A, 8, 60)) == Position(place(9, floor=8, collected=70), applied=True)


# Across restarts -----------------------------------------------------------------------------------------------------


def test_a_restarted_leader_turns_away_whoever_had_not_seen_what_was_collected_before() -> None:
    desk = leader(KNOWN, tombstone(1), tombstone(2))
    desk.ask(collect())
    again = opened([change for change in desk.kept if not isinstance(change, DropRow)], knobs=KNOBS)
    assert again[USERS].retention.floor == again.head == 2
    assert again.stage_entry(entry(), acked=None).row == put(3, entry()).row
