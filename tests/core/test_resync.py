"""Re-sync at the node: begun when a floor above the cursor is heard of, all under one floor, ended at the head."""

import pytest

from pivot.core.effects import Effect
from pivot.core.messages import Ack, Gone, Page, Push, Repair, Reset, Stale, Subscribe
from pivot.core.notices import CaughtUp
from pivot.core.questions import FollowEpoch, HearFloor, MergeResync, Position, ReadOutbox
from pivot.core.resync import Resync, Verdict
from tests.core.builders import USERS, A, B, at, entry, notices, only, page, place, questions, sent
from tests.core.links import BUSY, Link, applied, connected, outbox, unapplied

USER = entry("users/a", 1)


def again(since: int, *, rows: int = 1, to: int | None = None, head: int = 9, floor: int = 7) -> Page:
    return page(since, [USER] * rows, to=to, head=head, floor=floor, collected=40, clock=90, resync=True)


def question(body: Page, *, last: bool = False) -> MergeResync:
    return MergeResync(
        USERS, A, body.since, body.entries, body.seqs, body.next, body.floor, body.collected, body.clock, last
    )


def subscribe(position: int) -> Subscribe:
    return Subscribe(collection=USERS, epoch=A, cursor=position, resync=True)


def reading_again() -> Link:
    """Live, and behind what was collected; the leader has been asked for everything."""
    link = connected(place(5, floor=7, collected=40))
    assert link.following.resync == Resync(7)
    return link


# Which page is next --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (again(3), "next"),
        (again(3, rows=0, to=9), "next"),
        (again(2), "late"),
        (again(4), "gap"),
        (again(3, floor=6), "late"),
        (again(3, floor=8), "late"),
        (page(3, [USER], floor=7), "gap"),
        (again(3, rows=0, head=9), "late"),
        (again(3, rows=0, head=3), "next"),
    ],
    ids=["fits", "only collected", "older", "later", "lower floor", "higher floor", "no resync", "beat", "end"],
)
def test_a_page_is_next_just_when_it_starts_where_we_are_under_our_floor(body: Page, verdict: Verdict) -> None:
    assert Resync(7, expected=3).judge(body) == verdict


def test_a_resync_ends_at_the_greatest_head_it_heard_of_only() -> None:
    resync = Resync(7)
    assert resync.judge(again(0, head=9)) == "next"
    assert resync.judge(again(0, floor=6, head=12)) == "late"
    assert not resync.ends(again(0, to=9))
    assert not resync.question(again(0, to=11)).last
    assert resync.question(again(0, to=12, head=12)) == question(again(0, to=12, head=12), last=True)


# When it begins ------------------------------------------------------------------------------------------------------


def test_a_node_that_starts_below_the_floor_it_remembers_reads_everything_again_and_offers_nothing() -> None:
    effects = Link(place(5, floor=7)).begin()
    assert (sent(effects), questions(effects)) == ([subscribe(0)], [])


def heard(link: Link, how: str) -> list[Effect]:
    match how:
        case "page":
            return link.page(page(5, [USER], head=12, floor=7, collected=40))
        case "heartbeat":
            return link.page(page(9, floor=7, collected=40))
        case "gone":
            return link.following.gone(at(10), Gone(USERS, A, 7, 40))
        case _:
            return link.following.gone(at(10), Stale(USERS, 1, A, 7, 40))


@pytest.mark.parametrize("how", ["page", "heartbeat", "gone", "stale"])
def test_whoever_hears_of_a_floor_above_its_cursor_reads_everything_again(how: str) -> None:
    link = connected()
    effects = heard(link, how)
    assert questions(effects) == [HearFloor(USERS, A, 7, 40)]
    assert sent(effects) == [subscribe(0)]
    assert only(heard(link, how), Push) == []
    assert link.following.offer() == []


def test_a_page_that_storage_could_not_take_shows_that_a_floor_was_missed_after_all() -> None:
    link = connected()
    merging = link.page(page(5, [USER, USER]))
    link.reply(link.page(page(7, floor=7, collected=40)), applied(7, floor=7, collected=40))
    assert link.following.resync is None
    link = connected()
    merging = link.page(page(5, [USER, USER]))
    link.page(page(7, floor=7, collected=40))
    assert sent(link.reply(merging, BUSY)) == [subscribe(0)]


def test_a_floor_missed_while_the_connection_ended_is_made_up_for_with_the_next_one() -> None:
    for failing in (BUSY, unapplied(5)):
        link = connected()
        merging = link.page(page(5, [USER, USER]))
        link.page(page(7, floor=7, collected=40))
        link.following.end()
        assert link.reply(merging, failing) == []
        assert sent(link.begin()) == [subscribe(0)]


# How it goes on ------------------------------------------------------------------------------------------------------


def test_pages_of_a_resync_are_merged_in_a_row_and_acknowledged_after_the_commit_as_such() -> None:
    link = reading_again()
    first, second = link.page(again(0, rows=2)), link.page(again(2))
    assert questions(first) == [question(again(0, rows=2))]
    assert questions(second) == [question(again(2))]
    assert sent(first) == sent(second) == []
    assert sent(link.reply(first, applied(5, floor=7))) == [Ack(USERS, A, 2, resync=True)]
    assert sent(link.reply(second, applied(5, floor=7))) == [Ack(USERS, A, 3, resync=True)]
    assert sent(link.following.alive(at(12))) == [Ack(USERS, A, 3, resync=True)]


@pytest.mark.parametrize("body", [again(2), page(5, [USER], floor=7)], ids=["gap", "not yet a resync"])
def test_a_page_that_shows_a_loss_makes_us_subscribe_from_where_the_resync_is(body: Page) -> None:
    link = reading_again()
    link.page(again(0), 10)
    assert sent(link.page(body, 11)) == [subscribe(1)]
    assert sent(link.page(body, 11.1)) == []
    assert questions(link.page(body, 12)) == []


def test_a_repeated_gone_makes_us_say_again_that_we_read_everything_again() -> None:
    link = reading_again()
    assert sent(link.following.gone(at(10), Gone(USERS, A, 7, 40))) == [subscribe(0)]
    assert sent(link.following.gone(at(10.1), Gone(USERS, A, 7, 40))) == []


def test_a_late_page_of_a_resync_does_nothing() -> None:
    link = reading_again()
    link.page(again(0))
    assert link.page(again(0)) == []


def test_a_higher_floor_begins_the_resync_anew_and_what_was_asked_before_counts_no_more() -> None:
    link = reading_again()
    merging = link.page(again(0))
    effects = link.page(again(1, floor=8))
    assert questions(effects) == [HearFloor(USERS, A, 8, 40)]
    assert sent(effects) == [subscribe(0)]
    assert link.reply(merging, applied(5, floor=7)) == []
    assert link.following.resync == Resync(8, head=9)
    assert questions(link.page(again(0, floor=8))) == [question(again(0, floor=8))]


@pytest.mark.parametrize(
    "result",
    [BUSY, unapplied(5, floor=7), Position(place(5, epoch=B), applied=True)],
    ids=["refused", "not applied", "another life"],
)
def test_a_resync_begins_anew_when_storage_does_not_know_of_it(result: Position) -> None:
    link = reading_again()
    merging = link.page(again(0))
    assert sent(link.reply(merging, result)) == [subscribe(0)]
    assert link.following.resync == Resync(7, head=9)
    link = reading_again()
    merging = link.page(again(0))
    link.following.end()
    assert link.reply(merging, result) == []


def test_no_page_is_expected_when_storage_could_not_even_be_asked() -> None:
    link = Link(place(5, floor=7), asks_max=1)
    link.begin()
    assert questions(link.page(again(0))) == [question(again(0))]
    assert link.page(again(1)) == []
    assert link.following.resync == Resync(7, head=9, expected=1)


def test_a_page_merged_while_the_connection_ended_is_not_acknowledged() -> None:
    link = reading_again()
    merging = link.page(again(0))
    link.following.end()
    assert link.reply(merging, applied(5, floor=7)) == []


def test_nothing_is_offered_mended_or_compared_meanwhile() -> None:
    link = reading_again()
    assert link.following.offer() == []
    assert link.following.repair(Repair(USERS, A, (1,), (), ())) == []
    assert questions(link.following.alive(at(100))) == []


def test_rows_read_before_the_resync_began_are_not_pushed() -> None:
    link = Link()
    asking = link.begin()
    link.page(page(9, floor=7, collected=40))
    assert link.reply(asking, outbox(0, 1)) == []


def test_a_push_that_was_turned_away_is_not_offered_again_before_the_resync_ends() -> None:
    link = Link()
    link.reply(link.begin(), outbox(0, 1))
    effects = link.following.gone(at(10), Stale(USERS, 1, A, 7, 40))
    assert questions(effects) == [HearFloor(USERS, A, 7, 40)]
    assert link.following.under_way == {}


# How it ends ---------------------------------------------------------------------------------------------------------


def test_a_resync_that_reached_the_head_goes_on_reading_from_there_and_offers_everything() -> None:
    link = reading_again()
    merging = link.page(again(0, to=9))
    assert questions(merging) == [question(again(0, to=9), last=True)]
    effects = link.reply(merging, applied(9, floor=7, collected=40))
    assert sent(effects) == [Subscribe(collection=USERS, epoch=A, cursor=9)]
    assert questions(effects) == [ReadOutbox(USERS, 0)]
    assert link.following.resync is None
    assert notices(link.page(page(9, floor=7))) == [CaughtUp(USERS)]


def test_a_resync_that_ended_while_the_connection_did_is_not_repeated() -> None:
    link = reading_again()
    merging = link.page(again(0, to=9))
    link.following.end()
    assert link.reply(merging, applied(9, floor=7, collected=40)) == []
    assert sent(link.begin()) == [Subscribe(collection=USERS, epoch=A, cursor=9)]


def test_a_page_of_a_resync_that_has_ended_makes_us_say_so() -> None:
    link = reading_again()
    link.reply(link.page(again(0, to=9)), applied(9, floor=7, collected=40))
    assert sent(link.page(again(9, rows=0), 20)) == [Subscribe(collection=USERS, epoch=A, cursor=9)]


def test_an_answer_about_a_resync_that_has_ended_changes_nothing() -> None:
    link = reading_again()
    merging, beat = link.page(again(0, to=9)), link.page(again(9, rows=0))
    assert questions(beat) == [question(again(9, rows=0), last=True)]
    link.reply(merging, applied(9, floor=7, collected=40))
    assert link.reply(beat, unapplied(9, floor=7)) == []
    assert link.following.place == place(9, floor=7, collected=40)


def test_a_new_life_of_the_leader_ends_the_resync() -> None:
    link = reading_again()
    asking = link.following.reset(Reset(collection=USERS, answers=A, epoch=B))
    assert questions(asking) == [FollowEpoch(USERS, A, B)]
    effects = link.reply(asking, Position(place(0, epoch=B), applied=True))
    assert sent(effects) == [Subscribe(collection=USERS, epoch=B, cursor=0)]
    assert link.following.resync is None
