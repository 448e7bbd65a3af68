"""NodeBehaviour: greeting, being let in or not, giving up and coming back, for ever."""

import pytest

from pivot.config import Knobs
from pivot.core.effects import Ask, CancelTimer, Effect, Report, Send, SetTimer, Tell
from pivot.core.events import (
    Answer,
    Changed,
    CollectionInfo,
    Committed,
    Confirmed,
    Describe,
    Enrol,
    Event,
    Failed,
    Heard,
    LinkLost,
    PeerDown,
    PeerRefused,
    PeerSilent,
    PeerUp,
    ReadOutbox,
    Started,
    StoreInfo,
    TimerFired,
    Unwatch,
)
from pivot.core.messages import Ack, Hello, Refused, Reset, Subscribe, Welcome
from pivot.core.node import ALIVE, GREET, RETRY, NodeBehaviour, State
from pivot.types import Epoch
from tests.core.builders import (
    LEADER,
    NODE,
    OURS,
    SETTINGS,
    USERS,
    WALL_NS,
    A,
    B,
    at,
    notices,
    one,
    only,
    page,
    questions,
    received,
    run,
    sent,
    timers,
    told,
)

KNOBS = Knobs(retry_s_min=1.0, retry_s_max=8.0, greet_s=5.0, ack_repeat_s=2.0)


def welcome(*collections: str, protocol: int = 1, cluster: str = "") -> Event:
    body = Welcome(protocol=protocol, cluster=cluster, wall_ns=1, collections=collections or (USERS, SETTINGS))
    return received(body, sender=LEADER)


def described(epoch: Epoch = A, cursor: int = 5) -> StoreInfo:
    infos = tuple(
        CollectionInfo(path=path, follows=True, entries=0, tombstones=0, head=0, epoch=epoch, cursor=cursor, outbox=0)
        for path in (USERS, SETTINGS, "elsewhere")
    )
    return StoreInfo(OURS, Epoch("life"), 1, 0, infos)


def greeting(*, cluster: str = "") -> NodeBehaviour:
    node = NodeBehaviour(actor="node", upstream=LEADER, collections=(USERS, SETTINGS), cluster_id=cluster, knobs=KNOBS)
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
    node = NodeBehaviour(actor="node", upstream=LEADER, collections=(USERS,), cluster_id="c", knobs=KNOBS)
    run(node, Started())
    hello = Hello(protocol=(1, 1), cluster="c", wall_ns=WALL_NS, collections=(USERS,))
    assert run(node, Answer(1, described())) == [Send(LEADER, hello), SetTimer(GREET, 5.0, 5.0)]
    subscribe = only(sent(run(node, welcome())), Subscribe)
    assert subscribe == [Subscribe(collection=USERS, epoch=A, cursor=5)]


def test_a_node_asks_storage_again_when_it_was_too_busy() -> None:
    node = NodeBehaviour(actor="node", upstream=LEADER, collections=(USERS,), cluster_id="", knobs=KNOBS)
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


def test_a_collection_that_is_not_led_there_is_reported_and_stays_silent() -> None:
    node = greeting()
    effects = run(node, welcome(USERS))
    assert notices(effects)[1:] == [PeerRefused(LEADER, "collection 'settings' is not led there")]
    assert run(node, received(page(5, collection=SETTINGS))) == []
    assert {body.collection for body in only(sent(run(node, TimerFired(ALIVE))), Ack)} == {USERS}


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
        CancelTimer(GREET),
        CancelTimer(ALIVE),
        SetTimer(RETRY, 0.5, 1.0),
    ]
    assert node.state is State.WAITING


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


def test_what_comes_while_waiting_means_nothing() -> None:
    node = waiting()
    for event in (
        LinkLost(LEADER, "down"),
        received(Refused("why")),
        received(page(5)),
        received(Reset(collection=USERS, answers=A, epoch=B)),
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
