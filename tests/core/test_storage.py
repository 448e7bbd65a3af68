"""StorageBehaviour: what each question changes and answers, and that nothing is told before it is kept."""

import pytest

from pivot.config import Knobs
from pivot.core.collection import Row, SetCursor
from pivot.core.effects import Persist, Publish, Reply, Report, Tell
from pivot.core.events import (
    Changed,
    Confirm,
    Confirmed,
    Conflict,
    Describe,
    Entries,
    FollowEpoch,
    Get,
    Keys,
    ListAll,
    ListKeys,
    Merged,
    MergePage,
    MergePushed,
    Position,
    PushItem,
    Put,
    Question,
    ReadFeed,
    ReadOutbox,
    Rejected,
    Remove,
    Started,
    StorageRefused,
    StoreInfo,
    Written,
)
from pivot.core.messages import RowAck
from pivot.types import NO_EPOCH, Epoch
from tests.core.builders import (
    SETTINGS,
    USERS,
    WALL_NS,
    A,
    B,
    Desk,
    at,
    entry,
    notices,
    only,
    opened,
    put,
    row_ack,
    told,
)

FAR_NS = WALL_NS + 61 * 10**9


def node(*rows: Row, epoch: Epoch = A, cursor: int = 0) -> Desk:
    kept = [put(row.seq, row.entry, acked=row.acked) for row in rows]
    return Desk(opened([*kept, SetCursor(USERS, epoch, cursor)], follows=True), listener="node")


def leader(*rows: Row) -> Desk:
    return Desk(opened([put(row.seq, row.entry) for row in rows]))


def merge_page(since: int, *stamps: int, to: int | None = None, epoch: Epoch = A) -> MergePage:
    entries = tuple(entry(f"users/{stamp}", stamp) for stamp in stamps)
    end = since + len(stamps) if to is None else to
    return MergePage(USERS, epoch, since, entries, tuple(range(since + 1, since + 1 + len(stamps))), end)


# The durability rule -------------------------------------------------------------------------------------------------

CHANGING: list[tuple[Desk, Question]] = [
    (leader(), Put("users/a", "1")),
    (leader(), PushItem(USERS, "1")),
    (leader(Row(entry(), 1)), Remove(USERS)),
    (leader(Row(entry(), 1)), MergePushed(USERS, (entry(stamp=2, prev=0),))),
    (node(Row(entry(), 1)), MergePage(USERS, A, 0, (entry(stamp=2, prev=0),), (1,), 1)),
    (node(), FollowEpoch(USERS, A, B)),
    (node(Row(entry(), 1)), Confirm(USERS, A, (row_ack(entry()),))),
]


@pytest.mark.parametrize(("desk", "question"), CHANGING, ids=lambda part: type(part).__name__)
def test_what_changes_is_persisted_before_anybody_is_told(desk: Desk, question: Question) -> None:
    desk.stage(question)
    assert isinstance(desk.effects[0], Persist)
    assert isinstance(desk.effects[1], Reply)
    assert len(only(desk.effects, Persist)) == 1
    desk.fail()


def test_staged_rows_are_invisible_until_the_commit() -> None:
    desk = leader()
    desk.stage(Put("users/a", "1"))
    assert desk.stage(Get("users/a")) == Entries((), 0)
    assert desk.stage(ListAll(USERS)) == Entries((), 0)
    assert desk.stage(ListKeys("a")) == Keys(())
    piece = desk.store[USERS].feed(0, rows_max=9, bytes_max=999)
    assert desk.stage(ReadFeed(USERS, 0)) == piece
    assert piece.rows == ()
    assert told(desk.commit()) == [("leader", Changed(USERS, 1))]
    assert desk.stage(ListKeys("a")) == Keys(("users/a",))


def test_a_failed_commit_leaves_nothing_and_says_why() -> None:
    desk = leader()
    desk.stage(Put("users/a", "1"))
    assert notices(desk.fail("disk full")) == [StorageRefused("disk full")]
    assert desk.ask(Get("users/a")) == Entries((), 0)
    written = desk.ask(Put("users/a", "2"))
    assert isinstance(written, Written)
    assert desk.ask(Get("users/a")) == Entries((desk.store.table()["users/a"],), 2)


def test_a_repeated_push_stands_or_falls_with_the_commit_of_the_first() -> None:
    desk = leader()
    first = desk.stage(MergePushed(USERS, (entry(),)))
    again = desk.stage(MergePushed(USERS, (entry(),)))
    assert first == again == Merged((row_ack(entry()),), ())
    assert only(desk.effects, Persist) == [Persist((put(1, entry()),))]
    desk.commit()
    assert desk.stage(MergePushed(USERS, (entry(),))) == first
    assert only(desk.effects, Persist) == []


def test_a_refused_page_and_a_refused_epoch_are_told_the_committed_place() -> None:
    desk = node(cursor=2)
    assert desk.stage(merge_page(2, 7)) == Position(A, 3, applied=True)
    assert desk.stage(merge_page(2, 7)) == Position(A, 2, applied=False)
    assert desk.stage(FollowEpoch(USERS, A, B)) == Position(B, 0, applied=True)
    assert desk.stage(FollowEpoch(USERS, A, B)) == Position(A, 2, applied=False)
    desk.fail()
    assert desk.ask(merge_page(2, 7)) == Position(A, 3, applied=True)


def test_a_second_delete_in_a_batch_does_not_rely_on_the_commit_of_the_first() -> None:
    desk = leader(Row(entry("users/a", 5), 1))
    for _ in range(2):
        written = desk.stage(Remove("users/a"))
        assert isinstance(written, Written)
        assert written.keys == ("users/a",)
        assert only(desk.effects, Persist)


# Writes and reads ----------------------------------------------------------------------------------------------------


def test_a_write_is_answered_with_its_key_and_stamp_and_published() -> None:
    desk = leader()
    assert desk.ask(Put("users/a", "1")) == Written(("users/a",), (WALL_NS,))
    assert only(desk.effects, Publish) == [Publish((desk.store.table()["users/a"],))]
    pushed = desk.ask(PushItem(USERS, "2"))
    assert isinstance(pushed, Written)
    assert pushed.stamp == WALL_NS + 1
    assert desk.ask(ListKeys("users/")) == Keys(tuple(sorted(desk.store.table())))


def test_a_delete_that_finds_nothing_changes_nothing() -> None:
    desk = leader()
    nothing = desk.ask(Remove(USERS))
    assert nothing == Written((), ())
    assert isinstance(nothing, Written)
    assert nothing.stamp == 0
    assert [type(effect) for effect in desk.effects] == [Reply]


def test_a_deleted_entry_is_not_read_but_fed() -> None:
    desk = leader(Row(entry("users/a", 5), 1))
    desk.ask(Remove("users/*"))
    assert desk.ask(Get("users/a")) == Entries((), 2)
    assert desk.ask(ListAll(USERS)) == Entries((), 2)
    assert [row.entry.deleted for row in desk.store[USERS].feed(0, rows_max=9, bytes_max=999).rows] == [True]


def test_a_list_is_newest_first_and_equal_ages_in_key_order() -> None:
    desk = leader(Row(entry("users/b", 5), 1), Row(entry("users/c", 9), 2), Row(entry("users/a", 7, created=5), 3))
    listed = desk.ask(ListAll(USERS))
    assert isinstance(listed, Entries)
    assert [found.key for found in listed.entries] == ["users/c", "users/a", "users/b"]


def test_what_no_collection_holds_is_kept_here_and_wakes_nobody() -> None:
    desk = leader()
    desk.ask(Put("elsewhere", "1"))
    assert only(desk.effects, Tell) == []
    assert desk.store.table() == {}
    assert isinstance(desk.ask(Describe()), StoreInfo)


def test_pages_are_as_long_as_the_knobs_allow() -> None:
    knobs = Knobs(page_rows=2)
    rows = [put(seq, entry(f"users/{seq}", seq)) for seq in (1, 2, 3)]
    desk = Desk(opened(rows, follows=True), knobs=knobs)
    assert (
        desk.ask(ReadOutbox(USERS, 0))
        == desk.ask(ReadFeed(USERS, 0))
        == desk.store[USERS].feed(0, rows_max=2, bytes_max=999)
    )


def test_other_events_mean_nothing_to_storage() -> None:
    assert leader().storage.step(at(0), Started()) == []


# What nodes push -----------------------------------------------------------------------------------------------------


def test_a_pushed_version_is_kept_when_it_is_greater_and_confirmed_either_way() -> None:
    desk = leader(Row(entry("users/a", 5), 1), Row(entry("users/b", 5), 2))
    older, newer = entry("users/a", 4), entry("users/b", 6)
    assert desk.ask(MergePushed(USERS, (older, newer))) == Merged((row_ack(older, 1), row_ack(newer, 3)), ())
    assert only(desk.effects, Publish) == [Publish((newer,))]
    assert desk.store.clock.last == 6
    assert told(desk.effects) == [("leader", Changed(USERS, 3))]


def test_a_pushed_version_from_the_future_is_rejected_and_the_others_are_kept() -> None:
    desk = leader()
    merged = desk.ask(MergePushed(USERS, (entry("users/a", FAR_NS), entry("users/b", 1))))
    assert isinstance(merged, Merged)
    assert [ack.key for ack in merged.acks] == ["users/b"]
    assert [row.key for row in merged.rejected] == ["users/a"]
    assert merged.rejected[0].reason.startswith(f"clock_ahead: stamp {FAR_NS} leads our clock {WALL_NS} by 61.0 s")
    assert notices(desk.effects) == [Rejected("users/a", merged.rejected[0].reason)]
    assert desk.store.clock.last < FAR_NS


def test_a_pushed_version_of_another_collection_is_rejected() -> None:
    merged = leader().ask(MergePushed(USERS, (entry("settings"),)))
    assert isinstance(merged, Merged)
    assert merged.rejected[0].reason == "key 'settings' is not in collection 'users/*'"


def test_a_lost_update_is_reported_when_a_push_meets_it() -> None:
    desk = leader(Row(entry("users/a", 5, prev=0), 1))
    desk.ask(MergePushed(USERS, (entry("users/a", 9, prev=0),)))
    assert only(desk.effects, Report) == [Report(Conflict(entry("users/a", 9, prev=0), entry("users/a", 5, prev=0)))]


# What a leader feeds -------------------------------------------------------------------------------------------------


def test_a_page_that_starts_at_the_cursor_is_merged_confirmed_and_moves_the_cursor() -> None:
    desk = node(cursor=2)
    assert desk.ask(merge_page(2, 7, 8, to=9)) == Position(A, 9, applied=True)
    assert [row.acked for row in desk.store[USERS].rows()] == [3, 4]
    assert (desk.store[USERS].cursor, desk.store[USERS].outbox_size) == (9, 0)
    assert desk.kept[-1] == SetCursor(USERS, A, 9)


@pytest.mark.parametrize("question", [merge_page(1, 7), merge_page(3, 7), merge_page(2, 7, epoch=B)])
def test_a_page_from_elsewhere_changes_nothing(question: MergePage) -> None:
    desk = node(cursor=2)
    assert desk.ask(question) == Position(A, 2, applied=False)
    assert [type(effect) for effect in desk.effects] == [Reply]


def test_a_page_row_that_we_have_is_confirmed_and_one_below_ours_is_not() -> None:
    equal, newer = entry("users/a", 5), entry("users/b", 5)
    desk = node(Row(equal, 1), Row(newer, 2))
    desk.ask(MergePage(USERS, A, 0, (equal, entry("users/b", 4)), (7, 8), 8))
    assert desk.store[USERS].get("users/a") == Row(equal, 1, 7)
    assert desk.store[USERS].get("users/b") == Row(newer, 2, None)
    desk.ask(MergePage(USERS, A, 8, (equal,), (9,), 9))
    assert desk.store[USERS].get("users/a") == Row(equal, 1, 7)


def test_our_leaders_row_from_the_future_is_taken_without_moving_our_clock() -> None:
    desk = node()
    desk.ask(merge_page(0, FAR_NS))
    assert desk.store[USERS].get(f"users/{FAR_NS}") is not None
    assert desk.store.clock.last == 0


def test_a_page_row_of_another_collection_is_skipped_and_reported() -> None:
    desk = node()
    assert desk.ask(MergePage(USERS, A, 0, (entry("settings"),), (1,), 1)) == Position(A, 1, applied=True)
    assert notices(desk.effects) == [Rejected("settings", "key 'settings' is not in collection 'users/*'")]
    assert desk.store.table() == {}


def test_a_new_life_of_the_leader_is_followed_from_its_start_with_everything_to_offer() -> None:
    desk = node(Row(entry(), 1, 5), cursor=5)
    assert desk.ask(FollowEpoch(USERS, A, B)) == Position(B, 0, applied=True)
    assert (desk.store[USERS].outbox_size, desk.store[USERS].epoch) == (1, B)


@pytest.mark.parametrize(
    "question", [FollowEpoch(USERS, B, A), FollowEpoch(USERS, A, A), FollowEpoch(USERS, NO_EPOCH, B)]
)
def test_a_reset_that_does_not_answer_our_life_or_names_it_changes_nothing(question: FollowEpoch) -> None:
    desk = node(cursor=5)
    assert desk.ask(question) == Position(A, 5, applied=False)


# What a leader confirms ----------------------------------------------------------------------------------------------


def test_a_confirmed_version_leaves_the_outbox() -> None:
    desk = node(Row(entry(), 1))
    assert desk.ask(Confirm(USERS, A, (row_ack(entry(), 7),))) == Confirmed(1)
    assert desk.store[USERS].get("users/a") == Row(entry(), 1, 7)
    assert desk.ask(Confirm(USERS, A, (row_ack(entry(), 7),))) == Confirmed(0)


@pytest.mark.parametrize("committed", [True, False])
def test_a_row_stays_unconfirmed_when_it_was_rewritten_while_its_push_was_under_way(committed: bool) -> None:
    desk = node(Row(entry(), 1))
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
    desk = node(Row(entry(), 1))
    assert desk.ask(Confirm(USERS, epoch, (ack,))) == Confirmed(0)
    assert desk.store[USERS].outbox_size == 1
    assert desk.store[SETTINGS].outbox_size == 0
