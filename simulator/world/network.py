"""The network: carries bytes between attached members, as well as the links and cuts of the moment allow.

Layer: simulator/world (Trio-free). Start at `Network.send`, then `Network._arrive`.

A link is asked twice: when a message is sent (lost? how late?) and when it arrives (cut meanwhile?). A message is for
the incarnation that was attached when it was sent: one that was down by then, or has restarted since, never sees it.
Every copy ends exactly once, as delivered or as lost for a named reason:
`sent + duplicated = delivered + sum(lost) + in_flight`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias, final

import msgspec
from msgspec.structs import replace

from simulator.errors import UnknownMemberError
from simulator.world.cut import Cut
from simulator.world.heap import EventHeap
from simulator.world.link import Dropped, Link
from simulator.world.rng import Streams
from simulator.world.topology import Edge, Topology
from simulator.world.trace import LossReason, Trace

Receive: TypeAlias = Callable[[bytes, str], None]
"""Takes a payload and its sender; runs inside an event of the heap, so it must only hand over."""

IN_FLIGHT_MAX = 100_000


@final
class NetworkStatistics(msgspec.Struct, frozen=True):
    """What the network did.

    Attributes:
        sent: messages handed over by members.
        duplicated: copies made on top of them.
        delivered: copies that reached their target.
        lost: copies that did not, by reason.
        in_flight: copies under way.
        in_flight_peak: most copies that ever were under way.
    """

    sent: int
    duplicated: int
    delivered: int
    lost: dict[str, int]
    in_flight: int
    in_flight_peak: int


@final
class _Flight(msgspec.Struct, frozen=True, gc=False):
    """One copy under way."""

    link: Link
    payload: bytes
    label: str
    incarnation: int
    message: int


@final
class _Presence(msgspec.Struct, frozen=True):
    """One attached incarnation of a member; numbers are never used twice."""

    incarnation: int
    receive: Receive


@final
class Network:
    """All links of a topology, and who is attached to them.

    Attributes:
        topology: the links there are.
        sent_by_label: kind of message -> how many were handed over.
    """

    def __init__(
        self, heap: EventHeap, topology: Topology, streams: Streams, trace: Trace, *, in_flight_max: int = IN_FLIGHT_MAX
    ) -> None:
        self.topology = topology
        self._heap = heap
        self._streams = streams
        self._trace = trace
        self._in_flight_max = in_flight_max
        self._links: dict[tuple[str, str], Link] = {}
        self._present: dict[str, _Presence] = {}
        self._cuts: dict[str, Cut] = {}
        self._incarnations = 0
        self._cuts_made = 0
        self._sent = self._duplicated = self._delivered = self._in_flight = self._in_flight_peak = 0
        self._lost: dict[str, int] = {}
        self.sent_by_label: dict[str, int] = {}

    def attach(self, member: str, receive: Receive) -> int:
        """Let `member` send and receive, as a new incarnation; returns its number.

        Raises:
            UnknownMemberError: the topology has no such member.
        """
        if member not in self.topology.graph:
            raise UnknownMemberError(member, self.topology.members)
        self._incarnations += 1
        self._present[member] = _Presence(self._incarnations, receive)
        return self._incarnations

    def detach(self, member: str) -> None:
        """Take `member` off the network: what it sends, and what is under way to it, is lost."""
        self._present.pop(member, None)

    def link(self, src: str, dst: str) -> Link | None:
        """Return the link from `src` to `dst`; None when there is none."""
        link = self._links.get((src, dst))
        if link is None:
            # Made when first needed, for a mesh has many; its stream is keyed, so when it is made does not matter.
            conditions = self.topology.conditions(src, dst)
            if conditions is None:
                return None
            link = self._links[src, dst] = Link(src, dst, conditions, self._streams.stream("link", src, dst))
        return link

    def send(self, src: str, dst: str, payload: bytes, label: str) -> None:
        """Hand over one message. Never waits, never fails: what cannot be delivered is lost, with a reason."""
        now_ns, size = self._heap.now_ns, len(payload)
        self._sent += 1
        self.sent_by_label[label] = self.sent_by_label.get(label, 0) + 1
        message = self._trace.record(now_ns, "sent", src, dst, label=label, payload=payload)
        link = self.link(src, dst)
        if link is None:
            self._lose(src, dst, label=label, size=size, why="no link", message=message)
            return
        # Asked before anything else can lose the message: each message takes its place in the link's weather.
        fate = link.fate(now_ns)
        target = self._present.get(dst)
        if src not in self._present:
            self._lose(src, dst, label=label, size=size, why="sender down", message=message)
        elif isinstance(fate, Dropped):
            if fate.why == "cut":
                self._blame_cuts(link)
            self._lose(src, dst, label=label, size=size, why=fate.why, message=message)
        elif target is None:
            self._lose(src, dst, label=label, size=size, why="down", message=message)
        else:
            flight = _Flight(link, payload, label, target.incarnation, message)
            self._launch(flight, fate.at_ns)
            for at_ns in fate.copies_at_ns:
                self._duplicated += 1
                self._trace.record(now_ns, "duplicated", src, dst, label=label, size=size, message=message)
                self._launch(flight, at_ns)

    def partition(self, groups: Sequence[Iterable[str]], name: str = "partition") -> Cut:
        """Cut all links between different groups, both directions; who is in no group keeps all links."""
        return self._cut(name, self.topology.links_across(groups))

    def isolate(self, member: str, name: str = "isolate") -> Cut:
        """Cut all links of `member`, both directions."""
        return self._cut(name, self.topology.links_across([[member], self.topology.rest([member])]))

    def cut_one_way(self, sources: Iterable[str], destinations: Iterable[str], name: str = "one-way") -> Cut:
        """Cut the links from `sources` to `destinations`; the way back stays as it is."""
        return self._cut(name, self.topology.links_between(sources, destinations))

    def heal(self) -> None:
        """End all cuts."""
        for cut in tuple(self._cuts.values()):
            cut.heal()

    def calm(self) -> None:
        """From now on no link loses or repeats a message; latencies stay as they are."""
        for src, dst in self.topology.links:
            link = self.link(src, dst)
            assert link is not None, "it is in the topology"
            link.conditions = replace(link.conditions, loss=0.0, duplication=0.0)

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The cuts that are not healed, oldest first."""
        return tuple(self._cuts.values())

    def statistics(self) -> NetworkStatistics:
        """Return what the network did so far."""
        lost = {why: self._lost[why] for why in sorted(self._lost)}
        return NetworkStatistics(
            self._sent, self._duplicated, self._delivered, lost, self._in_flight, self._in_flight_peak
        )

    def links(self) -> tuple[Link, ...]:
        """The links that were used so far, in the order of their first use."""
        return tuple(self._links.values())

    def _launch(self, flight: _Flight, at_ns: int) -> None:
        if self._in_flight >= self._in_flight_max:
            link = flight.link
            size, message = len(flight.payload), flight.message
            self._lose(link.src, link.dst, label=flight.label, size=size, why="overflow", message=message)
            return
        self._in_flight += 1
        self._in_flight_peak = max(self._in_flight_peak, self._in_flight)
        flight.link.enter(flight.label)
        self._heap.post_at(at_ns, partial(self._arrive, flight))

    def _arrive(self, flight: _Flight) -> None:
        self._in_flight -= 1
        link = flight.link
        link.leave(flight.label)
        src, dst = link.src, link.dst
        label, message, size = flight.label, flight.message, len(flight.payload)
        target = self._present.get(dst)
        if link.is_cut:
            self._blame_cuts(link)
            self._lose(src, dst, label=label, size=size, why="cut", message=message)
        elif target is None or target.incarnation != flight.incarnation:
            self._lose(src, dst, label=label, size=size, why="down", message=message)
        else:
            self._delivered += 1
            self._trace.record(self._heap.now_ns, "delivered", src, dst, label=label, size=size, message=message)
            target.receive(flight.payload, src)

    def _lose(self, src: str, dst: str, *, label: str, size: int, why: LossReason, message: int) -> None:
        self._lost[why] = self._lost.get(why, 0) + 1
        self._trace.record(self._heap.now_ns, "lost", src, dst, label=label, why=why, size=size, message=message)

    def _blame_cuts(self, link: Link) -> None:
        for cause in link.causes:
            if cause in self._cuts:
                self._cuts[cause].lost += 1

    def _cut(self, name: str, edges: tuple[Edge, ...]) -> Cut:
        self._cuts_made += 1
        cut = Cut(f"{name}#{self._cuts_made}", edges, self._healed)
        self._cuts[cut.name] = cut
        for src, dst in edges:
            link = self.link(src, dst)
            assert link is not None, f"{src!r} -> {dst!r} is an edge of the topology"
            link.cut(cut.name)
            self._trace.record(self._heap.now_ns, "cut", src, dst, label=cut.name)
        return cut

    def _healed(self, cut: Cut) -> None:
        del self._cuts[cut.name]
        for src, dst in cut.links:
            link = self._links[src, dst]
            link.heal(cut.name)
            self._trace.record(self._heap.now_ns, "healed", src, dst, label=cut.name)
