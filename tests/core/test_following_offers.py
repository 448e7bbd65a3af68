"""Following: what a node offers its leader, until it is confirmed, refused, or turned away."""

import pytest

from pivot.core.effects import Send
from pivot.core.messages import Ack, Gone, PushAck, RowRejected, Stale, Subscribe
from pivot.core.notices import Rejected
from pivot.core.questions import (
    Confirm,
    Confirmed,
    Position,
    ReadOutbox,
    Restamp,
)
from pivot.types import Epoch
from tests.core.builders import (
    LEADER,
    USERS,
    A,
    B,
    at,
    entry,
    notices,
    page,
    place,
    push,
    questions,
    refused,
    row_ack,
    sent,
)
from tests.core.links import BUSY, Link, applied, connected, merge, outbox

USER = entry("users/a", 1)


def push_ack(ordinal: int, *, epoch: Epoch = A, rejected: tuple[RowRejected, ...] = ()) -> PushAck:
    return PushAck(collection=USERS, ordinal=ordinal, epoch=epoch, acks=(row_ack(USER),), rejected=rejected)


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
    assert (link.following.ordinal, link.following.offered) == (0, 0)


def test_rows_read_under_a_life_that_we_have_left_are_read_again() -> None:
    link = Link()
    effects = link.reply(link.begin(), outbox(0, 1, here=place(5, epoch=B)))
    assert (sent(effects), questions(effects)) == ([], [ReadOutbox(USERS, 0)])


def test_a_push_says_what_we_had_seen_when_its_rows_were_read() -> None:
    link = Link()
    asking = link.begin()
    link.reply(link.page(page(5, [USER])), applied(6))
    assert sent(link.reply(asking, outbox(0, 1, here=place(5)))) == [push(1, [entry("users/1", 1)], cursor=5)]


def test_rows_that_are_ahead_of_the_leader_are_written_again() -> None:
    link = connected()
    body = push_ack(1, rejected=(refused(USER), RowRejected("users/b", "f", "why")))
    effects = link.following.push_ack(body)
    assert notices(effects) == [Rejected("users/a", "clock_ahead"), Rejected("users/b", "why")]
    assert questions(effects) == [Restamp(USERS, (refused(USER),)), Confirm(USERS, A, (row_ack(USER),))]


def restamped(here: Position) -> tuple[Link, list[object]]:
    """Storage has answered that a version was written again."""
    link = connected()
    link.asks.limit = len(link.asks) + 1
    asking = link.following.push_ack(push_ack(1, rejected=(refused(USER),)))
    return link, [*link.reply(asking, here)]


def test_everything_is_read_again_from_the_start_when_storage_dropped_anothers_row_for_the_leaders() -> None:
    link, effects = restamped(applied(0))
    assert effects == [Send(LEADER, Subscribe(collection=USERS, epoch=A, cursor=0))]
    assert questions(link.page(page(0, [USER]))) == [merge(page(0, [USER]))]


def test_everything_is_read_as_a_resync_when_tombstones_were_collected_from_that_start_on() -> None:
    link, effects = restamped(applied(0, floor=3))
    assert effects == [Send(LEADER, Subscribe(collection=USERS, epoch=A, cursor=0, resync=True))]
    assert link.following.resync is not None


# Turned away ---------------------------------------------------------------------------------------------------------


def stale(ordinal: int, floor: int, *, epoch: Epoch = A) -> Stale:
    return Stale(USERS, ordinal, epoch, floor, 40)


def test_a_push_that_was_built_before_we_caught_up_is_offered_again_with_everything_else() -> None:
    link = Link(place(5, floor=4))
    asking = link.reply(link.begin(), outbox(0, 1), now_s=0)
    link.reply(asking, outbox(1))
    assert questions(link.following.gone(at(1), stale(1, 4))) == [ReadOutbox(USERS, 0)]
    assert link.following.gone(at(1), stale(1, 4)) == []


def test_a_refusal_of_another_life_or_of_a_push_that_we_do_not_wait_for_is_late() -> None:
    link = Link(place(5, floor=4))
    link.reply(link.begin(), outbox(0, 1), now_s=0)
    assert link.following.gone(at(1), stale(1, 9, epoch=B)) == []
    assert link.following.gone(at(1), stale(7, 4)) == []
    assert link.following.gone(at(1), Gone(USERS, B, 9, 40)) == []
    assert link.following.gone(at(1), Gone(USERS, A, 4, 40)) == []
