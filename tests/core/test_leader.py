"""LeaderBehaviour: who may follow, who is watched, and who is told to begin again."""

import pytest
from msgspec.structs import replace

from pivot.core.digest import BUCKETS
from pivot.core.effects import Effect, Report, Send, Tell
from pivot.core.events import (
    Changed,
    Committed,
    Enrol,
    Heard,
    LinkLost,
    PeerSilent,
    TimerFired,
    Unwatch,
)
from pivot.core.leader import COLLECT, LeaderBehaviour
from pivot.core.lineage import Lineage
from pivot.core.messages import Digest, Hello, Message, Refused, Reset, Welcome
from pivot.core.notices import PeerDown, PeerRefused, PeerUp
from pivot.core.questions import Collect
from pivot.types import Address, Epoch, StoreId
from tests.core.builders import (
    SETTINGS,
    USERS,
    WALL_NS,
    A,
    B,
    answer,
    at,
    entry,
    feed,
    notices,
    one,
    page,
    push,
    questions,
    received,
    run,
    sent,
    timers,
    told,
)
from tests.core.leaders import KNOBS, PEER, ack, begun, greeted, hello, subscribe, subscribed


def digest(*, epoch: Epoch = A) -> Digest:
    return Digest(USERS, epoch, 0, ("sum",) * BUCKETS)


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


def test_a_node_of_another_cluster_is_welcome_when_it_says_that_it_joins_ours() -> None:
    effects = run(begun(cluster="ours"), received(replace(hello(cluster="theirs"), joins=True)))
    assert isinstance(one(sent(effects)), Welcome)


def test_a_node_above_the_limit_is_refused_and_a_known_one_is_not() -> None:
    leader = greeted("one", "two")
    assert refusal(run(leader, received(hello(), sender="three"))) == "2 nodes follow already, at most 2 may"
    assert isinstance(one(sent(run(leader, received(hello(), sender="one")))), Welcome)


@pytest.mark.parametrize("body", [subscribe(0), ack(0), push(1, []), digest()], ids=lambda body: type(body).__name__)
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
    "body",
    [subscribe(5, epoch=B), ack(5, epoch=B), push(1, [entry()], epoch=B), digest(epoch=B)],
    ids=lambda body: type(body).__name__,
)
def test_whoever_speaks_of_another_life_is_told_ours_and_nothing_else_happens(body: Message) -> None:
    assert run(greeted(), received(body)) == [Send(PEER, Reset(collection=USERS, answers=B, epoch=A))]


def test_whoever_speaks_of_a_life_before_is_told_how_much_of_it_there_is() -> None:
    leader = LeaderBehaviour(epoch=A, lineage=Lineage().after(B, 4), collections=(USERS,), cluster_id="", knobs=KNOBS)
    run(leader, received(hello()))
    reset = Reset(collection=USERS, answers=B, epoch=A, kept=4)
    assert run(leader, received(subscribe(5, epoch=B))) == [Send(PEER, reset)]


def test_what_is_not_led_here_is_not_answered() -> None:
    assert run(greeted(), received(subscribe(0, collection="things/*"))) == []


# Signs of life -----------------------------------------------------------------------------------------------------


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


def test_other_events_mean_nothing_to_a_leader() -> None:
    assert run(begun(), Committed()) == []


def test_followers_are_noted_and_tombstones_collected_now_and_then_in_every_collection() -> None:
    effects = run(begun(), TimerFired(COLLECT))
    assert questions(effects) == [Collect(USERS, ()), Collect(SETTINGS, ())]
    assert timers(effects) == {COLLECT: (60.0, 60.0)}
