"""Following: one collection over a live connection: pages in order, acknowledgements, a new life, and pushes."""

import pytest

from pivot.config import Knobs
from pivot.core.asks import Asks
from pivot.core.collection import FeedSlice, Row
from pivot.core.effects import Effect
from pivot.core.events import (
    CaughtUp,
    Confirm,
    Confirmed,
    EpochReset,
    Failed,
    FollowEpoch,
    MergePage,
    Position,
    Question,
    ReadOutbox,
    Rejected,
    Result,
)
from pivot.core.following import Following, Purpose
from pivot.core.messages import Ack, Page, PushAck, Reset, RowRejected, Subscribe
from pivot.types import NO_EPOCH, Epoch
from tests.core.builders import (
    LEADER,
    USERS,
    A,
    B,
    answer,
    at,
    entry,
    notices,
    one,
    page,
    push,
    questions,
    row_ack,
    sent,
)

KNOBS = Knobs(heartbeat_s=1.0, push_window=2, push_timeout_s=5.0, reoffer_s=60.0)
BUSY = Failed("busy", "full")
USER = entry("users/a", 1)


class Link:
    """A following under test, and what storage was asked for it."""

    def __init__(self, *, epoch: Epoch = A, cursor: int = 5, asks_max: int = 64) -> None:
        self.asks = Asks[Purpose](asks_max)
        self.following = Following(
            path=USERS, upstream=LEADER, knobs=KNOBS, asks=self.asks, epoch=epoch, cursor=cursor, expected=cursor
        )

    def begin(self) -> list[Effect]:
        """Connect."""
        return self.following.begin(at(0))

    def page(self, body: Page, now_s: float = 10) -> list[Effect]:
        """A page comes."""
        return self.following.page(at(now_s), body)

    def reply(self, asking: list[Effect], result: Result, now_s: float = 10) -> list[Effect]:
        """Storage answers the only question among effects."""
        token = answer(asking, result).token
        purpose = self.asks.answered(token)
        assert purpose is not None
        return self.following.answered(at(now_s), purpose, result)


def connected(*, epoch: Epoch = A, cursor: int = 5) -> Link:
    """Live, with nothing to offer."""
    link = Link(epoch=epoch, cursor=cursor)
    asking = link.begin()
    if epoch:
        link.reply(asking, outbox(0))
    return link


def outbox(since: int, *stamps: int) -> FeedSlice:
    rows = tuple(Row(entry(f"users/{stamp}", stamp), since + place) for place, stamp in enumerate(stamps, 1))
    end = since + len(rows)
    return FeedSlice(since=since, rows=rows, next=end, head=end)


def merge(body: Page) -> Question:
    return MergePage(body.collection, body.epoch, body.since, body.entries, body.seqs, body.next)


def push_ack(ordinal: int, *, epoch: Epoch = A) -> PushAck:
    return PushAck(collection=USERS, ordinal=ordinal, epoch=epoch, acks=(row_ack(USER),), rejected=())


def place(cursor: int, *, applied: bool = True, epoch: Epoch = A) -> Position:
    return Position(epoch, cursor, applied=applied)


# Reading -------------------------------------------------------------------------------------------------------------


def test_a_connection_begins_with_a_subscription_from_the_cursor_and_everything_to_offer() -> None:
    effects = Link().begin()
    assert sent(effects) == [Subscribe(collection=USERS, epoch=A, cursor=5)]
    assert questions(effects) == [ReadOutbox(USERS, 0)]


def test_a_page_that_starts_where_we_are_is_merged_and_acknowledged_after_the_commit() -> None:
    link = connected()
    asking = link.page(page(5, [USER]))
    assert (questions(asking), sent(asking)) == ([merge(page(5, [USER]))], [])
    effects = link.reply(asking, place(6))
    assert sent(effects) == [Ack(collection=USERS, epoch=A, cursor=6)]
    assert notices(effects) == [CaughtUp(USERS)]


def test_pages_in_a_row_are_merged_without_waiting_for_each_other() -> None:
    link = connected()
    assert questions(link.page(page(5, [USER]))) == [merge(page(5, [USER]))]
    assert questions(link.page(page(6, [USER]))) == [merge(page(6, [USER]))]


def test_having_everything_is_said_once_per_connection() -> None:
    link = connected()
    assert link.page(page(5, head=7)) == []
    assert notices(link.page(page(5))) == []
    link = connected()
    assert notices(link.page(page(5))) == [CaughtUp(USERS)]
    assert notices(link.page(page(5))) == []
    link.following.end()
    link.begin()
    assert notices(link.page(page(5))) == [CaughtUp(USERS)]


def test_an_older_page_is_a_repetition() -> None:
    link = connected()
    assert questions(link.page(page(3, [USER]))) == []
    assert sent(link.page(page(3, [USER]))) == []


@pytest.mark.parametrize("body", [page(6, [USER]), page(6), page(5, [USER], epoch=B)], ids=["gap", "beat", "life"])
def test_a_page_that_does_not_fit_makes_us_subscribe_again_at_most_twice_per_heartbeat(body: Page) -> None:
    link = connected()
    subscribe = Subscribe(collection=USERS, epoch=A, cursor=5)
    assert sent(link.page(body, 10.0)) == [subscribe]
    assert sent(link.page(body, 10.4)) == []
    assert sent(link.page(body, 10.5)) == [subscribe]
    assert questions(link.page(body, 20.0)) == []


def test_a_page_that_storage_could_not_take_is_expected_again() -> None:
    link = connected()
    assert link.reply(link.page(page(5, [USER])), BUSY) == []
    assert questions(link.page(page(5, [USER]))) == [merge(page(5, [USER]))]


def test_a_page_that_storage_did_not_apply_makes_us_subscribe_from_where_it_is() -> None:
    link = connected()
    effects = link.reply(link.page(page(5, [USER])), place(7, applied=False))
    assert sent(effects) == [Subscribe(collection=USERS, epoch=A, cursor=7)]
    assert questions(link.page(page(7, [USER]))) == [merge(page(7, [USER]))]


def test_reading_goes_on_when_a_failed_page_was_merged_again_after_the_one_behind_it() -> None:
    link = connected()
    first, second = link.page(page(5, [USER])), link.page(page(6, [USER]))
    link.reply(first, BUSY)
    again = link.page(page(5, [USER]))
    link.reply(second, place(5, applied=False))
    link.reply(again, place(6))
    assert questions(link.page(page(6, [USER]))) == [merge(page(6, [USER]))]


def test_no_page_is_expected_when_storage_could_not_even_be_asked() -> None:
    link = Link(asks_max=1)
    link.begin()
    assert link.page(page(5, [USER])) == []
    assert link.following.expected == 5


def test_a_page_merged_while_the_connection_ended_is_not_acknowledged() -> None:
    link = connected()
    first, second = link.page(page(5, [USER])), link.page(page(6, [USER]))
    link.following.end()
    assert link.reply(first, place(6)) == []
    assert link.reply(second, place(6, applied=False)) == []
    assert link.following.cursor == 6


# A new life ----------------------------------------------------------------------------------------------------------


def test_a_reset_that_answers_our_life_is_followed_once() -> None:
    link = connected()
    reset = Reset(collection=USERS, answers=A, epoch=B)
    asking = link.following.reset(reset)
    assert questions(asking) == [FollowEpoch(USERS, A, B)]
    assert link.following.reset(reset) == []
    effects = link.reply(asking, place(0, epoch=B))
    assert notices(effects) == [EpochReset(USERS, A, B)]
    assert sent(effects) == [Subscribe(collection=USERS, epoch=B, cursor=0)]
    assert questions(effects) == [ReadOutbox(USERS, 0)]
    assert link.following.reset(reset) == []


def test_a_reset_that_answers_another_life_is_late() -> None:
    assert connected().following.reset(Reset(collection=USERS, answers=B, epoch=A)) == []


def test_a_reset_that_storage_did_not_follow_is_followed_when_it_comes_again() -> None:
    link = connected()
    reset = Reset(collection=USERS, answers=A, epoch=B)
    assert link.reply(link.following.reset(reset), BUSY) == []
    assert link.reply(link.following.reset(reset), place(5, applied=False)) == []
    assert (link.following.epoch, link.following.cursor) == (A, 5)
    assert questions(link.following.reset(reset)) == [FollowEpoch(USERS, A, B)]


def test_a_reset_followed_while_the_connection_ended_is_only_reported() -> None:
    link = connected()
    asking = link.following.reset(Reset(collection=USERS, answers=A, epoch=B))
    link.following.end()
    assert link.reply(asking, place(0, epoch=B)) == [*link.following.offer(), *_reported(A, B)]


def _reported(before: Epoch, after: Epoch) -> list[Effect]:
    from pivot.core.effects import Report

    return [Report(EpochReset(USERS, before, after))]


def test_a_page_of_a_life_that_we_have_left_moves_nothing() -> None:
    link = connected()
    merging = link.page(page(5, [USER]))
    link.reply(link.following.reset(Reset(collection=USERS, answers=A, epoch=B)), place(0, epoch=B))
    assert link.reply(merging, place(6)) == []
    assert (link.following.cursor, link.following.expected) == (0, 0)


def test_a_node_without_a_life_to_follow_subscribes_until_it_is_told_one() -> None:
    link = connected(epoch=NO_EPOCH, cursor=0)
    subscribe = Subscribe(collection=USERS, epoch=NO_EPOCH, cursor=0)
    assert link.following.offer() == []
    assert sent(link.following.alive(at(2))) == [subscribe]
    asking = link.following.reset(Reset(collection=USERS, answers=NO_EPOCH, epoch=A))
    assert questions(asking) == [FollowEpoch(USERS, NO_EPOCH, A)]


# Offering ------------------------------------------------------------------------------------------------------------


def test_unconfirmed_rows_are_pushed_and_the_next_ones_asked_for() -> None:
    link = Link()
    effects = link.reply(link.begin(), outbox(0, 1, 2))
    assert sent(effects) == [push(1, [entry("users/1", 1), entry("users/2", 2)], cursor=5)]
    assert questions(effects) == [ReadOutbox(USERS, 2)]


def test_no_more_pushes_are_under_way_than_the_window_allows_and_an_answer_opens_it() -> None:
    link = Link()
    effects = link.reply(link.begin(), outbox(0, 1))
    effects = link.reply(effects, outbox(1, 2))
    assert (len(sent(effects)), questions(effects)) == (1, [])
    asking = link.following.push_ack(push_ack(1))
    assert questions(asking) == [Confirm(USERS, A, (row_ack(USER),))]
    assert questions(link.reply(asking, Confirmed(1))) == [ReadOutbox(USERS, 2)]


def test_nothing_is_asked_for_twice_at_a_time() -> None:
    link = Link()
    link.begin()
    assert link.following.offer() == []


def test_an_answer_of_another_life_confirms_nothing() -> None:
    assert connected().following.push_ack(push_ack(1, epoch=B)) == []


def test_rejected_rows_are_reported() -> None:
    body = PushAck(collection=USERS, ordinal=1, epoch=A, acks=(), rejected=(RowRejected("users/a", "f", "why"),))
    assert notices(connected().following.push_ack(body)) == [Rejected("users/a", "why")]


@pytest.mark.parametrize(("after_s", "again"), [(5.0, False), (5.1, True)])
def test_everything_is_offered_again_when_a_push_is_not_answered_in_time(after_s: float, again: bool) -> None:
    link = Link()
    asking = link.reply(link.begin(), outbox(0, 1), now_s=0)
    link.reply(asking, outbox(1))
    effects = link.following.alive(at(after_s))
    assert sent(effects) == [Ack(collection=USERS, epoch=A, cursor=5)]
    assert questions(effects) == [ReadOutbox(USERS, 0 if again else 1)]


def test_everything_is_offered_again_now_and_then_though_all_was_answered() -> None:
    link = connected()
    link.following.offered = 9
    assert questions(link.following.alive(at(60))) == [ReadOutbox(USERS, 9)]
    link = connected()
    link.following.offered = 9
    assert questions(link.following.alive(at(60.1))) == [ReadOutbox(USERS, 0)]


def test_rows_read_before_everything_was_offered_again_are_read_again() -> None:
    link = connected()
    link.following.offered = 9
    asking = link.following.offer()
    link.following.alive(at(61))
    effects = link.reply(asking, outbox(9, 7))
    assert (sent(effects), questions(effects)) == ([], [ReadOutbox(USERS, 0)])


def test_a_push_whose_confirmation_storage_could_not_keep_counts_as_unanswered() -> None:
    link = Link()
    asking = link.reply(link.begin(), outbox(0, 1), now_s=0)
    link.reply(asking, outbox(1))
    assert link.reply(link.following.push_ack(push_ack(1)), BUSY) == []
    assert questions(link.following.alive(at(6))) == [ReadOutbox(USERS, 0)]


def test_rows_that_storage_could_not_read_are_asked_for_again() -> None:
    link = Link()
    assert link.reply(link.begin(), BUSY) == []
    assert questions(link.following.alive(at(2))) == [ReadOutbox(USERS, 0)]


def test_nothing_is_pushed_when_the_connection_has_ended() -> None:
    link = Link()
    asking = link.begin()
    link.following.end()
    assert link.reply(asking, outbox(0, 1)) == []
    assert one(link.begin()[:1])
