"""Mesh: whom a node asks while its leader is away, what it believes, and whom it answers."""

from typing import Final

from msgspec.structs import replace

from pivot.config import Config, Key, Knobs
from pivot.core.collection import FeedSlice, Row
from pivot.core.effects import Ask, CancelTimer, Effect, Send
from pivot.core.events import Answer, LinkLost, Started, TimerFired
from pivot.core.mesh import GIVING_MAX, MESH, PEEKS_MAX, SOURCES
from pivot.core.messages import Glimpse, Peek, Refused, Welcome
from pivot.core.node import GREET, NodeBehaviour
from pivot.core.notices import ReadingFrom
from pivot.core.questions import Entries, Failed, ListAll, MergeFromPeer, Position, ReadForPeer
from pivot.types import Address, Epoch
from tests.core.builders import (
    LEADER,
    OURS,
    USERS,
    A,
    B,
    answer,
    at,
    entry,
    notices,
    one,
    only,
    opened,
    place,
    questions,
    received,
    run,
    sent,
    set_place,
    timers,
)

THINGS: Final = "things/*"
KNOBS: Final = Knobs(leader_timeout_s=5.0, greet_s=4.0, heartbeat_s=1.0)
CONFIG: Final = Config(keys=(Key(USERS),), nodes_key=THINGS, cluster_url=LEADER, cluster_id="c", knobs=KNOBS)


def started(config: Config = CONFIG, collections: tuple[str, ...] = (USERS,)) -> NodeBehaviour:
    """A node that has greeted a leader that does not answer."""
    node = NodeBehaviour(actor="node", upstream=LEADER, collections=collections, config=config)
    info = opened([set_place(5)], collections=dict.fromkeys((USERS, *collections), True)).describe()
    run(node, Started(), Answer(1, info))
    return node


def nodes(*numbers: int) -> Entries:
    """Entries of nodes, and of others."""
    data = [f'{{"ip": "10.0.0.{number}", "port": 80}}' for number in numbers]
    data += ['"plain"', '{"ip": "8.8.8.8", "port": 80}']
    return Entries(tuple(entry(f"things/{place}", 1, each) for place, each in enumerate(data)), 1)


def reading(*numbers: int, config: Config = CONFIG) -> tuple[NodeBehaviour, list[Effect]]:
    """A node that has just begun to read from these, and what it did."""
    node = started(config)
    looking = run(node, TimerFired(MESH))
    assert questions(looking) == [ListAll(THINGS)]
    return node, run(node, answer(looking, nodes(*numbers)))


def addresses(effects: list[Effect]) -> list[str]:
    return [effect.target for effect in only(effects, Send) if isinstance(effect.body, Peek)]


def glimpse(peek: Peek, *, next_: int = 3, head: int = 3, since: int | None = None, life: Epoch = B) -> Glimpse:
    """What a node with one row answers."""
    return Glimpse(
        ordinal=peek.ordinal,
        collection=peek.collection,
        life=life,
        since=peek.since if since is None else since,
        entries=(entry("users/x", 7),),
        acks=(0,),
        next=next_,
        head=head,
        epoch=A,
        cursor=9,
    )


def test_a_node_waits_a_while_before_it_reads_from_others() -> None:
    node = NodeBehaviour(actor="node", upstream=LEADER, collections=(USERS,), config=CONFIG)
    run(node, Started())
    assert timers(run(node, Answer(1, opened(follows=True).describe())))[MESH] == (5.0, 5.0)
    assert MESH not in timers(run(node, TimerFired(GREET)))  # it waits already


def test_a_node_reads_from_two_others_and_never_calls_who_is_elsewhere() -> None:
    node, effects = reading(1, 2, 3)
    asked = addresses(effects)
    assert len(asked) == SOURCES
    assert set(asked) < {"http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"}
    peek = only(sent(effects), Peek)[0]
    assert (peek.collection, peek.since, peek.epoch, peek.cursor, peek.cluster) == (USERS, 0, A, 5, "c")
    again = run(node, TimerFired(MESH), now=at(3))
    assert addresses(again) == asked  # nothing was heard of the first; storage is not asked who there is
    assert not questions(again)


def test_a_node_reads_from_nobody_when_the_mesh_is_off_or_nobody_registers() -> None:
    for config in (replace(CONFIG, mesh=False), replace(CONFIG, nodes_key="")):
        node = NodeBehaviour(actor="node", upstream=LEADER, collections=(USERS,), config=config)
        run(node, Started())
        assert MESH not in timers(run(node, Answer(1, opened(follows=True).describe())))


def test_its_leader_is_not_among_those_it_reads_from() -> None:
    node = NodeBehaviour(actor="node", upstream=Address("http://10.0.0.1:80"), collections=(USERS,), config=CONFIG)
    run(node, Started(), Answer(1, opened(follows=True).describe()))
    assert addresses(run(node, answer(run(node, TimerFired(MESH)), nodes(1)))) == []


def test_what_another_node_has_is_handed_to_storage_and_reading_goes_on_where_it_ended() -> None:
    node, effects = reading(1)
    peek = one(only(sent(effects), Peek))
    merging = run(node, received(glimpse(peek, head=8)))
    assert notices(merging) == [ReadingFrom(LEADER, (Address("http://10.0.0.1:80"),))]
    assert questions(merging) == [MergeFromPeer(USERS, A, 9, (entry("users/x", 7),), (0,))]
    then = one(only(sent(run(node, answer(merging, Position(place(5), applied=True)))), Peek))
    assert (then.life, then.since) == (B, 3)
    merging = run(node, received(glimpse(then, next_=8, head=8)))
    assert not notices(merging)
    assert not run(node, answer(merging, Position(place(5), applied=True)))  # the next heartbeat asks on
    assert one(only(sent(run(node, TimerFired(MESH))), Peek)).since == 8


def test_what_storage_refuses_is_not_asked_of_that_node_again() -> None:
    node, effects = reading(1)
    merging = run(node, received(glimpse(one(only(sent(effects), Peek)))))
    assert not run(node, answer(merging, Position(place(5), applied=False)))
    assert addresses(run(node, TimerFired(MESH))) == []


def test_what_storage_was_too_busy_for_is_asked_again() -> None:
    node, effects = reading(1)
    merging = run(node, received(glimpse(one(only(sent(effects), Peek)))))
    assert not run(node, answer(merging, Failed("busy", "full")))
    assert one(only(sent(run(node, TimerFired(MESH))), Peek)).since == 0


def test_a_glimpse_that_nobody_asked_for_or_of_something_else_is_not_believed() -> None:
    node, effects = reading(1)
    peek = one(only(sent(effects), Peek))
    assert not run(node, received(replace(glimpse(peek), ordinal=99)))
    assert not run(node, received(replace(glimpse(peek), collection="settings")))
    assert questions(run(node, received(glimpse(peek))))
    assert not run(node, received(glimpse(peek)))  # that peek has had its answer


def test_a_late_glimpse_is_ignored_and_one_of_another_life_begins_again() -> None:
    node, effects = reading(1)
    first = one(only(sent(effects), Peek))
    merging = run(node, received(glimpse(first)))
    run(node, answer(merging, Position(place(5), applied=True)))
    second = one(only(sent(run(node, TimerFired(MESH))), Peek))
    assert not questions(run(node, received(glimpse(second, since=2))))
    third = one(only(sent(run(node, TimerFired(MESH))), Peek))
    assert questions(run(node, received(glimpse(third, since=0, life=Epoch("new")))))


def test_a_merge_that_ends_when_the_source_has_begun_another_life_does_not_count() -> None:
    node, effects = reading(1)
    merging = run(node, received(glimpse(one(only(sent(effects), Peek)))))
    other = one(only(sent(run(node, TimerFired(MESH))), Peek))
    run(node, received(glimpse(other, life=Epoch("new"))))
    run(node, answer(merging, Position(place(5), applied=True)))
    assert one(only(sent(run(node, TimerFired(MESH))), Peek)).since == 0


def test_a_silent_node_makes_way_for_another_and_comes_again_when_all_were_tried() -> None:
    node, effects = reading(1, 2, 3)
    first = addresses(effects)
    later = run(node, TimerFired(MESH), now=at(5))
    second = addresses(run(node, answer(later, nodes(1, 2, 3)), now=at(5)))
    assert len(second) == 1
    assert second[0] not in first
    later = run(node, TimerFired(MESH), now=at(6))
    assert addresses(run(node, answer(later, nodes(1, 2, 3)), now=at(6)))[0] in first  # all have failed once


def test_a_node_does_not_read_from_itself() -> None:
    node, effects = reading(1)
    assert not run(node, received(glimpse(one(only(sent(effects), Peek))), store=OURS))
    later = run(node, TimerFired(MESH))
    assert addresses(later) == []
    assert questions(later) == [ListAll(THINGS)]


def test_the_mesh_is_left_when_the_leader_is_back() -> None:
    node, effects = reading(1)
    merging = run(node, received(glimpse(one(only(sent(effects), Peek)))))
    welcome = Welcome(protocol=1, cluster="c", wall_ns=1, collections=(USERS,))
    back = run(node, received(welcome, sender=LEADER))
    assert CancelTimer(MESH) in back
    assert notices(back)[-1] == ReadingFrom(LEADER, ())
    assert not run(node, answer(merging, Position(place(5), applied=True)))
    assert not run(node, TimerFired(MESH))  # it was under way
    assert timers(run(node, LinkLost(LEADER, "gone")))[MESH] == (5.0, 5.0)


def test_a_leader_that_refuses_is_not_away() -> None:
    node = started()
    assert CancelTimer(MESH) in run(node, received(Refused("no"), sender=LEADER))


def test_an_answer_about_nodes_that_comes_when_the_leader_is_back_is_ignored() -> None:
    node = started()
    looking = run(node, TimerFired(MESH))
    run(node, received(Welcome(protocol=1, cluster="c", wall_ns=1, collections=(USERS,)), sender=LEADER))
    assert addresses(run(node, answer(looking, nodes(1)))) == []


def test_many_collections_take_turns() -> None:
    paths = tuple(f"list{number}/*" for number in range(PEEKS_MAX + 3))
    node = started(CONFIG, paths)
    first = only(sent(run(node, answer(run(node, TimerFired(MESH)), nodes(1)))), Peek)
    second = only(sent(run(node, TimerFired(MESH))), Peek)
    assert (len(first), len(second)) == (PEEKS_MAX, 3)
    assert {peek.collection for peek in (*first, *second)} == set(paths)


def test_a_peek_is_made_again_only_when_it_has_had_no_answer_for_long() -> None:
    node, effects = reading(1)
    assert addresses(run(node, TimerFired(MESH), now=at(1))) == []
    again = run(node, TimerFired(MESH), now=at(2.5))
    assert addresses(again) == ["http://10.0.0.1:80"]
    assert not questions(run(node, received(glimpse(one(only(sent(effects), Peek))))))  # late
    assert questions(run(node, received(glimpse(one(only(sent(again), Peek))))))


# Being read ----------------------------------------------------------------------------------------------------------


def peek_of_another(*, life: Epoch = A, cluster: str = "c", collection: str = USERS) -> Peek:
    return Peek(ordinal=3, collection=collection, life=life, since=4, epoch=B, cursor=2, cluster=cluster)


def test_a_node_answers_another_whether_its_leader_is_away_or_not() -> None:
    node = started()
    asking = run(node, received(peek_of_another(), sender="other"))
    assert questions(asking) == [ReadForPeer(USERS, 4, B, 2)]
    rows = (Row(entry("users/a", 1), 5, 8), Row(entry("users/b", 2), 6))
    piece = FeedSlice(since=4, rows=rows, next=6, head=7, place=place(9))
    said = one(only(run(node, answer(asking, piece)), Send))
    assert said.target == "other"
    assert said.body == Glimpse(
        ordinal=3, collection=USERS, life=A, since=4, entries=(rows[0].entry, rows[1].entry), acks=(8, 0), next=6,
        head=7, epoch=A, cursor=9,
    )  # fmt: skip


def test_who_has_read_another_life_of_ours_begins_again() -> None:
    asking = run(started(), received(peek_of_another(life=B), sender="other"))
    assert questions(asking) == [ReadForPeer(USERS, 0, B, 2)]


def test_nothing_is_said_when_storage_has_nothing_to_say() -> None:
    node = started()
    asking = run(node, received(peek_of_another()))
    assert not run(node, answer(asking, Failed("busy", "everything is being read again")))


def test_strangers_are_not_answered() -> None:
    node = started()
    assert not run(node, received(peek_of_another(cluster="d")))
    assert not run(node, received(peek_of_another(collection="settings")))
    assert not run(started(replace(CONFIG, mesh=False)), received(peek_of_another()))
    assert questions(run(node, received(peek_of_another(cluster=""))))


def test_only_so_many_peeks_wait_for_storage() -> None:
    node = started()
    asked = [run(node, received(peek_of_another(), sender=f"other-{number}")) for number in range(GIVING_MAX + 1)]
    assert [len(only(effects, Ask)) for effects in asked] == [1] * GIVING_MAX + [0]


def test_what_cannot_be_asked_of_storage_now_is_left_to_the_next_time() -> None:
    node, effects = reading(1)
    node._asks.limit = 0
    assert not questions(run(node, received(glimpse(one(only(sent(effects), Peek))))))
    assert not run(node, received(peek_of_another()))
    assert one(only(sent(run(node, TimerFired(MESH))), Peek)).since == 0
