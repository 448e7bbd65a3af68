"""Following: one collection over a live connection: pages in order, acks, floors, digests and a new life."""

import pytest
from msgspec.structs import replace

from pivot.core.collection import Place
from pivot.core.effects import Effect, Report
from pivot.core.messages import Ack, Digest, Page, Repair, Reset, Subscribe
from pivot.core.notices import CaughtUp, Diverged, EpochReset
from pivot.core.questions import (
    CompareDigest,
    Confirmed,
    Digested,
    FollowEpoch,
    HearFloor,
    MendBuckets,
    Position,
    ReadOutbox,
    Wipe,
)
from pivot.types import NO_EPOCH
from tests.core.builders import (
    USERS,
    A,
    B,
    at,
    entry,
    notices,
    page,
    place,
    questions,
    sent,
)
from tests.core.links import BUSY, Link, applied, connected, merge, outbox, unapplied

USER = entry("users/a", 1)


# Reading -------------------------------------------------------------------------------------------------------------


def test_a_connection_begins_with_a_subscription_from_the_cursor_and_everything_to_offer() -> None:
    effects = Link().begin()
    assert sent(effects) == [Subscribe(collection=USERS, epoch=A, cursor=5)]
    assert questions(effects) == [ReadOutbox(USERS, 0)]


def test_a_page_that_starts_where_we_are_is_merged_and_acknowledged_after_the_commit() -> None:
    link = connected()
    asking = link.page(page(5, [USER]))
    assert (questions(asking), sent(asking)) == ([merge(page(5, [USER]))], [])
    effects = link.reply(asking, applied(6))
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
    effects = link.reply(link.page(page(5, [USER])), unapplied(7))
    assert sent(effects) == [Subscribe(collection=USERS, epoch=A, cursor=7)]
    assert questions(link.page(page(7, [USER]))) == [merge(page(7, [USER]))]


def test_reading_goes_on_when_a_failed_page_was_merged_again_after_the_one_behind_it() -> None:
    link = connected()
    first, second = link.page(page(5, [USER])), link.page(page(6, [USER]))
    link.reply(first, BUSY)
    again = link.page(page(5, [USER]))
    link.reply(second, unapplied(5))
    link.reply(again, applied(6))
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
    assert link.reply(first, applied(6)) == []
    assert link.reply(second, unapplied(6)) == []
    assert link.following.place == place(6)


# What the leader collected -------------------------------------------------------------------------------------------


def test_a_floor_that_we_have_passed_is_kept_and_reading_goes_on() -> None:
    link = connected()
    asking = link.page(page(5, [USER], floor=4, collected=40))
    assert questions(asking) == [HearFloor(USERS, A, 4, 40), merge(page(5, [USER]), floor=4)]
    assert sent(asking) == []
    assert questions(link.page(page(6, [USER], floor=4, collected=40))) == [merge(page(6, [USER]), floor=4)]


def test_a_floor_within_pages_that_storage_is_still_merging_is_no_reason_to_read_again() -> None:
    link = connected()
    link.page(page(5, [USER, USER]))
    assert questions(link.page(page(7, floor=7, collected=40))) == [HearFloor(USERS, A, 7, 40)]
    assert link.following.resync is None


def test_every_page_is_merged_under_the_greatest_floor_we_heard_of() -> None:
    link = connected(place(5, floor=3))
    assert questions(link.page(page(5, [USER], floor=2))) == [merge(page(5, [USER]), floor=3)]


def test_a_floor_that_storage_could_not_keep_is_told_to_it_again() -> None:
    link = connected()
    assert link.reply(link.page(page(5, floor=4, collected=40)), BUSY) == []
    assert questions(link.page(page(5, floor=4, collected=40))) == [HearFloor(USERS, A, 4, 40)]


def test_a_floor_that_storage_could_not_even_be_asked_to_keep_is_told_to_it_again() -> None:
    link = Link(asks_max=1)
    asking = link.begin()
    assert link.page(page(5, floor=4, collected=40), 0) == [Report(CaughtUp(USERS))]
    link.reply(asking, outbox(0))
    assert questions(link.page(page(5, floor=4, collected=40))) == [HearFloor(USERS, A, 4, 40)]


def test_what_storage_has_kept_of_a_floor_is_acknowledged_like_a_page() -> None:
    link = connected()
    effects = link.reply(link.page(page(5, head=9, floor=4, collected=40)), applied(5, floor=4, collected=40))
    assert (sent(effects), link.following.place) == (
        [Ack(collection=USERS, epoch=A, cursor=5)],
        place(5, floor=4, collected=40),
    )


# Comparing digests ---------------------------------------------------------------------------------------------------


def test_a_digest_at_our_end_of_the_feed_is_compared_and_ours_is_told_when_it_differs() -> None:
    link = connected()
    asking = link.page(page(5, digest="theirs"))
    assert questions(asking) == [CompareDigest(USERS, A, 5, "theirs")]
    assert sent(link.reply(asking, Digested(("sum",)))) == [Digest(USERS, A, 5, ("sum",))]


def test_nothing_is_said_when_digests_are_equal_or_the_connection_has_ended() -> None:
    link = connected()
    assert link.reply(link.page(page(5, digest="ours")), Digested(())) == []
    asking = link.page(page(5, digest="theirs"))
    link.following.end()
    assert link.reply(asking, Digested(("sum",))) == []


def test_a_digest_is_not_compared_while_a_page_is_being_merged_or_when_there_is_none() -> None:
    link = connected()
    merging = link.page(page(5, [USER]))
    assert questions(link.page(page(6, digest="theirs"))) == []
    link.reply(merging, applied(6))
    assert questions(link.page(page(6))) == []
    assert questions(link.page(page(6, digest="theirs"))) == [CompareDigest(USERS, A, 6, "theirs")]


def test_buckets_that_differ_are_mended_and_reported() -> None:
    link = connected()
    effects = link.following.repair(Repair(USERS, A, (7, 9), (USER,), (3,)))
    assert effects[0] == Report(Diverged(USERS, 2))
    assert questions(effects) == [MendBuckets(USERS, A, (7, 9), (USER,), (3,))]
    assert link.reply(effects, Confirmed(1)) == []


def test_a_repair_of_another_life_is_late() -> None:
    assert connected().following.repair(Repair(USERS, B, (7,), (USER,), (3,))) == []


# A new life ----------------------------------------------------------------------------------------------------------


def test_a_reset_that_answers_our_life_is_followed_once() -> None:
    link = connected()
    reset = Reset(collection=USERS, answers=A, epoch=B)
    asking = link.following.reset(reset)
    assert questions(asking) == [FollowEpoch(USERS, A, B)]
    assert link.following.reset(reset) == []
    effects = link.reply(asking, Position(place(0, epoch=B), applied=True))
    assert notices(effects) == [EpochReset(USERS, A, B)]
    assert sent(effects) == [Subscribe(collection=USERS, epoch=B, cursor=0)]
    assert questions(effects) == [ReadOutbox(USERS, 0)]
    assert link.following.reset(reset) == []


def test_a_reset_says_how_much_of_our_life_there_is_in_the_new_one() -> None:
    asking = connected().following.reset(Reset(collection=USERS, answers=A, epoch=B, kept=3))
    assert questions(asking) == [FollowEpoch(USERS, A, B, 3)]


def test_a_reset_that_answers_another_life_is_late() -> None:
    assert connected().following.reset(Reset(collection=USERS, answers=B, epoch=A)) == []


def test_a_reset_that_storage_did_not_follow_is_followed_when_it_comes_again() -> None:
    link = connected()
    reset = Reset(collection=USERS, answers=A, epoch=B)
    assert link.reply(link.following.reset(reset), BUSY) == []
    assert link.reply(link.following.reset(reset), unapplied(5)) == []
    assert link.following.place == place(5)
    assert questions(link.following.reset(reset)) == [FollowEpoch(USERS, A, B)]


def test_a_reset_followed_while_the_connection_ended_is_only_reported() -> None:
    link = connected()
    asking = link.following.reset(Reset(collection=USERS, answers=A, epoch=B))
    link.following.end()
    assert link.reply(asking, Position(place(0, epoch=B), applied=True)) == [Report(EpochReset(USERS, A, B))]


def test_a_page_of_a_life_that_we_have_left_moves_nothing() -> None:
    link = connected()
    merging = link.page(page(5, [USER]))
    link.reply(
        link.following.reset(Reset(collection=USERS, answers=A, epoch=B)), Position(place(0, epoch=B), applied=True)
    )
    assert link.reply(merging, applied(6)) == []
    assert (link.following.place, link.following.expected) == (place(0, epoch=B), 0)


def test_a_node_without_a_life_to_follow_subscribes_until_it_is_told_one() -> None:
    link = connected(Place())
    subscribe = Subscribe(collection=USERS, epoch=NO_EPOCH, cursor=0)
    assert link.following.offer() == []
    assert sent(link.following.alive(at(2))) == [subscribe]
    asking = link.following.reset(Reset(collection=USERS, answers=NO_EPOCH, epoch=A))
    assert questions(asking) == [FollowEpoch(USERS, NO_EPOCH, A)]


# Another cluster -----------------------------------------------------------------------------------------------------

WIPED = Place(cluster="theirs")


def wiping(here: Place | None = None) -> tuple[Link, list[Effect]]:
    """The leader is of another cluster; what storage is asked first."""
    link = Link(here)
    return link, link.following.begin(at(0), wiped_for="theirs")


def test_everything_is_forgotten_before_a_leader_of_another_cluster_is_followed() -> None:
    link, asking = wiping()
    assert (questions(asking), sent(asking)) == ([Wipe(USERS, "theirs")], [])
    assert not link.following.live
    effects = link.reply(asking, Position(WIPED, applied=True))
    assert sent(effects) == [Subscribe(collection=USERS, epoch=NO_EPOCH, cursor=0)]
    assert (link.following.live, link.following.place) == (True, WIPED)


def test_nothing_is_forgotten_twice_for_one_cluster() -> None:
    _, effects = wiping(replace(place(5), cluster="theirs"))
    assert sent(effects) == [Subscribe(collection=USERS, epoch=A, cursor=5)]


def test_storage_is_asked_to_forget_until_it_has() -> None:
    link, asking = wiping()
    assert link.reply(asking, BUSY) == []
    again = link.following.alive(at(2))
    assert questions(again) == [Wipe(USERS, "theirs")]
    assert sent(link.reply(again, Position(WIPED, applied=False))) != []


def test_a_node_is_not_live_for_an_answer_that_does_not_say_that_everything_was_forgotten() -> None:
    link, first = wiping()
    second = link.following.alive(at(2))  # both in one batch, whose commit fails: storage says where it is
    assert link.reply(first, BUSY) == []
    assert link.reply(second, unapplied(5)) == []
    assert (link.following.live, link.following.place) == (False, place(5))
    assert questions(link.following.alive(at(4))) == [Wipe(USERS, "theirs")]


def test_a_second_answer_that_tells_where_storage_was_before_it_forgot_is_late() -> None:
    link, first = wiping()
    second = link.following.alive(at(2))
    link.reply(first, Position(WIPED, applied=True))
    assert link.reply(second, unapplied(5)) == []
    assert link.following.place == WIPED


def test_what_was_forgotten_while_the_connection_ended_is_known_with_the_next_one() -> None:
    link, asking = wiping()
    link.following.end()
    assert link.following.alive(at(2)) == []
    assert link.reply(asking, Position(WIPED, applied=True)) == []
    assert sent(link.following.begin(at(3), wiped_for="theirs")) == [
        Subscribe(collection=USERS, epoch=NO_EPOCH, cursor=0)
    ]
