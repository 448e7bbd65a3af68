"""Mending: a difference is found only when nothing is on its way, and mended without deleting what is absent."""

import pytest

from pivot.config import Knobs
from pivot.core.collection import Row
from pivot.core.digest import BucketSums, bucket_of
from pivot.core.effects import Publish, Reply
from pivot.core.entry import Entry
from pivot.core.questions import (
    Buckets,
    CompareDigest,
    Confirmed,
    Digested,
    HearFloor,
    MendBuckets,
    MergePage,
    MergePushed,
    MergeResync,
    ReadBuckets,
)
from pivot.types import Epoch
from tests.core.builders import (
    USERS,
    A,
    B,
    Desk,
    entry,
    following_desk,
    leading_desk,
    only,
)

OURS = entry("users/a", 5)
THEIRS = entry("users/b", 5)
SOMETHING = BucketSums([THEIRS]).text()


def node(*changes: Row, cursor: int = 9) -> Desk:
    """A node that has everything and has nothing to offer."""
    return following_desk(Row(OURS, 1, 1), *changes, cursor=cursor)


def compare(cursor: int = 9, digest: str = SOMETHING) -> CompareDigest:
    return CompareDigest(USERS, A, cursor, digest)


# Comparing -----------------------------------------------------------------------------------------------------------


def test_a_node_that_is_equal_to_its_leader_has_nothing_to_say() -> None:
    assert node().ask(compare(digest=BucketSums([OURS]).text())) == Digested(())


def test_a_node_that_has_everything_and_yet_another_digest_tells_its_sums() -> None:
    assert node().ask(compare()) == Digested(BucketSums([OURS]).sums())


@pytest.mark.parametrize(
    ("desk", "question"),
    [
        (node(), CompareDigest(USERS, B, 9, SOMETHING)),
        (node(), compare(8)),
        (node(), compare(10)),
        (node(Row(THEIRS, 2)), compare()),
        (node(Row(THEIRS, 2, 10)), compare()),
        (following_desk(cursor=9, floor=10), compare()),
    ],
    ids=["another life", "ahead", "behind", "with an outbox", "confirmed beyond the cursor", "tombstones missed"],
)
def test_a_node_is_not_compared_while_it_may_rightly_differ(desk: Desk, question: CompareDigest) -> None:
    assert desk.ask(question) == Digested(())


def test_a_node_is_not_compared_within_a_batch_that_moves_it() -> None:
    desk = node()
    desk.stage(MergePage(USERS, A, 9, (THEIRS,), (10,), 10, 0))
    assert desk.stage(compare(10)) == Digested(())
    assert desk.stage(compare(9)) == Digested(())
    desk.commit()
    assert desk.ask(compare(10)) == Digested(BucketSums([OURS, THEIRS]).sums())


def test_a_node_is_not_compared_while_it_reads_everything_again() -> None:
    desk = node()
    desk.ask(MergeResync(USERS, A, 0, (OURS,), (1,), 1, 7, 0, 0, last=False))
    assert desk.ask(compare()) == Digested(())


# Reading what differs ------------------------------------------------------------------------------------------------


def found(desk: Desk, cursor: int, *theirs: Entry) -> Buckets:
    result = desk.ask(ReadBuckets(USERS, cursor, BucketSums(theirs).sums()))
    assert isinstance(result, Buckets)
    return result


def test_a_leader_reads_all_its_rows_in_the_buckets_that_differ_tombstones_included() -> None:
    neighbour = next(f"users/{n}" for n in range(9999) if bucket_of(f"users/{n}") == bucket_of("users/a"))
    rows = [Row(OURS, 1), Row(THEIRS, 2), Row(entry(neighbour, 7, None), 3)]
    assert found(leading_desk(*rows), 3, THEIRS) == Buckets((bucket_of("users/a"),), (rows[0], rows[2]))


def test_a_bucket_in_which_only_the_node_has_something_is_named_without_rows() -> None:
    assert found(leading_desk(Row(OURS, 1)), 1, OURS, THEIRS) == Buckets((bucket_of("users/b"),), ())


def test_equal_sums_have_nothing_to_mend() -> None:
    assert found(leading_desk(Row(OURS, 1)), 1, OURS) == Buckets((), ())


@pytest.mark.parametrize("cursor", [0, 2])
def test_a_leader_that_has_moved_on_since_reads_nothing(cursor: int) -> None:
    assert found(leading_desk(Row(OURS, 1)), cursor) == Buckets((), ())


def test_as_many_buckets_are_read_as_make_about_one_page_and_at_least_one() -> None:
    rows = [Row(entry(f"users/{number}", number), number) for number in range(1, 7)]
    order = sorted(rows, key=lambda row: bucket_of(row.entry.key))
    assert len(dict.fromkeys(bucket_of(row.entry.key) for row in rows)) == 6
    for most in (1, 2, 5):
        some = found(leading_desk(*rows, knobs=Knobs(page_rows=most)), 6)
        assert some.rows == tuple(order[:most])
        assert some.buckets == tuple(bucket_of(row.entry.key) for row in order[:most])
    crowded = [f"users/{n}" for n in range(9999) if bucket_of(f"users/{n}") == 1][:3]
    desk = leading_desk(*[Row(entry(key, 5), n) for n, key in enumerate(crowded, 1)], knobs=Knobs(page_rows=2))
    assert len(found(desk, 3).rows) == 3


# Mending -------------------------------------------------------------------------------------------------------------


def mend(*entries: Entry, also: tuple[str, ...] = (), epoch: Epoch = A) -> MendBuckets:
    """The leader's rows, numbered from 11, with the buckets of these keys and of others."""
    keys = dict.fromkeys([*(version.key for version in entries), *also])
    buckets = tuple(dict.fromkeys(bucket_of(key) for key in keys))
    seqs = tuple(range(11, 11 + len(entries)))
    return MendBuckets(USERS, epoch, buckets, entries, seqs)


def row(desk: Desk, key: str = "users/a") -> Row | None:
    return desk.store[USERS].get(key)


def test_what_the_leader_has_and_we_lack_is_taken_as_confirmed_and_shown() -> None:
    desk = node()
    assert desk.ask(mend(THEIRS)) == Confirmed(1)
    assert row(desk, "users/b") == Row(THEIRS, 2, 11)
    assert only(desk.effects, Publish) == [Publish((THEIRS,))]


def test_the_leaders_greater_version_replaces_ours() -> None:
    desk = node()
    desk.ask(mend(entry("users/a", 6)))
    assert row(desk) == Row(entry("users/a", 6), 2, 11)
    assert desk.store[USERS].outbox_size == 0


@pytest.mark.parametrize("theirs", [(), (entry("users/a", 4),)], ids=["nothing", "an older version"])
def test_what_we_have_and_the_leader_lacks_is_offered_again_and_never_deleted(theirs: tuple[Entry, ...]) -> None:
    desk = node()
    assert desk.ask(mend(*theirs, also=("users/a",))) == Confirmed(1)
    assert row(desk) == Row(OURS, 2)
    assert desk.store[USERS].outbox_size == 1
    assert only(desk.effects, Publish) == []


def test_an_equal_version_is_confirmed_if_it_was_not() -> None:
    desk = following_desk(Row(OURS, 1), cursor=9)
    assert desk.ask(mend(OURS)) == Confirmed(1)
    assert row(desk) == Row(OURS, 1, 11)
    assert desk.ask(mend(OURS)) == Confirmed(0)
    assert [type(effect) for effect in desk.effects] == [Reply]


def test_rows_of_other_buckets_stay_as_they_are() -> None:
    desk = node()
    desk.ask(mend(THEIRS))
    assert row(desk) == Row(OURS, 1, 1)


def test_a_row_of_another_collection_is_not_taken() -> None:
    assert node().ask(mend(entry("settings"))) == Confirmed(0)


def test_nothing_is_mended_in_another_life_or_while_everything_is_read_again() -> None:
    desk = node()
    assert desk.ask(mend(THEIRS, epoch=B)) == Confirmed(0)
    desk.ask(MergeResync(USERS, A, 0, (OURS,), (1,), 1, 7, 0, 0, last=False))
    assert desk.ask(mend(THEIRS)) == Confirmed(0)
    assert row(desk, "users/b") is None


def test_a_tombstone_that_is_dropped_in_the_same_batch_is_not_offered() -> None:
    desk = following_desk(Row(entry(data=None), 1, 1), cursor=9)
    desk.stage(HearFloor(USERS, A, 5, 50))
    assert desk.stage(mend(also=("users/a",))) == Confirmed(0)


def test_two_sides_that_differ_are_equal_after_one_exchange() -> None:
    desk = node(Row(entry("users/c", 8, data=None), 2, 2), Row(entry("users/d", 3), 3, 3))
    leader = leading_desk(Row(entry("users/a", 4), 7), Row(entry("users/d", 9), 8), Row(entry("users/b", 2), 9))
    sums = desk.ask(CompareDigest(USERS, A, 9, leader.store[USERS].digest.text()))
    assert isinstance(sums, Digested)
    differs = leader.ask(ReadBuckets(USERS, 9, sums.sums))
    assert isinstance(differs, Buckets)
    entries, seqs = tuple(r.entry for r in differs.rows), tuple(r.seq for r in differs.rows)
    desk.ask(MendBuckets(USERS, A, differs.buckets, entries, seqs))
    offered = desk.store[USERS].outbox(0, rows_max=9, bytes_max=9999).rows
    leader.ask(MergePushed(USERS, 9, tuple(row.entry for row in offered)))
    assert desk.store[USERS].digest.sums() == leader.store[USERS].digest.sums()
    assert sorted(leader.store.table()) == ["users/a", "users/b", "users/d"]
