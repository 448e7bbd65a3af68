"""Cuts and weather at any time: what each does to messages, and that each ends by itself and only itself."""

from itertools import pairwise

import pytest
from msgspec import structs

from pivot.errors import PeerError
from pivot.transport.codec import decode
from simulator.errors import BadConditionsError
from simulator.world.cut import Difference
from simulator.world.heap import EventHeap
from simulator.world.latency import BimodalLatency, ConstantLatency, EmpiricalLatency, UniformLatency
from simulator.world.link import Conditions, Deliver, How
from simulator.world.network import Network, corrupt
from simulator.world.rng import Streams, correlated
from simulator.world.topology import Topology, mesh, wired
from simulator.world.trace import Trace

MS = 1_000_000
S = 1_000_000_000


class Wire:
    """A network of a few members, and what arrives where."""

    def __init__(self, topology: Topology, seed: int = 1) -> None:
        self.heap = EventHeap()
        self.network = Network(self.heap, topology, Streams(seed), Trace(keep=True))
        self.got: list[tuple[int, str, bytes]] = []
        self.resets: list[tuple[int, str, str]] = []
        for member in topology.members:
            self.attach(member)

    def attach(self, member: str) -> None:
        def receive(payload: bytes, sender: str) -> None:
            del sender
            self.got.append((self.heap.now_ns, member, payload))

        def link_lost(peer: str, reason: str) -> None:
            del reason
            self.resets.append((self.heap.now_ns, member, peer))

        self.network.attach(member, receive, link_lost)

    def send(self, at_ns: int, payload: bytes, src: str = "a", dst: str = "b") -> None:
        self.heap.post_at(at_ns, lambda: self.network.send(src, dst, payload, "push"))

    def run(self) -> None:
        while self.heap.run_next():
            pass

    def payloads(self) -> list[bytes]:
        return [payload for _, _, payload in self.got]


def pair(**fields: object) -> Wire:
    fair = Conditions(latency=ConstantLatency(base_s=0.01))
    return Wire(mesh(["a", "b"], structs.replace(fair, **fields)))


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(count)]


def test_what_is_held_arrives_in_the_order_in_which_it_was_sent_when_it_is_released() -> None:
    wire = pair(latency=UniformLatency(base_s=0.0, spread_s=0.5))
    sent = numbered(50)
    cut = wire.network.isolate("a", how="hold")
    for number, payload in enumerate(sent):
        wire.send(number * MS, payload)
    wire.heap.post_at(2 * S, cut.heal)
    wire.run()
    assert wire.payloads() == sent
    assert {at_ns for at_ns, _, _ in wire.got} == {2 * S}
    assert (cut.held, cut.lost) == (50, 0)
    assert wire.network.statistics().in_flight == 0


def test_what_is_held_for_a_member_that_has_restarted_is_lost() -> None:
    wire = pair()
    wire.network.isolate("a", how="hold")
    wire.send(0, b"1")
    wire.heap.post_at(S, lambda: wire.network.detach("b"))
    wire.heap.post_at(S, lambda: wire.attach("b"))
    wire.heap.post_at(S, wire.network.heal)
    wire.run()
    assert wire.got == []
    assert wire.network.statistics().lost == {"down": 1}


def test_a_cut_that_loses_is_stronger_than_one_that_holds() -> None:
    wire = pair()
    wire.network.isolate("a", how="hold")
    wire.send(0, b"held first")
    wire.heap.post_at(20 * MS, lambda: wire.network.isolate("a") and None)
    wire.send(30 * MS, b"lost")
    wire.heap.post_at(S, lambda: wire.network.heal("drop"))
    wire.send(2 * S, b"held, too")
    wire.heap.post_at(3 * S, lambda: wire.network.heal("hold"))
    wire.run()
    assert wire.payloads() == [b"held first", b"held, too"]


@pytest.mark.parametrize(("how", "arrives"), [("drop", [b"1"]), ("hold", [b"1"]), ("reset", [])])
def test_a_cut_that_is_over_before_a_message_arrives_loses_it_only_when_connections_are_reset(
    how: How, arrives: list[bytes]
) -> None:
    wire = pair()
    wire.send(0, b"1")
    wire.heap.post_at(MS, lambda: wire.network.isolate("a", how=how).heal())
    wire.run()
    assert wire.payloads() == arrives
    heard = [(MS, "a", "b"), (MS, "a", "b"), (MS, "b", "a"), (MS, "b", "a")]  # of each direction
    assert sorted(wire.resets) == (heard if how == "reset" else [])


def test_who_sends_on_a_connection_that_is_reset_hears_of_it_every_time() -> None:
    wire = pair()
    wire.network.cut_one_way(["a"], ["b"], how="reset")
    wire.send(S, b"1")
    wire.send(2 * S, b"2")
    wire.run()
    assert [each for each in wire.resets if each[0] > 0] == [(S, "a", "b"), (2 * S, "a", "b")]
    assert wire.network.statistics().lost == {"reset": 2}


@pytest.mark.parametrize("latency_s", [0.0, 0.01, 1.0])
def test_throughput_over_a_narrow_link_does_not_depend_on_its_latency(latency_s: float) -> None:
    wire = pair(latency=ConstantLatency(base_s=latency_s), bandwidth=10_000.0)
    for _ in range(100):
        wire.send(0, bytes(100))
    wire.run()
    times = [at_ns for at_ns, _, _ in wire.got]
    assert times[0] == round((latency_s + 0.01) * S)
    assert times[-1] - times[0] == round(0.99 * S)  # 99 more messages of 100 bytes at 10,000 bytes a second
    assert wire.payloads() == [bytes(100)] * 100


def test_what_finds_the_queue_of_a_narrow_link_full_is_lost_and_the_queue_empties() -> None:
    wire = pair(bandwidth=1_000.0, queue_bytes=500)
    for at_ns in (0, S):
        for _ in range(10):
            wire.send(at_ns, bytes(100))
    wire.run()
    assert len(wire.got) == 10
    assert wire.network.statistics().lost == {"queue": 10}


def test_what_is_kept_back_is_overtaken() -> None:
    wire = pair(reordering=0.3, reordering_s=0.05)
    sent = numbered(100)
    for number, payload in enumerate(sent):
        wire.send(number * MS, payload)
    wire.run()
    assert wire.payloads() != sent
    assert sorted(wire.payloads()) == sent
    late = [at_ns - int.from_bytes(payload, "big") * MS for at_ns, _, payload in wire.got]
    assert set(late) == {10 * MS, 60 * MS}


def test_a_copy_may_come_much_later() -> None:
    wire = pair(duplication=1.0, duplication_s=5.0)
    wire.send(0, b"1")
    wire.run()
    assert wire.got == [(10 * MS, "b", b"1"), (5_010 * MS, "b", b"1")]


@pytest.mark.parametrize("text", [b'{"a":1}', '{"ä":"öß€"}'.encode(), b"x"])
def test_a_changed_byte_is_always_one_that_no_text_has(text: bytes) -> None:
    for number in range(len(text)):
        changed = corrupt(text, number / len(text))
        assert len(changed) == len(text)
        with pytest.raises(UnicodeDecodeError):
            changed.decode()
        with pytest.raises(PeerError):
            decode(changed)


def test_a_corrupted_message_arrives_changed_and_its_copy_as_it_was() -> None:
    wire = pair(corruption=1.0, duplication=1.0)
    wire.send(0, b"good")
    wire.run()
    bad, good = wire.payloads()
    assert bad != b"good" == good
    assert wire.network.statistics().corrupted == 1


def test_changes_of_weather_overlap_and_each_ends_by_itself() -> None:
    wire = pair()
    links = wire.network.topology.links
    lossy = wire.network.change(links, Difference(loss=1.0))
    slow = wire.network.change(links, Difference(latency=ConstantLatency(base_s=1.0), loss=0.5))
    link = wire.network.link("a", "b")
    assert link is not None
    assert link.conditions == Conditions(latency=ConstantLatency(base_s=1.0), loss=0.5)
    slow.end()
    assert link.conditions == Conditions(latency=ConstantLatency(base_s=0.01), loss=1.0)
    wire.send(0, b"1")
    wire.run()
    lossy.end()
    assert link.conditions == Conditions(latency=ConstantLatency(base_s=0.01))
    assert (lossy.touched, slow.touched) == (1, 0)


def test_a_change_of_weather_on_some_links_leaves_the_fates_on_all_others_alone() -> None:
    def fates(*, foul: bool) -> dict[str, list[int]]:
        wire = Wire(mesh(["a", "b", "c"], Conditions(latency=UniformLatency(spread_s=0.5), loss=0.3)))
        if foul:
            wire.network.change([wire.network.topology.links[0]], Difference(loss=1.0))
        for number in range(100):
            wire.send(number * S, b"b")
            wire.send(number * S, b"c", dst="c")
        wire.run()
        return {member: [at_ns for at_ns, to, _ in wire.got if to == member] for member in ("b", "c")}

    assert fates(foul=True) == {**fates(foul=False), "b": []}


def test_a_bimodal_latency_takes_one_of_two_ways_and_an_empirical_one_what_was_measured() -> None:
    two = BimodalLatency(base_s=0.01, far_s=1.0, far=0.25)
    assert [two.sample_ns(unit) for unit in (0.0, 0.74, 0.75, 0.99)] == [10 * MS, 10 * MS, 1010 * MS, 1010 * MS]
    measured = EmpiricalLatency(base_s=0.0, samples_s=(0.001, 0.003, 0.1))
    assert [measured.sample_ns(unit) for unit in (0.0, 0.25, 0.5)] == [MS, 2 * MS, 3 * MS]
    assert measured.sample_ns(1 - 2**-53) <= 100 * MS
    with pytest.raises(BadConditionsError, match=r"a later one of samples_s is 0\.1, allowed: at least 0\.2"):
        EmpiricalLatency(samples_s=(0.2, 0.1))
    with pytest.raises(BadConditionsError, match=r"far is 1\.5, allowed: 0 to 1"):
        BimodalLatency(far_s=1.0, far=1.5)


def test_a_correlated_latency_is_like_the_one_before_and_spread_as_without() -> None:
    stream = Streams(1).stream("units")
    units, unit = list[float](), 0.5
    for _ in range(4_000):
        unit = correlated(stream.unit(), unit, 0.9)
        units.append(unit)
    steps = [abs(after - before) for before, after in pairwise(units)]
    assert sum(steps) / len(steps) < 0.15  # 1/3 without correlation
    for part in (0.25, 0.5, 0.75):
        assert sum(unit < part for unit in units) / 4_000 == pytest.approx(part, abs=0.08)


def test_each_link_of_a_graph_has_its_own_weather() -> None:
    near, far = (Conditions(latency=ConstantLatency(base_s=base_s)) for base_s in (0.001, 1.0))
    wire = Wire(wired(["a", "b", "c"], [("a", "b"), ("a", "c")], [near, far], [1.0, 1.0]))
    wire.send(0, b"1")
    wire.send(0, b"2", dst="c")
    wire.send(0, b"3", src="c", dst="a")
    wire.run()
    assert wire.got == [(MS, "b", b"1"), (S, "c", b"2")]
    assert wire.network.statistics().lost == {"no link": 1}


def test_a_ring_leaves_the_links_between_neighbours_only() -> None:
    topology = mesh(["a", "b", "c", "d"])
    cut = topology.links_off_ring(["a", "c", "b", "d"])
    assert sorted(cut) == [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
    assert topology.links_off_ring(["a", "b", "c"]) == ()


def test_the_smallest_cut_takes_the_fewest_links_and_the_weighted_one_the_lightest() -> None:
    links = [("a", "b"), ("b", "d"), ("a", "c"), ("c", "d"), ("b", "c")]
    fair = Conditions()
    topology = wired(["a", "b", "c", "d"], links, [fair] * 5, [9.0, 1.0, 1.0, 9.0, 1.0])
    assert topology.smallest_cut("a", "d", weighted=True) == (("a", "c"), ("b", "c"), ("b", "d"))
    assert len(topology.smallest_cut("a", "d")) == 2
    assert topology.smallest_cut("d", "a") == ()


def test_fates_say_what_happened() -> None:
    wire = pair(corruption=1.0, reordering=1.0)
    link = wire.network.link("a", "b")
    assert link is not None
    fate = link.fate(0, 10)
    assert isinstance(fate, Deliver)
    assert fate.reordered
    assert fate.corrupted is not None
    assert fate.at_ns == 110 * MS
