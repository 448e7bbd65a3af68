"""Merging: of what nodes push and leaders feed the greater stays, and a question about elsewhere does nothing."""

import pytest
from msgspec.structs import replace

from pivot.core.collection import Place, PutRow, Retention, Row, SetPlace, SetRetention
from pivot.core.effects import Persist, Publish, Reply, Report
from pivot.core.entry import fingerprint
from pivot.core.events import Changed
from pivot.core.messages import RowAck, RowRejected
from pivot.core.notices import Conflict, Reissued, Rejected, Withdrawn
from pivot.core.questions import (
    Collect,
    Confirm,
    Confirmed,
    FollowEpoch,
    HearFloor,
    Merged,
    MergePage,
    MergePushed,
    MergeResync,
    Missed,
    Position,
    Put,
    Restamp,
    Wipe,
)
from pivot.types import NO_EPOCH, Epoch
from tests.core.builders import (
    OURS,
    SETTINGS,
    THEIRS,
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
    place,
    refused,
    row_ack,
    told,
)

SECOND_NS = 10**9
FAR_NS = WALL_NS + 61 * SECOND_NS


def fed(since: int, *stamps: int, to: int | None = None, epoch: Epoch = A, floor: int = 0) -> MergePage:
    entries = tuple(entry(f"users/{stamp}", stamp) for stamp in stamps)
    end = since + len(stamps) if to is None else to
    return MergePage(USERS, epoch, since, entries, tuple(range(since + 1, since + 1 + len(stamps))), end, floor)


def nothing_changed(desk: Desk) -> bool:
    return [type(effect) for effect in desk.effects] == [Reply]


# What nodes push -----------------------------------------------------------------------------------------------------


def test_a_pushed_version_is_kept_when_it_is_greater_and_confirmed_either_way() -> None:
    desk = leading_desk(Row(entry("users/a", 5), 1), Row(entry("users/b", 5), 2))
    older, newer = entry("users/a", 4), entry("users/b", 6)
    assert desk.ask(MergePushed(USERS, 0, (older, newer))) == Merged((row_ack(older, 1), row_ack(newer, 3)), ())
    assert only(desk.effects, Publish) == [Publish((newer,))]
    assert desk.store.clock.last == 6
    assert told(desk.effects) == [("leader", Changed(USERS, 3))]


def test_of_a_sender_that_cannot_say_what_it_has_seen_only_what_may_have_been_deleted_is_refused() -> None:
    desk = leading_desk(SetRetention(USERS, Retention(floor=4, collected=30)), Row(entry("users/here", 5), 5))
    late, later, known = entry("users/late", 30), entry("users/later", 31), entry("users/here", 20)
    merged = desk.ask(MergePushed(USERS, None, (late, later, known)))
    assert isinstance(merged, Merged)
    assert [(row.key, row.reason) for row in merged.rejected] == [
        ("users/late", "stamp 30 is not above 30: it may have been deleted since")
    ]
    assert merged.acks == (row_ack(later, 6), row_ack(known, 7))


@pytest.mark.parametrize("held", [7, 0])
def test_a_pushed_version_from_the_future_is_rejected_and_the_others_are_kept(held: int) -> None:
    desk = leading_desk(*[Row(entry("users/a", 7), 1)] * (held > 0))
    merged = desk.ask(MergePushed(USERS, 0, (entry("users/a", FAR_NS), entry("users/b", 1))))
    assert isinstance(merged, Merged)
    assert [ack.key for ack in merged.acks] == ["users/b"]
    (row,) = merged.rejected
    assert row == RowRejected("users/a", fingerprint(entry("users/a", FAR_NS)), row.reason, ahead=True, held=held)
    assert row.reason.startswith(f"clock_ahead: stamp {FAR_NS} leads our clock {WALL_NS} by 61.0 s")
    assert notices(desk.effects) == [Rejected("users/a", row.reason)]
    assert desk.store.clock.last < FAR_NS


@pytest.mark.parametrize(
    ("collected", "taken"), [(FAR_NS - 60 * SECOND_NS, True), (FAR_NS - 60 * SECOND_NS - 1, False)]
)
def test_a_version_from_the_future_is_welcome_when_it_had_to_be_later_than_a_collected_tombstone(
    collected: int, taken: bool
) -> None:
    desk = leading_desk(SetRetention(USERS, Retention(floor=3, collected=collected)))
    merged = desk.ask(MergePushed(USERS, 3, (entry(stamp=FAR_NS),)))
    assert isinstance(merged, Merged)
    assert (len(merged.acks), len(merged.rejected)) == ((1, 0) if taken else (0, 1))
    assert desk.store.clock.last < FAR_NS


def test_a_pushed_version_of_another_collection_is_rejected_whatever_its_stamp() -> None:
    merged = leading_desk().ask(MergePushed(USERS, 0, (entry("settings"),)))
    reason = "key 'settings' is not in collection 'users/*'"
    assert merged == Merged((), (RowRejected("settings", fingerprint(entry("settings")), reason),))


def test_a_lost_update_is_reported_when_a_push_meets_it() -> None:
    desk = leading_desk(Row(entry("users/a", 5, prev=0), 1))
    desk.ask(MergePushed(USERS, 0, (entry("users/a", 9, prev=0),)))
    assert only(desk.effects, Report) == [Report(Conflict(entry("users/a", 9, prev=0), entry("users/a", 5, prev=0)))]


def test_a_repeated_push_stands_or_falls_with_the_commit_of_the_first() -> None:
    desk = leading_desk()
    first = desk.stage(MergePushed(USERS, 0, (entry(),)))
    again = desk.stage(MergePushed(USERS, 0, (entry(),)))
    assert first == again == Merged((row_ack(entry()),), ())
    assert only(desk.effects, Persist) == [Persist((PutRow(USERS, Row(entry(), 1)),))]
    desk.commit()
    assert desk.stage(MergePushed(USERS, 0, (entry(),))) == first
    assert nothing_changed(desk)


@pytest.mark.parametrize(("seen", "taken"), [(6, False), (7, True), (8, True)])
def test_nothing_is_taken_from_a_node_that_has_not_seen_what_was_collected(seen: int, taken: bool) -> None:
    desk = leading_desk(SetRetention(USERS, Retention(floor=7, collected=70)))
    result = desk.ask(MergePushed(USERS, seen, (entry(),)))
    assert (result == Merged((row_ack(entry(), 8),), ())) == taken
    assert (result == Missed(7, 70) and nothing_changed(desk)) == (not taken)


def test_a_node_is_turned_away_for_a_floor_that_is_not_kept_only_with_the_commit_that_keeps_it() -> None:
    desk = leading_desk(Row(entry(data=None, stamp=30), 4), SetRetention(USERS, Retention(known=True)))
    desk.stage(Collect(USERS, (follower("n", 9),)))
    assert desk.stage(MergePushed(USERS, 3, (entry(stamp=2),))) == Missed(4, 30)
    (persist,) = only(desk.effects, Persist)
    assert persist.changes == (SetRetention(USERS, desk.store[USERS].peek_retention()),)
    assert desk.effects.index(persist) == 0


def test_a_pushed_version_is_taken_where_its_tombstone_is_collected_in_the_same_commit() -> None:
    desk = leading_desk(Row(entry(data=None, stamp=30), 4), SetRetention(USERS, Retention(known=True)))
    desk.stage(Collect(USERS, (follower("n", 9),)))
    assert desk.stage(MergePushed(USERS, 4, (entry(stamp=31),))) == Merged((row_ack(entry(stamp=31), 5),), ())
    desk.commit()
    assert desk.store[USERS].get("users/a") == Row(entry(stamp=31), 5)


# What a leader feeds -------------------------------------------------------------------------------------------------


def test_a_page_that_starts_at_the_cursor_is_merged_confirmed_and_moves_the_cursor() -> None:
    desk = following_desk(cursor=2)
    assert desk.ask(fed(2, 7, 8, to=9)) == Position(place(9), applied=True)
    assert [row.acked for row in desk.store[USERS].rows()] == [3, 4]
    assert (desk.store[USERS].place, desk.store[USERS].outbox_size) == (place(9), 0)
    assert desk.kept[-1] == SetPlace(USERS, place(9))


@pytest.mark.parametrize(
    "question",
    [fed(1, 7), fed(3, 7), fed(2, 7, epoch=B), fed(2, 7, floor=3)],
    ids=["before", "behind", "another life", "tombstones missed"],
)
def test_a_page_that_does_not_fit_changes_nothing(question: MergePage) -> None:
    desk = following_desk(cursor=2)
    assert desk.ask(question) == Position(place(2), applied=False)
    assert nothing_changed(desk)


def test_no_page_is_merged_below_a_floor_that_we_heard_of_in_any_way() -> None:
    desk = following_desk(cursor=2, floor=3)
    assert desk.ask(fed(2, 7)) == Position(place(2, floor=3), applied=False)
    desk = following_desk(cursor=3, floor=3)
    assert desk.ask(fed(3, 7)) == Position(place(4, floor=3), applied=True)


def test_a_page_row_that_we_have_is_confirmed_and_one_below_ours_is_not() -> None:
    equal, newer = entry("users/a", 5), entry("users/b", 5)
    desk = following_desk(Row(equal, 1), Row(newer, 2))
    desk.ask(MergePage(USERS, A, 0, (equal, entry("users/b", 4)), (7, 8), 8, 0))
    assert desk.store[USERS].get("users/a") == Row(equal, 1, 7)
    assert desk.store[USERS].get("users/b") == Row(newer, 2, None)
    desk.ask(MergePage(USERS, A, 8, (equal,), (9,), 9, 0))
    assert desk.store[USERS].get("users/a") == Row(equal, 1, 7)


def test_our_leaders_row_from_the_future_is_taken_without_moving_our_clock() -> None:
    desk = following_desk()
    desk.ask(fed(0, FAR_NS))
    assert desk.store[USERS].get(f"users/{FAR_NS}") is not None
    assert desk.store.clock.last == 0


def test_a_page_row_of_another_collection_is_skipped_and_reported() -> None:
    desk = following_desk()
    assert desk.ask(MergePage(USERS, A, 0, (entry("settings"),), (1,), 1, 0)) == Position(place(1), applied=True)
    assert notices(desk.effects) == [Rejected("settings", "key 'settings' is not in collection 'users/*'")]
    assert desk.store.table() == {}


# A new life ----------------------------------------------------------------------------------------------------------


def test_a_new_life_of_the_leader_is_followed_from_its_start_with_everything_to_offer() -> None:
    desk = following_desk(Row(entry(), 1, 5), cursor=5, floor=4)
    assert desk.ask(FollowEpoch(USERS, A, B)) == Position(place(0, epoch=B), applied=True)
    assert (desk.store[USERS].outbox_size, desk.store[USERS].place) == (1, place(0, epoch=B))


def test_what_the_leader_has_kept_of_the_life_before_stays_read_and_confirmed() -> None:
    rows = (Row(entry(), 1, 5), Row(entry("users/b", 2), 2, 8), Row(entry("users/c", 3), 3))
    desk = following_desk(*rows, cursor=7)
    assert desk.ask(FollowEpoch(USERS, A, B, 7)) == Position(place(7, epoch=B), applied=True)
    acked = {key: row.acked for key in desk.store.table() if (row := desk.store[USERS].get(key)) is not None}
    assert acked == {"users/a": 5, "users/b": None, "users/c": None}
    assert (desk.store[USERS].outbox_size, desk.store[USERS].acked_max) == (2, 7)


@pytest.mark.parametrize(
    ("head", "floor", "after"),
    [(7, 4, place(5, epoch=B, floor=4, head=7)), (7, 6, place(5, epoch=B, head=7)), (8, 4, place(0, epoch=B))],
    ids=["all is there", "a re-sync begins again", "more was there"],
)
def test_a_node_reads_on_in_a_new_life_if_it_never_read_what_is_gone_there(head: int, floor: int, after: Place) -> None:
    desk = following_desk(cursor=0)
    desk.ask(MergePage(USERS, A, 0, (), (), 5, 0, head))
    desk.ask(HearFloor(USERS, A, floor, 0))
    assert desk.ask(FollowEpoch(USERS, A, B, 7)) == Position(after, applied=True)


def test_what_an_earlier_life_of_the_leader_collected_still_lifts_our_writes_above_it() -> None:
    desk = following_desk(cursor=5)
    desk.ask(HearFloor(USERS, A, 4, WALL_NS + 50))
    desk.ask(FollowEpoch(USERS, A, B))
    assert desk.store[USERS].place == place(0, epoch=B, collected=WALL_NS + 50)
    assert desk.store.next_version(WALL_NS, "users/a", "1").stamp == WALL_NS + 51
    desk.ask(HearFloor(USERS, B, 1, 7))
    desk.ask(MergeResync(USERS, B, 0, (), (), 9, 1, 7, 0, last=True))
    assert desk.store[USERS].place == place(9, epoch=B, floor=1, collected=WALL_NS + 50)


@pytest.mark.parametrize("question", [FollowEpoch(USERS, B, A), FollowEpoch(USERS, A, A)], ids=["late", "same"])
def test_a_life_that_does_not_follow_ours_changes_nothing(question: FollowEpoch) -> None:
    desk = following_desk(cursor=5)
    assert desk.ask(question) == Position(place(5), applied=False)
    assert nothing_changed(desk)


def test_a_refused_page_and_a_refused_epoch_are_told_the_committed_place() -> None:
    desk = following_desk(cursor=2)
    assert desk.stage(fed(2, 7)) == Position(place(3), applied=True)
    assert desk.stage(fed(2, 7)) == Position(place(2), applied=False)
    assert desk.stage(FollowEpoch(USERS, A, B)) == Position(place(0, epoch=B), applied=True)
    assert desk.stage(FollowEpoch(USERS, A, B)) == Position(place(2), applied=False)
    desk.fail()
    assert desk.ask(fed(2, 7)) == Position(place(3), applied=True)


def test_a_node_that_joins_another_cluster_forgets_everything_once_and_remembers_for_whom() -> None:
    desk = following_desk(Row(entry(), 1, 5), Row(entry("users/b", 2, None), 2), cursor=5, floor=4)
    desk.stage(Put("users/c", "3"))
    wiped = Position(Place(cluster="theirs"), applied=True)
    assert desk.ask(Wipe(USERS, "theirs")) == wiped
    assert (desk.store.table(), desk.store[USERS].place) == ({}, Place(cluster="theirs"))
    reason = "wiped to follow cluster 'theirs'"
    told = [(notice.key, notice.reason) for notice in only(notices(desk.effects), Withdrawn)]
    assert told == [("users/a", reason), ("users/b", reason), ("users/c", reason)]
    desk.ask(Put("users/d", "4"))
    assert desk.ask(Wipe(USERS, "theirs")) == replace(wiped, applied=False)
    assert list(desk.store.table()) == ["users/d"]


def test_for_whom_everything_was_forgotten_is_remembered_whatever_is_read_from_then_on() -> None:
    desk = following_desk()
    desk.ask(Wipe(USERS, "theirs"))
    desk.ask(FollowEpoch(USERS, NO_EPOCH, A))
    desk.ask(fed(0, 7))
    desk.ask(HearFloor(USERS, A, 9, 90))
    desk.ask(MergeResync(USERS, A, 0, (entry("users/7", 7),), (1,), 9, 9, 90, 0, last=True))
    assert desk.store[USERS].place == Place(A, 9, 9, 90, "theirs", head=9)


def test_a_resync_that_was_under_way_does_not_go_on_after_everything_was_forgotten() -> None:
    desk = following_desk()
    desk.ask(MergeResync(USERS, A, 0, (entry(),), (1,), 1, 9, 90, 0, last=False))
    desk.ask(Wipe(USERS, "theirs"))
    assert not desk.store.resyncing(USERS)


# What a leader confirms ----------------------------------------------------------------------------------------------


def test_a_confirmed_version_leaves_the_outbox() -> None:
    desk = following_desk(Row(entry(), 1))
    assert desk.ask(Confirm(USERS, A, (row_ack(entry(), 7),))) == Confirmed(1)
    assert desk.store[USERS].get("users/a") == Row(entry(), 1, 7)
    assert desk.ask(Confirm(USERS, A, (row_ack(entry(), 7),))) == Confirmed(0)


@pytest.mark.parametrize("committed", [True, False])
def test_a_row_stays_unconfirmed_when_it_was_rewritten_while_its_push_was_under_way(committed: bool) -> None:
    desk = following_desk(Row(entry(), 1))
    desk.stage(Put("users/a", "2"))
    if committed:
        desk.commit()
    assert desk.stage(Confirm(USERS, A, (row_ack(entry()),))) == Confirmed(0)
    desk.commit()
    assert desk.store[USERS].outbox_size == 1


@pytest.mark.parametrize(
    ("epoch", "ack"),
    [(B, row_ack(entry())), (A, row_ack(entry("users/b"))), (A, RowAck("users/a", "another version", 1))],
    ids=["another life", "no such row", "another version"],
)
def test_a_confirmation_counts_only_for_this_life_and_version(epoch: Epoch, ack: RowAck) -> None:
    desk = following_desk(Row(entry(), 1))
    assert desk.ask(Confirm(USERS, epoch, (ack,))) == Confirmed(0)
    assert desk.store[USERS].outbox_size == 1
    assert desk.store[SETTINGS].outbox_size == 0


# What a leader refuses for being ahead -------------------------------------------------------------------------------


def test_our_own_write_from_a_future_is_written_again_when_our_clock_is_right() -> None:
    ahead = entry(stamp=FAR_NS, created=5, origin=OURS, prev=3)
    desk = following_desk(Row(ahead, 1))
    assert desk.ask(Restamp(USERS, (refused(ahead, held=5),))) == Position(place(0), applied=True)
    again = entry(stamp=WALL_NS, created=5, origin=OURS, prev=None)
    assert desk.store[USERS].get("users/a") == Row(again, 2)
    assert only(desk.effects, Publish) == [Publish((again,))]
    assert notices(desk.effects) == [
        Reissued("users/a", FAR_NS, WALL_NS, "it was written while a clock was ahead"),
    ]
    assert desk.store.next_version(WALL_NS, "users/b", "1").stamp == WALL_NS + 1


def test_what_is_written_again_is_later_than_what_the_leader_has_which_its_writer_had_seen() -> None:
    ahead = entry(stamp=FAR_NS, created=5, origin=OURS)
    desk = following_desk(Row(ahead, 1))
    desk.ask(Restamp(USERS, (refused(ahead, held=WALL_NS + 30),)))
    assert desk.store[USERS].get("users/a") == Row(entry(stamp=WALL_NS + 31, created=5, origin=OURS), 2)


def test_a_stamp_that_was_given_up_is_not_given_to_that_key_again() -> None:
    one, other = entry("users/a", FAR_NS + 1, origin=OURS), entry("users/b", FAR_NS, origin=OURS)
    desk = following_desk(Row(other, 1), Row(one, 2))
    desk.ask(Restamp(USERS, (refused(one),)))
    later_ns = FAR_NS - 1  # time has gone by, and the other one is no longer ahead
    desk.store.clock.observe(FAR_NS, wall_ns=later_ns)
    assert desk.store.next_version(later_ns, "users/c", "1").stamp == FAR_NS + 1
    desk.store.clock.last = FAR_NS
    assert desk.store.next_version(later_ns, "users/a", "1").stamp == FAR_NS + 2


def test_a_life_of_a_key_that_began_in_a_future_begins_again_now() -> None:
    ahead = entry(stamp=FAR_NS + 9, created=FAR_NS, origin=OURS)
    desk = following_desk(Row(ahead, 1))
    desk.ask(Restamp(USERS, (refused(ahead),)))
    assert desk.store[USERS].get("users/a") == Row(entry(stamp=WALL_NS, origin=OURS), 2)


def test_anothers_write_from_a_future_is_written_again_when_the_leader_has_nothing_for_that_key() -> None:
    ahead = entry(stamp=FAR_NS, origin=THEIRS)
    desk = following_desk(Row(ahead, 1))
    desk.ask(Restamp(USERS, (refused(ahead, held=0),)))
    assert desk.store[USERS].get("users/a") == Row(entry(stamp=WALL_NS, origin=OURS), 2)


def test_anothers_write_from_a_future_is_dropped_and_everything_read_again_when_the_leader_has_another() -> None:
    ahead = entry(stamp=FAR_NS, origin=THEIRS)
    desk = following_desk(Row(ahead, 1), cursor=9, floor=2)
    assert desk.ask(Restamp(USERS, (refused(ahead, held=5),))) == Position(place(0, floor=2, head=9), applied=True)
    assert desk.store.table() == {}
    assert desk.store[USERS].place == place(0, floor=2, head=9)
    assert notices(desk.effects) == [Withdrawn("users/a", FAR_NS, "ahead of every clock, and left to its author")]
    assert only(desk.effects, Publish)[0].entries[0].deleted


def test_a_dropped_tombstone_is_no_news_to_whoever_watches() -> None:
    ahead = entry(stamp=FAR_NS, data=None)
    desk = following_desk(Row(ahead, 1))
    desk.ask(Restamp(USERS, (refused(ahead, held=True),)))
    assert (desk.store.table(), only(desk.effects, Publish)) == ({}, [])
    reason = "ahead of every clock, and left to its author"
    assert notices(desk.effects) == [Withdrawn("users/a", FAR_NS, reason)]  # people hear of it


NEAR = entry(stamp=WALL_NS + 60 * SECOND_NS)
FAR = entry(stamp=FAR_NS)


@pytest.mark.parametrize(
    ("row", "rejected"),
    [
        (Row(NEAR, 1), refused(NEAR)),
        (Row(FAR, 1, 7), refused(FAR)),
        (Row(FAR, 1), refused(NEAR)),
        (Row(FAR, 1), refused(entry("users/b", FAR_NS))),
    ],
    ids=["our clock is ahead, too", "confirmed meanwhile", "rewritten meanwhile", "no such row"],
)
def test_a_refused_version_stays_as_it_is_when_it_is_not_ahead_of_us_or_not_here_any_more(
    row: Row, rejected: RowRejected
) -> None:
    desk = following_desk(row, cursor=4)
    assert desk.ask(Restamp(USERS, (rejected,))) == Position(place(4), applied=False)
    assert nothing_changed(desk)
    assert desk.store[USERS].get("users/a") == row


def test_a_refused_version_is_written_again_once_the_wall_clock_comes_near_it() -> None:
    desk = following_desk(Row(FAR, 1))
    assert desk.ask(Restamp(USERS, (refused(FAR),)), at(2)) == Position(place(0), applied=False)
    assert desk.ask(Restamp(USERS, (refused(FAR),)), at(0)) == Position(place(0), applied=True)
