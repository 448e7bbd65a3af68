"""StorageBehaviour: what each question changes and answers, and that nothing is told before it is kept."""

import pytest
from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.collection import DropRow, FeedSlice, Retention, Row, SetFollower, SetRetention
from pivot.core.effects import Persist, Publish, Reply, Tell
from pivot.core.events import Changed, Started
from pivot.core.notices import StorageRefused
from pivot.core.questions import (
    Buckets,
    Collect,
    CompareDigest,
    Confirm,
    ConfirmFollowers,
    Decommission,
    Describe,
    Digested,
    Entries,
    FollowEpoch,
    Get,
    HearFloor,
    Keys,
    ListAll,
    ListKeys,
    MendBuckets,
    MergePage,
    MergePushed,
    MergeResync,
    Misfit,
    Patch,
    PushItem,
    Put,
    Question,
    ReadBuckets,
    ReadFeed,
    ReadOutbox,
    Remove,
    Restamp,
    StoreInfo,
    Wipe,
    Written,
)
from tests.core.builders import (
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
    put,
    refused,
    row_ack,
    told,
)

FAR_NS = WALL_NS + 3600 * 10**9


# The durability rule -------------------------------------------------------------------------------------------------

CHANGING: list[tuple[Desk, Question]] = [
    (leading_desk(), Put("users/a", "1")),
    (leading_desk(), PushItem(USERS, "1")),
    (leading_desk(Row(entry(data='{"a":1}'), 1)), Patch("users/a", '{"a":2}')),
    (leading_desk(Row(entry(), 1)), Remove(USERS)),
    (leading_desk(Row(entry(), 1)), MergePushed(USERS, 0, (entry(stamp=2, prev=0),))),
    (following_desk(Row(entry(), 1)), MergePage(USERS, A, 0, (entry(stamp=2, prev=0),), (1,), 1, 0)),
    (following_desk(Row(entry(), 1)), MergeResync(USERS, A, 0, (entry(stamp=2, prev=0),), (1,), 1, 0, 0, 0, last=True)),
    (following_desk(), FollowEpoch(USERS, A, B)),
    (following_desk(Row(entry(), 1)), Wipe(USERS, "theirs")),
    (following_desk(Row(entry(), 1)), Confirm(USERS, A, (row_ack(entry()),))),
    (following_desk(Row(entry(stamp=FAR_NS), 1)), Restamp(USERS, (refused(entry(stamp=FAR_NS)),))),
    (following_desk(Row(entry(data=None), 1, 1), cursor=5), HearFloor(USERS, A, 5, 50)),
    (following_desk(Row(entry(), 1)), MendBuckets(USERS, A, (), (entry(stamp=2),), (1,))),
    (leading_desk(Row(entry(data=None), 1)), Collect(USERS, (follower("n", 0),))),
    (leading_desk(), ConfirmFollowers()),
    (leading_desk(SetFollower(USERS, follower("n", 0))), Decommission(follower("n", 0).store)),
]


@pytest.mark.parametrize(("desk", "question"), CHANGING, ids=lambda part: type(part).__name__)
def test_what_changes_is_persisted_before_anybody_is_told(desk: Desk, question: Question) -> None:
    desk.stage(question)
    assert isinstance(desk.effects[0], Persist)
    assert isinstance(desk.effects[1], Reply)
    assert len(only(desk.effects, Persist)) == 1
    desk.fail()


def test_staged_rows_are_invisible_until_the_commit() -> None:
    desk = leading_desk()
    desk.stage(Put("users/a", "1"))
    assert desk.stage(Get("users/a")) == Entries((), 0)
    assert desk.stage(ListAll(USERS)) == Entries((), 0)
    assert desk.stage(ListKeys("a")) == Keys(())
    piece = desk.stage(ReadFeed(USERS, 0))
    assert isinstance(piece, FeedSlice)
    assert (piece.rows, piece.next) == ((), 0)
    assert told(desk.commit()) == [("leader", Changed(USERS, 1))]
    assert desk.stage(ListKeys("a")) == Keys(("users/a",))


def test_a_failed_commit_leaves_nothing_and_says_why() -> None:
    desk = leading_desk()
    desk.stage(Put("users/a", "1"))
    assert notices(desk.fail("disk full")) == [StorageRefused("disk full")]
    assert desk.ask(Get("users/a")) == Entries((), 0)
    written = desk.ask(Put("users/a", "2"))
    assert isinstance(written, Written)
    assert desk.ask(Get("users/a")) == Entries((desk.store.table()["users/a"],), 2)


def test_a_second_delete_in_a_batch_does_not_rely_on_the_commit_of_the_first() -> None:
    desk = leading_desk(Row(entry("users/a", 5), 1))
    for _ in range(2):
        written = desk.stage(Remove("users/a"))
        assert isinstance(written, Written)
        assert written.keys == ("users/a",)
        assert only(desk.effects, Persist)


# Writes and reads ----------------------------------------------------------------------------------------------------


def test_a_write_is_answered_with_its_key_and_stamp_and_published() -> None:
    desk = leading_desk()
    assert desk.ask(Put("users/a", "1")) == Written(("users/a",), (WALL_NS,))
    assert only(desk.effects, Publish) == [Publish((desk.store.table()["users/a"],))]
    pushed = desk.ask(PushItem(USERS, "2"))
    assert isinstance(pushed, Written)
    assert pushed.stamp == WALL_NS + 1
    assert desk.ask(ListKeys("users/")) == Keys(tuple(sorted(desk.store.table())))


def test_a_patch_is_merged_into_what_an_earlier_question_of_the_batch_left() -> None:
    desk = leading_desk(Row(entry("users/a", 5, '{"a":1}'), 1))
    desk.stage(Put("users/a", '{"b":{"c":1}}'))
    desk.stage(Patch("users/a", '{"b":{"d":2}}'))
    desk.commit()
    patched = desk.store.table()["users/a"]
    assert (patched.created, patched.data) == (5, '{"b":{"c":1,"d":2}}')


@pytest.mark.parametrize("row", [None, Row(entry(data=None), 1)])
def test_a_patch_of_what_is_not_here_changes_nothing(row: Row | None) -> None:
    desk = leading_desk(*([] if row is None else [row]))
    assert desk.ask(Patch("users/a", "{}")) == Written((), ())
    assert [type(effect) for effect in desk.effects] == [Reply]


def test_a_patch_that_does_not_fit_changes_nothing() -> None:
    desk = leading_desk(Row(entry(data="[]"), 1))
    misfit = desk.ask(Patch("users/a", "{}"))
    assert isinstance(misfit, Misfit)
    assert "an array" in misfit.reason
    assert [type(effect) for effect in desk.effects] == [Reply]


@pytest.mark.parametrize(
    ("first", "result"), [(Remove("users/a"), Written), (Put("users/a", "[]"), Misfit), (Wipe(USERS, "x"), Written)]
)
def test_the_refusal_of_a_patch_falls_with_the_commit_that_is_its_reason(first: Question, result: type) -> None:
    """Else a client would be told that there is nothing, or nothing that fits, and there is."""
    desk = following_desk(Row(entry(data="{}"), 1))
    desk.stage(first)
    assert isinstance(desk.stage(Patch("users/a", "{}")), result)
    assert only(desk.effects, Persist)
    before = desk.store[USERS].get("users/a")
    desk.commit()
    assert desk.store[USERS].get("users/a") != before


def test_a_delete_that_finds_nothing_changes_nothing() -> None:
    desk = leading_desk()
    nothing = desk.ask(Remove(USERS))
    assert nothing == Written((), ())
    assert isinstance(nothing, Written)
    assert nothing.stamp == 0
    assert [type(effect) for effect in desk.effects] == [Reply]


def test_a_deleted_entry_is_not_read_but_fed() -> None:
    desk = leading_desk(Row(entry("users/a", 5), 1))
    desk.ask(Remove("users/*"))
    assert desk.ask(Get("users/a")) == Entries((), 2)
    assert desk.ask(ListAll(USERS)) == Entries((), 2)
    assert [row.entry.deleted for row in desk.store[USERS].feed(0, rows_max=9, bytes_max=999).rows] == [True]


def test_a_list_is_newest_first_and_equal_ages_in_key_order() -> None:
    desk = leading_desk(
        Row(entry("users/b", 5), 1), Row(entry("users/c", 9), 2), Row(entry("users/a", 7, created=5), 3)
    )
    listed = desk.ask(ListAll(USERS))
    assert isinstance(listed, Entries)
    assert [found.key for found in listed.entries] == ["users/c", "users/a", "users/b"]


def test_what_no_collection_holds_is_kept_here_and_wakes_nobody() -> None:
    desk = leading_desk()
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
        == replace(desk.ask(ReadFeed(USERS, 0)), clock=0)
        == desk.store[USERS].feed(0, rows_max=2, bytes_max=999)
    )


def test_other_events_mean_nothing_to_storage() -> None:
    assert leading_desk().storage.step(at(0), Started()) == []


def test_a_piece_of_the_feed_says_which_stamps_were_issued_or_seen_here() -> None:
    desk = leading_desk(Row(entry(stamp=7), 1))
    assert desk.ask(ReadFeed(USERS, 0)) == replace(desk.store[USERS].feed(0, rows_max=9, bytes_max=999), clock=7)


def test_a_store_can_be_compared_and_described_without_changing_it() -> None:
    desk = following_desk()
    digest = desk.store[USERS].digest
    questions = [CompareDigest(USERS, A, 0, "other"), ReadBuckets(USERS, 0, digest.sums()), Describe()]
    results = [desk.ask(question) for question in questions]
    assert results == [Digested(digest.sums()), Buckets((), ()), desk.store.describe()]
    assert desk.kept == []


def test_what_a_failed_commit_would_have_collected_is_still_there() -> None:
    desk = leading_desk(Row(entry(data=None), 1), SetRetention(USERS, Retention(known=True)))
    desk.stage(Collect(USERS, ()))
    assert DropRow(USERS, "users/a", 1) in only(desk.effects, Persist)[0].changes
    desk.fail()
    assert desk.store[USERS].tombstones == 1
    assert desk.store[USERS].peek_retention() == Retention(known=True)
