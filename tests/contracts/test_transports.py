"""The contract of a transport, which every one keeps: see `transports.py` for the kinds."""

from functools import partial

import httpx
import msgspec
import trio
import trio.testing

from pivot.actors.entropy import SystemEntropy
from pivot.actors.member import Member
from pivot.actors.tasks import run_member
from pivot.actors.trio_timeline import TrioTimeline
from pivot.config import Config, Key, Knobs
from pivot.core.messages import PROTOCOL, Ack, Envelope, Hello
from pivot.engine.memory import MemoryEngine
from pivot.transport.base import Transport
from pivot.transport.codec import encode
from pivot.transport.http import ENDED, FULL, NO_STREAM, HttpTransport
from pivot.transport.http_client import HttpClient
from pivot.types import Address, Epoch, StoreId
from simulator.runtimes.loop import run
from simulator.world.heap import EventHeap
from simulator.world.network import Network
from simulator.world.rng import Streams
from simulator.world.topology import star
from simulator.world.trace import Trace
from simulator.world.transport import SimulatedTransport
from tests.contracts.transports import (
    DOWN,
    FOR_EVER_S,
    GLIMPSE,
    HELLO,
    LEADER,
    NODE,
    PATIENCE_S,
    PEEK,
    UP,
    Pair,
    Recorder,
    asgi_pair,
    down,
    greet,
    over,
    socket_pair,
    up,
)

EPOCH = Epoch("e1")
NO_WAY_DOWN = "what a leader says is in an answer, which is there in process only when it is complete; see below"
NO_HINTS = "a lost link is a hint that need not come, and never comes there: members must notice silence themselves"


def numbered(pair: Pair, numbers: range) -> list[bytes]:
    """Send that many different envelopes to the leader; returns them encoded."""
    envelopes = [up(pair, Ack("users/*", EPOCH, number)) for number in numbers]
    for envelope in envelopes:
        pair.node_transport.send(envelope)
    return [encode(envelope) for envelope in envelopes]


def lost(recorder: Recorder, count: int) -> bool:
    return len(recorder.lost_links) == count


async def until_lost(pair: Pair, count: int) -> None:
    """Wait until so many envelopes are counted as lost."""
    await pair.node.until(lambda: sum(pair.counts().lost.values()) >= count)


class Attempts:
    """A transport that notes how often it was used."""

    def __init__(self, transport: Transport, enough: int) -> None:
        self.attach = transport.attach
        self.enough = trio.Event()
        self._transport = transport
        self._left = enough

    def send(self, envelope: Envelope) -> None:
        self._transport.send(envelope)
        self._left -= 1
        if not self._left:
            self.enough.set()


# What arrives --------------------------------------------------------------------------------------------------------


@over("simulated", "asgi", "sockets")
async def test_an_envelope_arrives_equal_and_typed_when_a_node_sends_it(pair: Pair) -> None:
    sent = [up(pair, body) for body in UP]
    for envelope in sent:
        pair.node_transport.send(envelope)
    await pair.leader.until(lambda: len(pair.leader.lines) == len(sent))
    assert pair.leader.lines == {encode(envelope) for envelope in sent}
    assert all(envelope in sent for envelope, _ in pair.leader.received)
    assert {type(envelope.body) for envelope, _ in pair.leader.received} == {type(body) for body in UP}
    assert {via for _, via in pair.leader.received} == {Address(NODE)}


@over("simulated", "sockets", asgi=NO_WAY_DOWN)
async def test_an_envelope_arrives_equal_and_typed_when_a_leader_sends_it(pair: Pair) -> None:
    await greet(pair)
    sent = [down(body) for body in DOWN]
    for envelope in sent:
        pair.leader_transport.send(envelope)
    await pair.node.until(lambda: len(pair.node.lines) == len(sent))
    assert pair.node.lines == {encode(envelope) for envelope in sent}
    assert all(envelope in sent for envelope, _ in pair.node.received)
    assert {type(envelope.body) for envelope, _ in pair.node.received} == {type(body) for body in DOWN}
    assert {via for _, via in pair.node.received} == {pair.leader_address}


@over("simulated", "asgi", "sockets")
async def test_a_peek_is_answered_equal_and_typed_when_no_stream_is_open(pair: Pair) -> None:
    asked, said = up(pair, PEEK), down(GLIMPSE)
    pair.node_transport.send(asked)
    await pair.leader.until(lambda: len(pair.leader.lines) == 1)
    assert pair.leader.received[0] == (asked, Address(NODE))
    pair.leader_transport.send(down(msgspec.structs.replace(GLIMPSE, ordinal=6)))  # the answer to another
    pair.leader_transport.send(said)
    await pair.node.has(encode(said))
    assert all(via == pair.leader_address for _, via in pair.node.received)


@over("simulated", "asgi", "sockets")
async def test_a_greeting_arrives_when_a_node_sends_it(pair: Pair) -> None:
    await greet(pair)
    assert pair.leader.received[0] == (up(pair, HELLO), Address(NODE))


@over("simulated", "asgi", "sockets")
async def test_nothing_arrives_that_was_not_sent_when_many_are_under_way(pair: Pair) -> None:
    sent: set[bytes] = set()
    for start in range(0, 200, 50):
        lines = numbered(pair, range(start, start + 50))
        await pair.leader.until(partial(pair.leader.has_all, lines))
        sent.update(lines)
    assert pair.leader.lines == sent
    assert not pair.node.received


# Peers that are away -------------------------------------------------------------------------------------------------


@over("simulated", "asgi", "sockets")
async def test_sends_are_bounded_and_the_rest_is_counted_when_the_peer_is_stalled(pair: Pair) -> None:
    pair.stall()
    numbered(pair, range(1))
    await trio.testing.wait_all_tasks_blocked()
    numbered(pair, range(1, 2 * pair.waiting_max))
    lost = sum(pair.counts().lost.values())
    assert pair.waiting_max - 1 <= lost < 2 * pair.waiting_max
    assert not pair.leader.received


@over("simulated", "asgi", "sockets")
async def test_a_send_does_not_raise_and_is_counted_as_lost_when_the_peer_is_away(pair: Pair) -> None:
    pair.away()
    numbered(pair, range(3))
    await until_lost(pair, 3)
    assert not pair.leader.received


@over("simulated", "asgi", "sockets")
async def test_later_envelopes_arrive_when_the_peer_is_back(pair: Pair) -> None:
    for life in range(3):
        pair.away()
        numbered(pair, range(3))
        await until_lost(pair, 3 * (life + 1))
        pair.back()
        [line] = numbered(pair, range(100 + life, 101 + life))
        await pair.leader.has(line)


@over("asgi", "sockets", simulated=NO_HINTS)
async def test_the_member_hears_of_a_lost_link_when_its_leader_is_away(pair: Pair) -> None:
    pair.away()
    numbered(pair, range(1))
    await pair.node.until(lambda: pair.node.lost_links)
    pair.node_transport.send(up(pair, HELLO))
    await pair.node.until(lambda: len(pair.node.lost_links) == 2)
    for (peer, reason), path in zip(pair.node.lost_links, ("envelopes", "stream"), strict=True):
        assert peer == pair.leader_address
        assert f"{pair.leader_address}/_pivot/{path}" in reason


@over("asgi", "sockets", simulated=NO_HINTS)
async def test_the_member_hears_of_a_lost_link_when_too_much_waits(pair: Pair) -> None:
    numbered(pair, range(pair.waiting_max + 2))
    assert pair.counts().lost == {FULL: 2}
    assert [peer for peer, _ in pair.node.lost_links] == [pair.leader_address] * 2
    assert str(pair.waiting_max) in pair.node.lost_links[0][1]
    await pair.leader.until(lambda: len(pair.leader.lines) == pair.waiting_max)


@over("simulated", "asgi", "sockets")
async def test_a_member_greets_until_its_leader_is_back_when_it_was_away_for_long(pair: Pair) -> None:
    """Transports do not repeat themselves: to come back by itself, for ever, is the member's part."""
    transport = Attempts(pair.node_transport, enough=10)
    member = Member(
        Config(
            keys=(Key("users/*"),),
            cluster_url=pair.leader_address,
            knobs=Knobs(retry_s_min=0.01, retry_s_max=0.04, greet_s=0.02),
        ),
        member=NODE,
        transport=transport,
        timeline=pair.timeline,
        wall=lambda: 1,
        entropy=SystemEntropy(),
    )
    pair.away()
    async with trio.open_nursery() as nursery:
        if isinstance(pair.timeline, TrioTimeline):
            nursery.start_soon(pair.timeline.run)
        await nursery.start(run_member, member, MemoryEngine(store=StoreId("s1"), epoch=EPOCH))
        with trio.fail_after(PATIENCE_S):
            await transport.enough.wait()
        assert not pair.leader.received
        pair.back()
        await pair.leader.until(lambda: pair.leader.received)
        nursery.cancel_scope.cancel()
    assert isinstance(pair.leader.received[0][0].body, Hello)


# Members that are not there ------------------------------------------------------------------------------------------


@over("simulated", "asgi", "sockets")
async def test_an_envelope_is_dropped_and_counted_when_nobody_has_that_name(pair: Pair) -> None:
    pair.node_transport.send(down(DOWN[0], "nobody"))
    await trio.testing.wait_all_tasks_blocked()
    assert pair.counts().sent == 1
    assert sum(pair.counts().lost.values()) == 1
    assert not pair.leader.received


@over("simulated", "asgi", "sockets")
async def test_a_closed_transport_ends_and_loses_what_is_sent_when_streams_are_open(pair: Pair) -> None:
    await greet(pair)
    before = sum(pair.counts().lost.values())
    await pair.close()
    pair.node_transport.send(up(pair, HELLO))
    numbered(pair, range(2))
    assert sum(pair.counts().lost.values()) == before + 3


@over("simulated", "asgi", "sockets")
async def test_statistics_count_what_was_sent_and_received(pair: Pair) -> None:
    numbered(pair, range(5))
    await pair.leader.until(lambda: len(pair.leader.lines) == 5)
    assert pair.counts().sent == 5
    assert pair.counts().lost == {}


# Streams: over HTTP only. The simulated network has no connections: nothing there to break, replace or end ------------


async def test_a_leader_drops_and_counts_what_it_sends_when_the_node_has_no_stream() -> None:
    async with socket_pair() as pair:
        pair.leader_http.send(down(DOWN[0]))
        assert pair.leader_http.statistics().lost == {NO_STREAM: 1}
        await greet(pair)
        pair.leader_http.send(down(DOWN[0]))
        await pair.node.has(encode(down(DOWN[0])))
        assert pair.leader_http.statistics().lost == {NO_STREAM: 1}


async def test_both_members_hear_of_a_lost_link_and_the_node_can_come_again_when_a_stream_breaks() -> None:
    async with socket_pair() as pair:
        for life in range(1, 4):
            await greet(pair)
            pair.away()
            await pair.node.until(partial(lost, pair.node, life))
            await pair.leader.until(partial(lost, pair.leader, life))
            assert pair.leader_http.statistics().downlinks == 0
            pair.back()
        assert {peer for peer, _ in pair.node.lost_links} == {pair.leader_address}
        assert {peer for peer, _ in pair.leader.lost_links} == {Address(NODE)}
        await greet(pair)
        pair.leader_http.send(down(DOWN[0]))
        await pair.node.has(encode(down(DOWN[0])))


async def test_a_new_stream_replaces_the_old_one_and_the_node_loses_no_link_when_it_greets_again() -> None:
    async with socket_pair() as pair:
        for _ in range(5):
            await greet(pair)
        pair.leader_http.send(down(DOWN[0]))
        await pair.node.has(encode(down(DOWN[0])))
        assert pair.leader_http.statistics().downlinks == 1
        assert not pair.node.lost_links


async def test_a_stream_ends_and_its_leader_hears_of_it_when_too_much_waits_for_the_node() -> None:
    async with socket_pair() as pair:
        await greet(pair)
        for number in range(pair.waiting_max + 2):
            pair.leader_http.send(down(Ack("users/*", EPOCH, number)))
        statistics = pair.leader_http.statistics()
        assert statistics.lost == {FULL: 1, ENDED: pair.waiting_max, NO_STREAM: 1}
        assert (statistics.waiting, statistics.downlinks) == (0, 0)
        [(peer, reason)] = pair.leader.lost_links
        assert peer == Address(NODE)
        assert str(pair.waiting_max) in reason
        await pair.node.until(lambda: pair.node.lost_links)


async def test_nodes_hear_that_the_link_is_lost_when_the_leader_ends_its_streams() -> None:
    async with socket_pair() as pair:
        await greet(pair)
        pair.leader_http.close_downlinks()
        await pair.node.until(lambda: pair.node.lost_links)
        assert pair.leader_http.statistics().downlinks == 0


async def test_what_a_leader_has_said_is_in_the_answer_when_its_stream_is_read_at_its_end() -> None:
    """All that can be seen of a stream in process, where answers are there only when they are complete."""
    async with asgi_pair() as pair:
        await greet(pair)
        sent = [down(body) for body in DOWN]
        for envelope in sent:
            pair.leader_http.send(envelope)
        await trio.testing.wait_all_tasks_blocked()
        pair.leader_http.close_downlinks()
        await pair.node.until(lambda: pair.node.lost_links)
        assert [envelope for envelope, _ in pair.node.received] == sent


# What goes over the wire ---------------------------------------------------------------------------------------------


def bytes_over_the_simulated_network() -> list[bytes]:
    taken: list[bytes] = []

    async def main(heap: EventHeap) -> None:
        network = Network(heap, star(LEADER, [NODE]), Streams(1), Trace())
        network.attach(LEADER, lambda payload, _: taken.append(payload))
        transport = SimulatedTransport(NODE, network)
        transport.attach(Recorder())
        for body in (HELLO, *UP):
            transport.send(Envelope(PROTOCOL, NODE, Address(LEADER), StoreId("s1"), EPOCH, body))
            await trio.sleep(1.0)

    run(main, seed=1)
    return taken


async def bytes_over_http() -> list[bytes]:
    taken: list[bytes] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        taken.append(await request.aread())
        return httpx.Response(204)

    async with HttpClient(transport=httpx.MockTransport(answer)) as client, trio.open_nursery() as nursery:
        transport = HttpTransport(client, leaders=[Address("http://leader:80")], silence_s=FOR_EVER_S)
        transport.attach(Recorder())
        await nursery.start(transport.run)
        for body in (HELLO, *UP):
            transport.send(Envelope(PROTOCOL, NODE, Address("http://leader:80"), StoreId("s1"), EPOCH, body))
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return taken


def test_both_worlds_carry_the_same_bytes_when_they_carry_the_same_envelopes() -> None:
    simulated = bytes_over_the_simulated_network()
    real = trio.run(bytes_over_http)
    assert len(simulated) == len(real) == 1 + len(UP)
    there, here = Address(LEADER).encode(), b"http://leader:80"
    assert [line.replace(b'"target":"' + there, b'"target":"' + here) + b"\n" for line in simulated[1:]] == real[1:]
    assert simulated[0].replace(b'"target":"' + there, b'"target":"' + here) == real[0]
