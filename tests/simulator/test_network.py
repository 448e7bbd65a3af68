from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import BadTopologyError, UnknownMemberError
from simulator.world.heap import EventHeap
from simulator.world.latency import ConstantLatency, UniformLatency
from simulator.world.link import Conditions
from simulator.world.network import Network
from simulator.world.rng import Streams
from simulator.world.topology import Topology, mesh, star
from simulator.world.trace import Trace

MS = 1_000_000


class World:
    """A network whose members note (time in ms, sender, payload) of all they receive."""

    def __init__(
        self, topology: Topology, *, seed: int = 1, in_flight_max: int = 1000, absent: tuple[str, ...] = ()
    ) -> None:
        self.heap = EventHeap()
        self.trace = Trace(keep=True)
        self.network = Network(self.heap, topology, Streams(seed), self.trace, in_flight_max=in_flight_max)
        self.received: dict[str, list[tuple[float, str, bytes]]] = {member: [] for member in topology.members}
        for member in topology.members:
            if member not in absent:
                self.attach(member)

    def attach(self, member: str) -> None:
        def receive(payload: bytes, src: str) -> None:
            self.received[member].append((self.heap.now_ns / MS, src, payload))

        self.network.attach(member, receive)

    def at(self, time_ms: float, call: Callable[[], object]) -> None:
        def run() -> None:
            call()

        self.heap.call_at(round(time_ms * MS), run)

    def send(self, src: str, dst: str, payload: bytes = b"x") -> None:
        self.network.send(src, dst, payload, "Test")

    def run(self) -> None:
        while self.heap.run_next():
            pass
        statistics = self.network.statistics()
        assert statistics.in_flight == 0
        assert statistics.sent + statistics.duplicated == statistics.delivered + sum(statistics.lost.values())

    @property
    def lost(self) -> dict[str, int]:
        return self.network.statistics().lost


def fast(members: int = 2, *, loss: float = 0.0, duplication: float = 0.0) -> Topology:
    weather = Conditions(latency=ConstantLatency(base_s=0.01), loss=loss, duplication=duplication)
    return mesh(["a", "b", "c", "d"][:members], weather)


def test_a_message_arrives_after_the_latency_of_its_link() -> None:
    world = World(fast())
    world.at(5, lambda: world.send("a", "b", b"hello"))
    world.run()
    assert world.received == {"a": [], "b": [(15.0, "a", b"hello")]}
    assert [(event.kind, event.member, event.peer, event.message) for event in world.trace.events] == [
        ("sent", "a", "b", -1),
        ("delivered", "a", "b", 0),
    ]


def test_messages_of_equal_time_arrive_in_the_order_they_were_sent() -> None:
    world = World(fast(3))
    for number in range(10):
        world.send("a" if number % 2 else "b", "c", bytes([number]))
    world.run()
    assert [payload[0] for _, _, payload in world.received["c"]] == list(range(10))


def test_a_message_without_a_link_is_lost() -> None:
    world = World(star("leader", ["n1", "n2"]))
    world.send("n1", "n2")
    world.send("n1", "nowhere")
    world.run()
    assert world.lost == {"no link": 2}


def test_a_message_in_flight_is_lost_when_its_link_is_cut_before_delivery() -> None:
    world = World(fast())
    world.send("a", "b", b"before")
    world.at(5, lambda: world.network.isolate("b"))
    world.at(6, lambda: world.send("a", "b", b"during"))
    world.run()
    assert world.received["b"] == []
    assert world.lost == {"cut": 2}
    assert world.network.cuts[0].lost == 2


def test_a_cut_that_healed_before_delivery_lets_a_message_in_flight_pass() -> None:
    world = World(fast())
    world.send("a", "b")
    world.at(2, lambda: world.network.isolate("b"))
    world.at(8, world.network.heal)
    world.run()
    assert world.lost == {}
    assert len(world.received["b"]) == 1


def test_an_asymmetrical_cut_stops_one_direction_only() -> None:
    world = World(fast())
    cut = world.network.cut_one_way(["a"], ["b"])
    world.send("a", "b", b"there")
    world.send("b", "a", b"back")
    world.run()
    assert world.received == {"a": [(10.0, "b", b"back")], "b": []}
    assert cut.links == (("a", "b"),)


def test_a_partition_cuts_between_groups_and_not_within_or_beside_them() -> None:
    world = World(fast(4))
    world.network.partition([{"a", "b"}, {"c"}])
    members = world.network.topology.members
    for src in members:
        for dst in members:
            if src != dst:
                world.send(src, dst)
    world.run()
    heard = {dst: "".join(src for _, src, _ in world.received[dst]) for dst in members}
    assert heard == {"a": "bd", "b": "ad", "c": "d", "d": "abc"}


def test_overlapping_cuts_heal_individually() -> None:
    world = World(fast(3))
    partition = world.network.partition([["a"], ["b", "c"]])
    isolate = world.network.isolate("a")
    world.send("a", "b", b"1")
    partition.heal()
    partition.heal()
    world.send("a", "b", b"2")
    assert world.network.cuts == (isolate,)
    isolate.heal()
    world.send("a", "b", b"3")
    world.run()
    assert [payload for _, _, payload in world.received["b"]] == [b"3"]
    assert (partition.lost, isolate.lost) == (1, 2)
    assert (partition.healed, isolate.healed) == (True, True)


def test_healing_everything_ends_every_cut() -> None:
    world = World(fast(3))
    one, two = world.network.isolate("a"), world.network.isolate("a")
    world.network.heal()
    one.heal()
    assert (one.healed, two.healed, world.network.cuts) == (True, True, ())
    assert one.name != two.name
    kinds = [event.kind for event in world.trace.events]
    assert kinds == ["cut"] * 8 + ["healed"] * 8


def test_what_is_under_way_to_a_crashed_member_is_lost_also_when_it_restarts_meanwhile() -> None:
    world = World(fast())
    world.send("a", "b", b"for the first")
    world.at(2, lambda: world.network.detach("b"))
    world.at(3, lambda: world.send("a", "b", b"for nobody"))
    world.at(4, lambda: world.attach("b"))
    world.at(5, lambda: world.send("a", "b", b"for the second"))
    world.run()
    assert world.received["b"] == [(15.0, "a", b"for the second")]
    assert world.lost == {"down": 2}


def test_a_crashed_member_sends_nothing_and_what_it_sent_before_still_arrives() -> None:
    world = World(fast())
    world.send("a", "b", b"last words")
    world.network.detach("a")
    world.send("a", "b", b"from the grave")
    world.run()
    assert world.received["b"] == [(10.0, "a", b"last words")]
    assert world.lost == {"sender down": 1}


def test_a_late_joiner_is_down_until_it_is_attached() -> None:
    world = World(fast(), absent=("b",))
    world.send("a", "b", b"early")
    world.at(1, lambda: world.attach("b"))
    world.at(2, lambda: world.send("a", "b", b"late"))
    world.run()
    assert [payload for _, _, payload in world.received["b"]] == [b"late"]


def test_a_duplicated_message_arrives_twice() -> None:
    world = World(fast(duplication=1.0))
    world.send("a", "b")
    world.run()
    assert len(world.received["b"]) == 2
    assert world.network.statistics().duplicated == 1


def test_too_many_messages_in_flight_overflow() -> None:
    world = World(fast(), in_flight_max=10)
    for _ in range(15):
        world.send("a", "b")
    statistics = world.network.statistics()
    assert (statistics.in_flight, statistics.lost) == (10, {"overflow": 5})
    world.run()
    world.send("a", "b")
    world.run()
    statistics = world.network.statistics()
    assert (statistics.delivered, statistics.in_flight_peak, statistics.sent) == (11, 10, 16)


def test_a_lost_message_takes_its_place_in_the_weather_whatever_it_was_lost_for() -> None:
    def times(spoil: Callable[[World], object], mend: Callable[[World], object]) -> list[float]:
        world = World(mesh(["a", "b"], Conditions(latency=UniformLatency(spread_s=0.05))))
        world.send("a", "b", b"1")
        world.run()
        spoil(world)
        world.send("a", "b", b"2")
        mend(world)
        start = world.heap.now_ns / MS
        world.send("a", "b", b"3")
        world.run()
        return [round(time_ms - start, 6) for time_ms, _, payload in world.received["b"] if payload == b"3"]

    fine = times(lambda _: None, lambda _: None)
    assert fine == times(lambda world: world.network.isolate("b"), lambda world: world.network.heal())
    assert fine == times(lambda world: world.network.detach("b"), lambda world: world.attach("b"))
    assert fine == times(lambda world: world.network.detach("a"), lambda world: world.attach("a"))


def test_a_member_that_is_not_there_is_named() -> None:
    world = World(fast())
    for verb in (
        lambda: world.attach("z"),
        lambda: world.network.isolate("z"),
        lambda: world.network.partition([["a"], ["z"]]),
        lambda: world.network.cut_one_way(["z"], ["a"]),
    ):
        with pytest.raises(UnknownMemberError, match="no member 'z'"):
            verb()
    with pytest.raises(BadTopologyError, match="'a' is in two groups"):
        world.network.partition([["a"], ["a", "b"]])


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "isolate", "one way", "heal one", "heal", "crash", "start", "run"]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=60,
)


def play(plan: list[Step], seed: int) -> World:
    weather = Conditions(latency=UniformLatency(spread_s=0.01), loss=0.2, duplication=0.3)
    world = World(mesh(list("abcd"), weather), seed=seed, in_flight_max=5)
    network = world.network
    for verb, i, j in plan:
        one, two = "abcd"[i], "abcd"[j]
        match verb:
            case "send":
                world.send(one, two)
            case "isolate":
                network.isolate(one)
            case "one way":
                network.cut_one_way([one], [two])
            case "heal one" if network.cuts:
                network.cuts[i % len(network.cuts)].heal()
            case "heal":
                network.heal()
            case "crash":
                network.detach(one)
            case "start":
                world.attach(one)
            case _:
                world.heap.run_next()
        statistics = network.statistics()
        assert statistics.in_flight <= 5
        copies = statistics.sent + statistics.duplicated
        assert copies == statistics.delivered + sum(statistics.lost.values()) + statistics.in_flight
    world.run()
    return world


@given(steps, st.integers())
def test_every_copy_ends_exactly_once_and_the_same_way_in_every_run(plan: list[Step], seed: int) -> None:
    world = play(plan, seed)
    assert world.trace.hash == play(plan, seed).trace.hash
    world.network.heal()
    for src, dst in world.network.topology.links:
        link = world.network.link(src, dst)
        assert link is not None
        assert not link.is_cut
