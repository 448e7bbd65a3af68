"""LeaderBehaviour: who may follow, how pages flow through the window, and what pushes are answered."""

import pytest

from pivot.config import Knobs
from pivot.core.collection import FeedSlice, Row
from pivot.core.effects import Ask, Effect, Report, Send, SetTimer, Tell
from pivot.core.events import (
    Answer,
    Changed,
    Committed,
    Enrol,
    Failed,
    Heard,
    LinkLost,
    Merged,
    MergePushed,
    PeerDown,
    PeerRefused,
    PeerSilent,
    PeerUp,
    ReadFeed,
    Started,
    TimerFired,
    Unwatch,
)
from pivot.core.leader import HEARTBEAT, PENDING_MAX, LeaderBehaviour
from pivot.core.messages import (
    Ack,
    Hello,
    Message,
    PushAck,
    Refused,
    Reset,
    RowRejected,
    Subscribe,
    Welcome,
)
from pivot.types import Address, Epoch, StoreId
from tests.core.builders import (
    NODE,
    SETTINGS,
    USERS,
    WALL_NS,
    A,
    B,
    answer,
    at,
    entry,
    notices,
    one,
    only,
    page,
    push,
    questions,
    received,
    row_ack,
    run,
    sent,
    timers,
    told,
)

KNOBS = Knobs(page_window=2, peers_max=2)
PEER = Address(NODE)
BUSY = Failed("busy", "full")


def hello(*collections: str, protocol: tuple[int, int] = (1, 1), cluster: str = "") -> Hello:
    return Hello(protocol=protocol, cluster=cluster, wall_ns=1, collections=collections or (USERS,))


def subscribe(cursor: int, *, epoch: Epoch = A, collection: str = USERS) -> Subscribe:
    return Subscribe(collection=collection, epoch=epoch, cursor=cursor)


def ack(cursor: int, *, epoch: Epoch = A) -> Ack:
    return Ack(collection=USERS, epoch=epoch, cursor=cursor)


def feed(since: int, *stamps: int, head: int) -> FeedSlice:
    rows = tuple(Row(entry(f"users/{stamp}", stamp), since + place) for place, stamp in enumerate(stamps, 1))
    return FeedSlice(since=since, rows=rows, next=since + len(rows), head=head)


def begun(*, cluster: str = "") -> LeaderBehaviour:
    leader = LeaderBehaviour(epoch=A, collections=(USERS, SETTINGS), cluster_id=cluster, knobs=KNOBS)
    assert run(leader, Started()) == [SetTimer(HEARTBEAT, 1.0, 1.0)]
    return leader


def greeted(*names: str) -> LeaderBehaviour:
    leader = begun()
    for name in names or (NODE,):
        run(leader, received(hello(), sender=name))
    return leader


def subscribed(cursor: int = 0) -> LeaderBehaviour:
    """A leader whose only subscriber has everything up to `cursor`, nothing under way."""
    leader = greeted()
    asking = run(leader, received(subscribe(cursor)))
    run(leader, answer(asking, FeedSlice(since=cursor, rows=(), next=cursor, head=cursor)))
    return leader


def refusal(effects: list[Effect]) -> str:
    body = one(sent(effects))
    assert isinstance(body, Refused)
    return body.reason


# Who may follow ------------------------------------------------------------------------------------------------------


def test_a_node_that_says_hello_is_welcome_for_what_is_led_here_and_is_watched() -> None:
    effects = run(begun(cluster="c"), received(hello(USERS, "things/*", cluster="c")))
    assert effects == [
        Report(PeerUp(PEER, "node")),
        Tell("health", Heard(PEER, "leader")),
        Send(PEER, Welcome(protocol=1, cluster="c", wall_ns=WALL_NS, collections=(USERS,))),
    ]


@pytest.mark.parametrize(("theirs", "ours"), [("", "c"), ("c", ""), ("", "")])
def test_an_empty_cluster_id_matches_any(theirs: str, ours: str) -> None:
    assert isinstance(one(sent(run(begun(cluster=ours), received(hello(cluster=theirs))))), Welcome)


@pytest.mark.parametrize(
    ("greeting", "says"),
    [
        (hello(protocol=(2, 3)), "protocol 2 to 3 is not spoken here, only 1"),
        (hello(cluster="theirs"), "cluster id 'theirs' is not ours, 'ours'"),
        (hello("things/*", "a"), "none of the collections things/*, a is led here"),
    ],
)
def test_a_node_that_does_not_fit_is_refused_with_the_reason(greeting: Hello, says: str) -> None:
    effects = run(begun(cluster="ours"), received(greeting))
    assert refusal(effects) == says
    assert notices(effects) == [PeerRefused(PEER, says)]


def test_a_node_above_the_limit_is_refused_and_a_known_one_is_not() -> None:
    leader = greeted("one", "two")
    assert refusal(run(leader, received(hello(), sender="three"))) == "2 nodes follow already, at most 2 may"
    assert isinstance(one(sent(run(leader, received(hello(), sender="one")))), Welcome)


@pytest.mark.parametrize("body", [subscribe(0), ack(0), push(1, [])], ids=lambda body: type(body).__name__)
def test_a_node_that_has_not_said_hello_is_told_so(body: Message) -> None:
    assert refusal(run(begun(), received(body))) == "this node is not known here, it must say hello first"
    other_life = received(body, store=StoreId("another"))
    assert "must say hello" in refusal(run(greeted(), other_life))


def test_what_only_leaders_say_is_not_answered() -> None:
    assert run(begun(), received(page(0))) == []
    assert run(greeted(), received(page(0))) == []


def test_a_repeated_hello_forgets_subscriptions_and_is_no_new_peer() -> None:
    leader = subscribed()
    assert notices(run(leader, received(hello()))) == []
    assert run(leader, Changed(USERS, 1)) == []


# Another life --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [subscribe(5, epoch=B), ack(5, epoch=B), push(1, [entry()], epoch=B)], ids=lambda body: type(body).__name__
)
def test_whoever_speaks_of_another_life_is_told_ours_and_nothing_else_happens(body: Message) -> None:
    assert run(greeted(), received(body)) == [Send(PEER, Reset(collection=USERS, answers=B, epoch=A))]


def test_what_is_not_led_here_is_not_answered() -> None:
    assert run(greeted(), received(subscribe(0, collection="things/*"))) == []


# Pages and the window ------------------------------------------------------------------------------------------------


def test_a_subscriber_gets_what_comes_after_its_cursor() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(5)))
    assert questions(asking) == [ReadFeed(USERS, 5)]
    effects = run(leader, answer(asking, feed(5, 70, 80, head=7)))
    assert effects == [Send(PEER, page(5, [entry("users/70", 70), entry("users/80", 80)], head=7))]


def test_no_more_pages_are_under_way_than_the_window_allows_and_an_ack_opens_it() -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(0)))
    asking = run(leader, answer(asking, feed(0, 1, head=9)))
    assert sent(asking) == [page(0, [entry("users/1", 1)], head=9)]
    effects = run(leader, answer(asking, feed(1, 2, head=9)))
    assert sent(effects) == [page(1, [entry("users/2", 2)], head=9)]
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
    assert sent(effects) == [page(3)]
    assert questions(effects) == [ReadFeed(USERS, 3)]
    assert timers(effects) == {HEARTBEAT: (1.0, 1.0)}


def test_no_heartbeat_claims_an_end_of_the_feed_that_storage_has_not_told_yet() -> None:
    leader = greeted()
    run(leader, received(subscribe(3)))
    assert sent(run(leader, TimerFired(HEARTBEAT))) == []


def test_a_known_node_is_heard_at_most_twice_per_heartbeat() -> None:
    leader = subscribed()
    assert told(run(leader, received(ack(0)), now=at(0.5))) == []
    assert told(run(leader, received(ack(0)), now=at(0.6))) == [("health", Heard(PEER, "leader"))]
    assert told(run(leader, received(ack(0)), now=at(0.7))) == []


def test_health_that_begins_again_is_told_of_every_node() -> None:
    leader = greeted("one", "two")
    assert [event for _, event in told(run(leader, Enrol()))] == [
        Heard(Address("one"), "leader"),
        Heard(Address("two"), "leader"),
    ]


@pytest.mark.parametrize(
    ("event", "reason"),
    [(PeerSilent(PEER, 4.0, 3.0), "silent for 4.0 s, the limit is 3.0 s"), (LinkLost(PEER, "reset"), "reset")],
    ids=lambda part: type(part).__name__,
)
def test_a_node_that_is_gone_is_dropped_once_and_gets_no_pages(event: PeerSilent | LinkLost, reason: str) -> None:
    leader = greeted()
    asking = run(leader, received(subscribe(0)))
    effects = run(leader, event)
    assert effects == [Tell("health", Unwatch(PEER)), Report(PeerDown(PEER, "node", reason))]
    assert run(leader, event) == []
    assert run(leader, answer(asking, feed(0, 1, head=1))) == []


# Pushes --------------------------------------------------------------------------------------------------------------


def test_a_push_is_answered_when_it_was_merged_with_its_number_and_our_life() -> None:
    leader = greeted()
    asking = run(leader, received(push(7, [entry()])))
    assert asking == [Ask(1, MergePushed(USERS, (entry(),)))]
    acks, rejected = (row_ack(entry()),), (RowRejected("users/b", "f", "why"),)
    effects = run(leader, answer(asking, Merged(acks, rejected)))
    assert effects == [Send(PEER, PushAck(collection=USERS, ordinal=7, epoch=A, acks=acks, rejected=rejected))]


def test_a_push_that_storage_refused_is_not_answered() -> None:
    leader = greeted()
    assert run(leader, answer(run(leader, received(push(7, [entry()]))), BUSY)) == []


def test_other_events_mean_nothing_to_a_leader() -> None:
    assert run(begun(), Committed()) == []
