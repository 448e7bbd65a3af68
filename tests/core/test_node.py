"""NodeBehaviour: greeting, being let in or not, giving up and coming back, for ever."""

import pytest

from pivot.config import Config, ForeignCluster, Knobs
from pivot.core.collection import SetPlace
from pivot.core.effects import Ask, CancelTimer, Effect, Report, Send, SetTimer, Tell
from pivot.core.events import (
    Answer,
    Changed,
    Committed,
    Enrol,
    Event,
    Heard,
    LinkLost,
    PeerSilent,
    PullNow,
    Started,
    TimerFired,
    Unwatch,
)
from pivot.core.messages import (
    Ack,
    Gone,
    Hello,
    Message,
    PushAck,
    Refused,
    Repair,
    Reset,
    Stale,
    Subscribe,
    Welcome,
)
from pivot.core.node import ALIVE, GREET, RETRY, NodeBehaviour, State
from pivot.core.notices import CaughtUp, PeerDown, PeerRefused, PeerUp
from pivot.core.questions import (
    Confirm,
    Confirmed,
    Describe,
    Failed,
    FollowEpoch,
    HearFloor,
    MendBuckets,
    MergePage,
    Question,
    ReadOutbox,
    StoreInfo,
    Wipe,
)
from pivot.types import Epoch
from tests.core.builders import (
    LEADER,
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
    opened,
    page,
    place,
    questions,
    received,
    run,
    sent,
    timers,
    told,
)

GONE = Gone(USERS, A, 9, 90)
STALE = Stale(USERS, 1, A, 9, 90)
REPAIR = Repair(USERS, A, (3,), (), ())
PUSH_ACK = PushAck(USERS, 1, A, ())
KNOBS = Knobs(retry_s_min=1.0, retry_s_max=8.0, greet_s=5.0, ack_repeat_s=2.0)


def welcome(*collections: str, protocol: int = 1, cluster: str = "") -> Event:
    body = Welcome(protocol=protocol, cluster=cluster, wall_ns=1, collections=collections or (USERS, SETTINGS))
    return received(body, sender=LEADER)


def described(epoch: Epoch = A, cursor: int = 5) -> StoreInfo:
    here = place(cursor, epoch=epoch)
    return opened([SetPlace(USERS, here), SetPlace(SETTINGS, here)], follows=True).describe()


def greeting(*, cluster: str = "", foreign: ForeignCluster = "refuse") -> NodeBehaviour:
    node = NodeBehaviour(
        actor="node",
        upstream=LEADER,
        collections=(USERS, SETTINGS),
        config=Config(cluster_id=cluster, foreign_cluster=foreign, knobs=KNOBS),
    )
    assert run(node, Started()) == [Ask(1, Describe())]
    run(node, Answer(1, described()))
    assert node.state is State.GREETING
    return node


def live() -> NodeBehaviour:
    node = greeting()
    run(node, welcome())
    return node


def waiting() -> NodeBehaviour:
    node = greeting()
    run(node, TimerFired(GREET))
    return node


def pause_s(effects: list[Effect]) -> tuple[float, float]:
    return timers(effects)[RETRY]


# Starting ------------------------------------------------------------------------------------------------------------


def test_a_node_greets_its_leader_when_storage_has_told_it_where_it_is() -> None:
    node = NodeBehaviour(
        actor="node", upstream=LEADER, collections=(USERS,), config=Config(cluster_id="c", knobs=KNOBS)
    )
    run(node, Started())
    hello = Hello(protocol=(1, 1), cluster="c", wall_ns=WALL_NS, collections=(USERS,))
    assert run(node, Answer(1, described())) == [Send(LEADER, hello), SetTimer(GREET, 5.0, 5.0)]
    subscribe = only(sent(run(node, welcome())), Subscribe)
    assert subscribe == [Subscribe(collection=USERS, epoch=A, cursor=5)]


@pytest.mark.parametrize("told_first", [True, False])
def test_a_node_that_is_not_to_greet_by_itself_does_when_it_is_told_to(told_first: bool) -> None:
    config = Config(auto_sync_on_start=False, knobs=KNOBS)
    node = NodeBehaviour(actor="node", upstream=LEADER, collections=(USERS,), config=config)
    run(node, Started())
    if told_first:
        assert run(node, PullNow()) == []
        assert only(sent(run(node, Answer(1, described()))), Hello)
    else:
        assert run(node, Answer(1, described())) == []
        assert only(sent(run(node, PullNow())), Hello)
    assert node.state is State.GREETING


def test_a_node_asks_storage_again_when_it_was_too_busy() -> None:
    node = NodeBehaviour(actor="node", upstream=LEADER, collections=(USERS,), config=Config(knobs=KNOBS))
    run(node, Started())
    assert run(node, Answer(1, Failed("busy", "full"))) == [SetTimer(RETRY, 0.5, 1.0)]
    assert run(node, LinkLost(LEADER, "down")) == []
    assert questions(run(node, TimerFired(RETRY))) == [Describe()]


def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    assert run(live(), Answer(99, Confirmed(1))) == []


# Being let in --------------------------------------------------------------------------------------------------------


def test_a_welcome_node_is_live_watches_its_leader_and_begins_with_every_collection() -> None:
    node = greeting()
    effects = run(node, welcome())
    assert node.state is State.LIVE
    assert effects[:5] == [
        CancelTimer(GREET),
        CancelTimer(RETRY),
        SetTimer(ALIVE, 2.0, 2.0),
        Tell("health", Heard(LEADER, "node")),
        Report(PeerUp(LEADER, "leader")),
    ]
    assert questions(effects) == [ReadOutbox(USERS, 0), ReadOutbox(SETTINGS, 0)]
    assert run(node, welcome()) == []


def test_a_late_welcome_counts() -> None:
    node = waiting()
    run(node, welcome())
    assert node.state is State.LIVE


def test_a_collection_that_is_not_led_there_is_reported_once_and_stays_silent() -> None:
    node = greeting()
    run(node, welcome(USERS))
    assert run(node, received(page(5, collection=SETTINGS))) == []
    effects = run(node, TimerFired(ALIVE))
    assert {body.collection for body in only(sent(effects), Ack)} == {USERS}
    assert notices(effects) == [PeerRefused(LEADER, "collection 'settings' is not led there")]
    assert notices(run(node, TimerFired(ALIVE))) == []


def test_a_leader_with_two_stores_welcomes_twice_and_both_are_followed() -> None:
    node = greeting(cluster="ours")
    run(node, welcome(USERS))
    assert {body.collection for body in only(sent(run(node, welcome(SETTINGS, USERS))), Subscribe)} == {SETTINGS}
    effects = run(node, TimerFired(ALIVE))
    assert {body.collection for body in only(sent(effects), Ack)} == {USERS, SETTINGS}
    assert notices(effects) == []
    assert run(node, welcome(SETTINGS, cluster="theirs")) == []


@pytest.mark.parametrize(
    ("answered", "says"),
    [
        (welcome(protocol=2), "protocol 2 is not spoken here, only 1"),
        (welcome(cluster="theirs"), "cluster id 'theirs' is not ours, 'ours'"),
        (received(Refused("full")), "full"),
    ],
    ids=["protocol", "cluster", "refused"],
)
def test_a_leader_that_does_not_fit_is_reported_and_greeted_again_later(answered: Event, says: str) -> None:
    node = greeting(cluster="ours")
    effects = run(node, answered)
    assert effects == [
        Report(PeerRefused(LEADER, says)),
        Report(PeerDown(LEADER, "leader", says)),
        CancelTimer(GREET),
        CancelTimer(ALIVE),
        SetTimer(RETRY, 0.5, 1.0),
    ]
    assert node.state is State.WAITING


@pytest.mark.parametrize(("foreign", "joins"), [("refuse", False), ("wipe", True), ("merge", True)])
def test_a_node_tells_whether_it_would_join_another_cluster(foreign: ForeignCluster, joins: bool) -> None:
    node = greeting(cluster="ours", foreign=foreign)
    hello = one(sent(run(node, TimerFired(GREET), TimerFired(RETRY))))
    assert isinstance(hello, Hello)
    assert (hello.cluster, hello.joins) == ("ours", joins)


def test_a_node_that_merges_follows_a_leader_of_another_cluster_as_it_is() -> None:
    effects = run(greeting(cluster="ours", foreign="merge"), welcome(cluster="theirs"))
    assert questions(effects) == [ReadOutbox(USERS, 0), ReadOutbox(SETTINGS, 0)]


def test_a_node_that_wipes_forgets_everything_before_it_follows_a_leader_of_another_cluster() -> None:
    node = greeting(cluster="ours", foreign="wipe")
    effects = run(node, welcome(cluster="theirs"))
    assert questions(effects) == [Wipe(USERS, "theirs"), Wipe(SETTINGS, "theirs")]
    assert sent(effects) == []
    assert run(node, received(page(5))) == []


@pytest.mark.parametrize("cluster", ["", "ours"])
def test_a_node_wipes_nothing_for_a_leader_that_is_of_its_cluster_or_of_any(cluster: str) -> None:
    effects = run(greeting(cluster="ours", foreign="wipe"), welcome(cluster=cluster))
    assert questions(effects) == [ReadOutbox(USERS, 0), ReadOutbox(SETTINGS, 0)]


# Giving up and coming back -------------------------------------------------------------------------------------------


def test_pauses_between_greetings_double_up_to_the_longest_and_never_stop() -> None:
    node = greeting()
    pauses: list[tuple[float, float]] = []
    for _ in range(100):
        pauses.append(pause_s(run(node, TimerFired(GREET))))
        assert isinstance(one(sent(run(node, TimerFired(RETRY)))), Hello)
    assert pauses[:5] == [(0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 8.0), (4.0, 8.0)]
    assert pauses[-1] == (4.0, 8.0)


def test_pauses_are_short_again_after_a_welcome() -> None:
    node = greeting()
    for _ in range(5):
        run(node, TimerFired(GREET), TimerFired(RETRY))
    run(node, welcome())
    assert pause_s(run(node, LinkLost(LEADER, "down"))) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (LinkLost(LEADER, "reset"), "reset"),
        (PeerSilent(LEADER, 4.0, 3.0), "silent for 4.0 s, the limit is 3.0 s"),
        (received(Refused("not known")), "not known"),
    ],
    ids=["link lost", "silent", "refused"],
)
def test_a_leader_that_was_up_is_reported_down_and_not_watched_any_more(event: Event, reason: str) -> None:
    node = live()
    effects = run(node, event)
    assert PeerDown(LEADER, "leader", reason) in notices(effects)
    assert told(effects) == [("health", Unwatch(LEADER))]
    assert node.state is State.WAITING


def test_a_leader_that_was_never_there_is_reported_down_once() -> None:
    node = greeting()
    said = notices(run(node, TimerFired(GREET), TimerFired(RETRY), TimerFired(GREET)))
    assert said == [PeerDown(LEADER, "leader", "no answer to the greeting within 5 s")]
    run(node, welcome())
    again = notices(run(node, LinkLost(LEADER, "down"), TimerFired(RETRY), TimerFired(GREET)))
    assert again == [PeerDown(LEADER, "leader", "down")]


def test_what_comes_while_waiting_means_nothing() -> None:
    node = waiting()
    for event in (
        LinkLost(LEADER, "down"),
        received(Refused("why")),
        received(page(5)),
        received(Reset(collection=USERS, answers=A, epoch=B)),
        *(received(body) for body in (GONE, STALE, REPAIR, PUSH_ACK)),
        TimerFired(ALIVE),
        TimerFired(GREET),
        Changed(USERS, 9),
        Enrol(),
    ):
        assert run(node, event) == []
    assert node.state is State.WAITING


# Being live ----------------------------------------------------------------------------------------------------------


def test_every_collection_shows_life_now_and_then() -> None:
    effects = run(live(), TimerFired(ALIVE))
    assert only(sent(effects), Ack) == [
        Ack(collection=USERS, epoch=A, cursor=5),
        Ack(collection=SETTINGS, epoch=A, cursor=5),
    ]
    assert timers(effects) == {ALIVE: (2.0, 2.0)}


@pytest.mark.parametrize(
    ("body", "question"),
    [
        (page(5, [entry()]), MergePage(USERS, A, 5, (entry(),), (6,), 6, 0, 6)),
        (GONE, HearFloor(USERS, A, 9, 90)),
        (STALE, HearFloor(USERS, A, 9, 90)),
        (REPAIR, MendBuckets(USERS, A, (3,), (), ())),
        (PUSH_ACK, Confirm(USERS, A, ())),
        (Reset(USERS, A, B), FollowEpoch(USERS, A, B)),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_the_leader_says_of_a_collection_is_put_to_storage_and_the_answer_comes_back_to_it(
    body: Message, question: Question
) -> None:
    node = live()
    asking = run(node, received(body, sender=LEADER))
    assert questions(asking) == [question]
    assert run(node, answer(asking, Failed("busy", "full"))) == []


def test_the_leader_is_heard_at_most_twice_per_heartbeat() -> None:
    node = live()
    assert told(run(node, received(page(5)), now=at(0.5))) == []
    assert told(run(node, received(page(5)), now=at(0.6))) == [("health", Heard(LEADER, "node"))]
    assert told(run(node, received(page(5)), now=at(0.7))) == []


def test_health_that_begins_again_is_told_of_a_live_leader() -> None:
    assert told(run(live(), Enrol())) == [("health", Heard(LEADER, "node"))]


@pytest.mark.parametrize(
    "event",
    [
        Changed("things/*", 1),
        received(page(0, collection="things/*")),
        received(Subscribe(collection=USERS, epoch=A, cursor=0), sender=NODE),
        TimerFired(RETRY),
        TimerFired("unknown"),
        Committed(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_is_not_for_us_means_nothing(event: Event) -> None:
    assert run(live(), event) == []


# Being told to pull --------------------------------------------------------------------------------------------------


def test_a_live_node_that_is_told_to_pull_asks_for_what_is_new_offers_everything_and_says_when_it_is_here() -> None:
    node = live()
    effects = run(node, PullNow())
    assert sent(effects) == [Subscribe(USERS, A, 5), Subscribe(SETTINGS, A, 5)]
    again = run(node, received(page(5, to=5), sender=LEADER))
    assert CaughtUp(USERS) in notices(again)


def test_a_node_that_waits_greets_its_leader_at_once_when_it_is_told_to_pull() -> None:
    node = waiting()
    effects = run(node, PullNow())
    assert CancelTimer(RETRY) in effects
    assert isinstance(one(sent(effects)), Hello)
    assert node.state is State.GREETING
    assert run(node, PullNow()) == []
