"""Re-sync at storage: all pages belong to one reading, and what the leader did not have is judged at its end only."""

import pytest

from pivot.core.collection import Change, Row
from pivot.core.effects import Persist, Publish, Reply
from pivot.core.notices import Reissued, Withdrawn
from pivot.core.questions import FollowEpoch, HearFloor, MergePage, MergeResync, Position, Put
from pivot.types import Epoch
from tests.core.builders import (
    OURS,
    USERS,
    WALL_NS,
    A,
    B,
    Desk,
    entry,
    following_desk,
    notices,
    only,
    place,
    set_place,
)

FLOOR = 7
COLLECTED = 50


def read_again(
    since: int,
    *stamps: int,
    to: int | None = None,
    last: bool = False,
    floor: int = FLOOR,
    clock: int = 0,
    epoch: Epoch = A,
    data: str | None = "1",
) -> MergeResync:
    entries = tuple(entry(f"users/{stamp}", stamp, data) for stamp in stamps)
    seqs = tuple(range(since + 1, since + 1 + len(stamps)))
    end = since + len(stamps) if to is None else to
    return MergeResync(USERS, epoch, since, entries, seqs, end, floor, COLLECTED, clock, last)


def behind(*changes: Change | Row, cursor: int = 3) -> Desk:
    """A node that has missed what was collected."""
    return following_desk(*changes, cursor=cursor, floor=FLOOR)


def ended(desk: Desk, clock: int = 0) -> Position:
    """The leader has nothing at all."""
    result = desk.ask(read_again(0, to=9, last=True, clock=clock))
    assert isinstance(result, Position)
    return result


# One reading ---------------------------------------------------------------------------------------------------------


def test_a_resync_merges_page_by_page_and_moves_the_cursor_at_its_end_only() -> None:
    desk = behind(cursor=3)
    assert desk.ask(read_again(0, 60, 61)) == Position(place(3, floor=FLOOR), applied=True)
    assert desk.ask(read_again(2, 62)) == Position(place(3, floor=FLOOR), applied=True)
    assert [row.acked for row in desk.store[USERS].rows()] == [1, 2, 3]
    assert desk.store[USERS].place.cursor == 3
    assert desk.ask(read_again(3, 63, to=9, last=True)) == Position(place(9, floor=7, collected=50), applied=True)
    assert desk.kept[-1] == set_place(9, floor=7, collected=50)
    assert list(desk.store.table()) == ["users/60", "users/61", "users/62", "users/63"]
    assert not desk.store.resyncing(USERS)


@pytest.mark.parametrize(
    "question",
    [read_again(1, 62), read_again(3, 62), read_again(2, 62, floor=8), read_again(2, 62, epoch=B)],
    ids=["before", "behind", "higher floor", "another life"],
)
def test_a_page_that_does_not_go_on_with_the_resync_changes_nothing(question: MergeResync) -> None:
    desk = behind()
    desk.ask(read_again(0, 60, 61))
    assert desk.ask(question) == Position(place(3, floor=FLOOR), applied=False)
    assert [type(effect) for effect in desk.effects] == [Reply]
    assert desk.ask(read_again(2, 62)) == Position(place(3, floor=FLOOR), applied=True)


def test_no_resync_goes_on_under_a_floor_that_was_raised_meanwhile() -> None:
    desk = behind()
    desk.ask(read_again(0, 60))
    desk.ask(HearFloor(USERS, A, 8, 80))
    assert desk.ask(read_again(1, 61)) == Position(place(3, floor=8, collected=80), applied=False)
    assert desk.ask(read_again(0, 60, floor=8)) == Position(place(3, floor=8, collected=80), applied=True)


def test_a_resync_that_begins_anew_remembers_nothing_of_the_one_before() -> None:
    desk = behind(Row(entry("users/60", 60), 1, 1))
    desk.ask(read_again(0, 60))
    assert ended(desk).applied
    assert desk.store.table() == {}


def test_a_resync_begins_anew_when_a_commit_failed() -> None:
    desk = behind()
    desk.stage(read_again(0, 60))
    desk.fail()
    assert desk.ask(read_again(1, 61)) == Position(place(3, floor=FLOOR), applied=False)


def test_a_resync_of_a_life_that_was_left_does_not_go_on() -> None:
    desk = behind()
    desk.ask(read_again(0, 60))
    desk.ask(FollowEpoch(USERS, A, B))
    assert not desk.store.resyncing(USERS)
    assert desk.ask(read_again(1, 61)) == Position(place(0, epoch=B), applied=False)


def test_no_tombstone_is_dropped_while_everything_is_read_again() -> None:
    desk = following_desk(Row(entry(stamp=40, data=None), 1, 4), cursor=9)
    desk.ask(read_again(0, 60))
    desk.ask(HearFloor(USERS, A, 8, 80))
    assert desk.store[USERS].tombstones == 1


def test_pages_can_be_read_on_after_a_resync() -> None:
    desk = behind()
    ended(desk)
    page = MergePage(USERS, A, 9, (entry(stamp=70),), (10,), 10, FLOOR)
    assert desk.ask(page) == Position(place(10, floor=7, collected=50), applied=True)


# What was absent -----------------------------------------------------------------------------------------------------


def test_a_confirmed_row_that_the_leader_does_not_have_any_more_is_dropped() -> None:
    gone, kept = entry("users/a", 40), entry("users/60", 60)
    desk = behind(Row(gone, 1, 2), Row(kept, 2, 3))
    desk.ask(read_again(0, 60, to=9, last=True))
    assert desk.store.table() == {"users/60": kept}
    assert notices(desk.effects) == [Withdrawn("users/a", 40, "deleted at the leader while we were away")]
    (published,) = only(desk.effects, Publish)
    assert [(shown.key, shown.deleted, shown.data) for shown in published.entries] == [("users/a", True, "")]
    assert isinstance(desk.effects[0], Persist)


def test_a_confirmed_tombstone_that_the_leader_does_not_have_any_more_is_dropped_in_silence() -> None:
    desk = behind(Row(entry(stamp=40, data=None), 1, 2))
    ended(desk)
    assert (desk.store.table(), only(desk.effects, Publish), notices(desk.effects)) == ({}, [], [])


@pytest.mark.parametrize("data", ["1", None])
def test_an_unconfirmed_row_that_may_have_been_deleted_is_written_again_above_everything_collected(
    data: str | None,
) -> None:
    written = entry("users/a", COLLECTED, data, created=3)
    desk = behind(Row(written, 1))
    ended(desk, clock=WALL_NS + 5)
    again = entry("users/a", WALL_NS + 6, data, created=3, prev=COLLECTED, origin=OURS)
    assert desk.store[USERS].get("users/a") == Row(again, 2)
    assert notices(desk.effects) == [
        Reissued("users/a", COLLECTED, WALL_NS + 6, "it may have been deleted while we were away")
    ]


def test_a_row_is_written_again_above_what_was_collected_though_every_clock_is_slow() -> None:
    desk = behind(Row(entry(stamp=WALL_NS + 5), 1))
    again = read_again(0, to=9, last=True)
    desk.ask(MergeResync(USERS, A, 0, (), (), 9, FLOOR, WALL_NS + 8, again.clock, last=True))
    assert desk.store.table()["users/a"].stamp == WALL_NS + 9


def test_an_unconfirmed_row_that_cannot_have_been_deleted_waits_in_the_outbox_as_before() -> None:
    row = Row(entry(stamp=COLLECTED + 1), 1)
    desk = behind(row)
    ended(desk)
    assert desk.store[USERS].get("users/a") == row
    assert (desk.store[USERS].outbox_size, notices(desk.effects)) == (1, [])


def test_a_row_that_any_page_of_the_resync_had_is_not_absent() -> None:
    desk = behind(Row(entry("users/60", 60), 1, 1), Row(entry("users/61", 65), 2))
    desk.ask(read_again(0, 60, 61))
    desk.ask(read_again(2, to=9, last=True))
    assert list(desk.store.table()) == ["users/60", "users/61"]


def test_a_key_that_the_leader_has_as_a_tombstone_is_not_absent() -> None:
    desk = behind(Row(entry("users/60", 10), 1, 1))
    desk.ask(read_again(0, 60, to=9, last=True, data=None))
    assert desk.store.table()["users/60"].deleted


def test_a_write_of_the_same_batch_is_judged_as_it_will_be_after_the_commit() -> None:
    desk = behind(Row(entry("users/a", 40), 1, 2))
    desk.stage(Put("users/a", "2"))
    desk.stage(Put("users/b", "2"))
    desk.stage(read_again(0, to=9, last=True))
    desk.commit()
    assert [(row.entry.key, row.acked) for row in desk.store[USERS].rows()] == [("users/a", None), ("users/b", None)]


def test_a_row_that_was_dropped_in_the_same_batch_is_not_judged_again() -> None:
    desk = behind(Row(entry("users/a", 40), 1, 2))
    desk.stage(read_again(0, to=9, last=True))
    desk.stage(read_again(0, to=9, last=True))
    assert notices(desk.effects) == []
    desk.commit()
    assert desk.store.table() == {}
