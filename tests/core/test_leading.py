"""Leading: how pages flow, who is turned away, how pushes are answered, differences mended and followers noted."""

import pytest
from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.collection import FeedSlice
from pivot.core.digest import BUCKETS
from pivot.core.effects import Ask, Effect, Send
from pivot.core.events import Answer, Changed, TimerFired
from pivot.core.leader import COLLECT, HEARTBEAT, LeaderBehaviour
from pivot.core.leading import PENDING_MAX
from pivot.core.messages import Digest, Gone, Page, PushAck, Repair, RowRejected, Stale
from pivot.core.questions import (
    Buckets,
    Collect,
    Merged,
    MergePushed,
    Missed,
    ReadBuckets,
    ReadFeed,
    Result,
    Retained,
)
from pivot.types import StoreId
from tests.core.builders import (
    NODE,
    SETTINGS,
    USERS,
    WALL_NS,
    A,
    answer,
    at,
    entry,
    feed,
    follower,
    only,
    page,
    push,
    questions,
    received,
    row_ack,
    run,
    sent,
    timers,
)
from tests.core.leaders import BUSY, KNOBS, PEER, ack, begun, greeted, hello, subscribe, subscribed


def fed(since: int, *stamps: int, head: int | None = None, floor: int = 0, resync: bool = False) -> Page:
    """The page that shows `feed`."""
    rows = [entry(f"users/{stamp}", stamp) for stamp in stamps]
    collected = 40 if floor else 0
    return page(since, rows, head=head, floor=floor, collected=collected, clock=WALL_NS, resync=resync)


def collected(piece: FeedSlice, floor: int = 7) -> FeedSlice:
    """A slice read when tombstones up to `floor` had been collected."""
    return replace(piece, floor=floor, collected=40)


# Pages and the window ------------------------------------------------------------------------------------------------


def test_a_subscriber_gets_what_comes_after_its_cursor() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(5)))
    assert questions(asking) == [ReadFeed(USERS, 5)]
    effects = run(leader, answer(asking, feed(5, 70, 80, head=7)))
    assert effects == [Send(PEER, fed(5, 70, 80))]


def test_no_more_pages_are_under_way_than_the_window_allows_and_an_ack_opens_it() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(0)))
    asking = run(leader, answer(asking, feed(0, 1, head=9)))
    assert sent(asking) == [fed(0, 1, head=9)]
    effects = run(leader, answer(asking, feed(1, 2, head=9)))
    assert sent(effects) == [fed(1, 2, head=9)]
    assert questions(effects) == []
    assert run(leader, Changed(USERS, 10)) == []
    assert questions(run(leader, received(ack(1)))) == [ReadFeed(USERS, 2)]


def test_an_ack_beyond_our_position_moves_it_up() -> None:
    leader = subscribed(3)
    assert run(leader, received(ack(8))) == []
    assert questions(run(leader, Changed(USERS, 9))) == [ReadFeed(USERS, 8)]


def test_an_ack_behind_our_position_does_not_move_it_back() -> None:
    leader = subscribed(3)
    assert run(leader, received(ack(1))) == []
    assert questions(run(leader, Changed(USERS, 4))) == [ReadFeed(USERS, 3)]


def test_an_ack_without_a_subscription_is_one() -> None:
    assert questions(run(greeted(), received(ack(4)))) == [ReadFeed(USERS, 4)]


def test_a_change_wakes_whoever_has_not_got_it_and_a_known_one_wakes_nobody() -> None:
    leader = subscribed(3)
    assert questions(run(leader, Changed(USERS, 4))) == [ReadFeed(USERS, 3)]
    assert run(leader, Changed(USERS, 5)) == []
    assert run(subscribed(3), Changed(USERS, 3)) == []
    assert run(subscribed(3), Changed("things/*", 9)) == []


def test_subscribers_at_one_place_share_one_read() -> None:
    leader = greeted("one", "two")
    asking = run(leader, received(subscribe(0), sender="one"), received(subscribe(0), sender="two"))
    effects = run(leader, answer(asking, feed(0, 1, head=1)))
    assert [effect.target for effect in only(effects, Send)] == ["one", "two"]


def test_a_subscriber_that_subscribed_again_meanwhile_gets_the_page_once() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(0)), received(subscribe(0)))
    assert len(sent(run(leader, answer(asking, feed(0, 1, head=1))))) == 1


def test_a_page_read_for_a_place_that_was_left_meanwhile_is_not_sent() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(0)), received(ack(2)))
    effects = run(leader, answer(asking, feed(0, 1, head=3)))
    assert sent(effects) == []
    assert questions(effects) == [ReadFeed(USERS, 2)]


def test_a_read_that_storage_refused_is_asked_again_with_the_next_heartbeat() -> None:
    leader = greeted()
    assert run(leader, answer(run(leader, received(subscribe(0))), BUSY)) == []
    assert questions(run(leader, TimerFired(HEARTBEAT))) == [ReadFeed(USERS, 0)]


def test_no_page_is_read_when_too_many_questions_are_open() -> None:
    leader = greeted()
    for number in range(PENDING_MAX):
        run(leader, received(push(number, [])))
    assert run(leader, received(subscribe(0))) == []
    assert run(leader, received(push(0, []))) == []


def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    assert run(begun(), Answer(99, feed(0, 1, head=1))) == []


# Signs of life -------------------------------------------------------------------------------------------------------


def test_a_heartbeat_shows_every_subscriber_where_the_next_page_starts_and_looks_for_lost_wake_ups() -> None:
    leader = subscribed(3)
    effects = run(leader, TimerFired(HEARTBEAT))
    assert sent(effects) == [fed(3)]
    assert questions(effects) == [ReadFeed(USERS, 3)]
    assert timers(effects) == {HEARTBEAT: (1.0, 1.0)}


def test_no_heartbeat_claims_an_end_of_the_feed_that_storage_has_not_told_yet() -> None:
    leader = greeted()
    run(leader, received(subscribe(3)))
    assert sent(run(leader, TimerFired(HEARTBEAT))) == []


def test_a_heartbeat_tells_the_digest_just_where_the_feed_ends() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(3)))
    run(leader, answer(asking, replace(feed(3), digest="sum")))
    assert sent(run(leader, TimerFired(HEARTBEAT))) == [replace(fed(3), digest="sum")]
    run(leader, Changed(USERS, 4))
    assert sent(run(leader, TimerFired(HEARTBEAT))) == [fed(3, head=4)]


def test_no_heartbeat_tells_the_digest_to_whoever_is_not_at_the_end() -> None:
    leader = greeted("one", "two")
    asking = run(leader, received(subscribe(3), sender="one"))
    run(leader, received(subscribe(1), sender="two"))
    run(leader, answer(asking, replace(feed(3), digest="sum")))
    beats = only(run(leader, TimerFired(HEARTBEAT)), Send)
    assert [(beat.target, beat.body) for beat in beats] == [
        ("one", replace(fed(3), digest="sum")),
        ("two", fed(1, head=3)),
    ]


def test_a_page_says_how_far_our_clock_is_and_no_less_than_our_stamps() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(0)))
    effects = run(leader, answer(asking, replace(feed(0, 1), clock=WALL_NS + 5)))
    assert sent(effects) == [replace(fed(0, 1), clock=WALL_NS + 5)]


# Whoever missed a deletion -------------------------------------------------------------------------------------------


def turned_away() -> LeaderBehaviour:
    """A leader whose only subscriber is at 3 while tombstones up to 7 of 9 were collected."""
    leader = greeted()
    asking = run(leader, received(subscribe(3)))
    effects = run(leader, answer(asking, collected(feed(3, 1, head=9))))
    assert effects == [Send(PEER, Gone(USERS, A, 7, 40))]
    return leader


def test_a_subscriber_below_the_floor_gets_no_page_and_is_told_so_now_and_then() -> None:
    leader = turned_away()
    assert run(leader, Changed(USERS, 10)) == []
    effects = run(leader, TimerFired(HEARTBEAT))
    assert sent(effects) == [Gone(USERS, A, 7, 40)]
    assert sent(run(leader, answer(effects, collected(feed(3, 1, head=10))))) == [Gone(USERS, A, 7, 40)]


def test_a_subscriber_at_the_floor_has_missed_nothing() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(7)))
    assert sent(run(leader, answer(asking, collected(feed(7, 1))))) == [fed(7, 1, floor=7)]


def test_a_resync_gets_pages_from_below_the_floor() -> None:
    leader = turned_away()
    asking = run(leader, received(subscribe(0, resync=True)))
    assert questions(asking) == [ReadFeed(USERS, 0)]
    effects = run(leader, answer(asking, collected(feed(0, 1, head=9))))
    assert sent(effects) == [fed(0, 1, head=9, floor=7, resync=True)]
    assert sent(run(leader, TimerFired(HEARTBEAT))) == [fed(1, head=9, floor=7, resync=True)]


def test_what_a_resync_acknowledges_opens_its_window() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(0, resync=True)))
    asking = run(leader, answer(asking, collected(feed(0, 1, head=9))))
    assert questions(run(leader, answer(asking, collected(feed(1, 2, head=9))))) == []
    assert questions(run(leader, received(ack(1, resync=True)))) == [ReadFeed(USERS, 2)]


@pytest.mark.parametrize("resync", [True, False])
def test_an_ack_of_another_kind_of_reading_opens_nothing(resync: bool) -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(0, resync=resync)))
    run(leader, answer(run(leader, answer(asking, feed(0, 1, head=9))), feed(1, 2, head=9)))
    assert run(leader, received(ack(2, resync=not resync))) == []


# Pushes --------------------------------------------------------------------------------------------------------------


def test_a_push_is_answered_when_it_was_merged_with_its_number_and_our_life() -> None:
    leader = greeted()
    asking = run(leader, received(push(7, [entry()], cursor=4)))
    assert asking == [Ask(1, MergePushed(USERS, 4, (entry(),)))]
    acks, rejected = (row_ack(entry()),), (RowRejected("users/b", "f", "why"),)
    effects = run(leader, answer(asking, Merged(acks, rejected)))
    assert effects == [Send(PEER, PushAck(collection=USERS, ordinal=7, epoch=A, acks=acks, rejected=rejected))]


def test_a_push_that_storage_refused_is_not_answered() -> None:
    leader = greeted()
    assert run(leader, answer(run(leader, received(push(7, [entry()]))), BUSY)) == []


def test_a_push_of_whoever_missed_a_deletion_is_answered_as_stale() -> None:
    leader = greeted()
    asking = run(leader, received(push(7, [entry()], cursor=4)))
    assert run(leader, answer(asking, Missed(6, 60))) == [Send(PEER, Stale(USERS, 7, A, 6, 60))]


# Differences ---------------------------------------------------------------------------------------------------------

SUMS = ("sum",) * BUCKETS


def repaired(found: Result, knobs: Knobs = KNOBS) -> list[Effect]:
    """What follows from buckets that differ."""
    leader = greeted(knobs=knobs)
    asking = run(leader, received(Digest(USERS, A, 9, SUMS)))
    assert questions(asking) == [ReadBuckets(USERS, 9, SUMS)]
    return run(leader, answer(asking, found))


def repair(since: int, *stamps: int) -> Repair:
    piece = feed(since, *stamps)
    entries, seqs = tuple(row.entry for row in piece.rows), tuple(row.seq for row in piece.rows)
    return Repair(USERS, A, (3, 8), entries, seqs)


def test_a_node_that_differs_gets_all_rows_of_the_buckets_that_do() -> None:
    assert repaired(Buckets((3, 8), feed(0, 10, 20).rows)) == [Send(PEER, repair(0, 10, 20))]


def test_rows_that_one_message_cannot_carry_come_in_several_by_number_and_by_size() -> None:
    rows = feed(0, 10, 20, 30, 40, 50).rows
    by_number = sent(repaired(Buckets((3, 8), rows), Knobs(page_rows=2)))
    assert by_number == [repair(0, 10, 20), repair(2, 30, 40), repair(4, 50)]
    by_size = sent(repaired(Buckets((3, 8), rows), Knobs(page_bytes=200)))
    assert by_size == [repair(0, 10, 20), repair(2, 30, 40), repair(4, 50)]
    assert len(repaired(Buckets((3, 8), rows), Knobs(page_bytes=1))) == 5


def test_buckets_in_which_we_have_nothing_are_named_so_that_the_node_offers_what_it_has() -> None:
    assert repaired(Buckets((3, 8), ())) == [Send(PEER, repair(0))]


@pytest.mark.parametrize("found", [Buckets((), ()), BUSY], ids=["none differ", "refused"])
def test_nothing_is_repaired_when_no_bucket_differs_or_storage_refused(found: Result) -> None:
    assert repaired(found) == []


# Who follows ---------------------------------------------------------------------------------------------------------


def noted(leader: LeaderBehaviour) -> tuple[list[Effect], Collect]:
    """What storage is told of those who follow users."""
    effects = [
        effect for effect in only(run(leader, TimerFired(COLLECT)), Ask) if effect.question != Collect(SETTINGS, ())
    ]
    (asked,) = effects
    assert isinstance(asked.question, Collect)
    return [*effects], asked.question


def said(name: str, cursor: int, *, heard_s: float = 0) -> Collect:
    return Collect(USERS, (follower("theirs", cursor, name=name, heard_s=heard_s),))


def test_what_nodes_have_kept_is_handed_to_storage_with_their_last_sign_of_life() -> None:
    leader = subscribed(3)
    run(leader, received(ack(5)), now=at(2))
    assert noted(leader)[1] == said(NODE, 5, heard_s=2)
    run(leader, received(ack(4)), now=at(3))
    assert noted(leader)[1] == said(NODE, 5, heard_s=3)


def test_what_a_resync_acknowledges_says_nothing_about_what_a_node_has() -> None:
    leader = greeted()
    run(leader, received(subscribe(8, resync=True)), received(ack(9, resync=True)))
    assert noted(leader)[1] == said(NODE, 0)
    leader = subscribed(3)
    run(leader, received(subscribe(8, resync=True)), received(ack(9, resync=True)))
    assert noted(leader)[1] == said(NODE, 3)


def test_another_store_of_a_member_takes_the_place_of_the_one_before_and_of_no_other_members() -> None:
    leader = greeted("one", "two")
    wiped = StoreId("wiped")
    run(leader, received(subscribe(3), sender="one"), received(subscribe(4), sender="one"))
    run(leader, received(hello(), sender="one", store=wiped), received(subscribe(0), sender="one", store=wiped))
    assert noted(leader)[1].followers == (follower("wiped", 0, name="one"),)
    run(leader, received(subscribe(5), sender="two"))
    assert noted(leader)[1].followers == (follower("wiped", 0, name="one"), follower("theirs", 5, name="two"))


def test_what_storage_has_noted_is_not_told_again_unless_it_changed_meanwhile() -> None:
    leader = subscribed(3)
    asking, _ = noted(leader)
    run(leader, answer(asking, Retained(0)))
    assert noted(leader)[1] == Collect(USERS, ())
    leader = subscribed(3)
    asking, _ = noted(leader)
    run(leader, received(ack(5)))
    run(leader, answer(asking, Retained(0)))
    assert noted(leader)[1] == said(NODE, 5)


def test_what_storage_could_not_note_is_told_again() -> None:
    leader = subscribed(3)
    asking, told = noted(leader)
    assert run(leader, answer(asking, BUSY)) == []
    assert noted(leader)[1] == told


def test_a_silent_follower_is_still_one_when_it_is_not_fed_any_more() -> None:
    leader = subscribed(3)
    run(leader, received(hello()))
    assert noted(leader)[1] == said(NODE, 3)
