"""The network: carries bytes between attached members, as well as the links and cuts of the moment allow.

Layer: simulator/world (Trio-free). Start at `Network.send`, then `Network._arrive`.

A link is asked twice: when a message is sent (lost? how late?) and when it arrives (cut meanwhile?). A message is for
the incarnation that was attached when it was sent: one that was down by then, or has restarted since, never sees it.
Every copy ends exactly once, as delivered or as lost for a named reason:
`sent + duplicated = delivered + sum(lost) + in_flight`. What a link holds is in flight.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import TypeAlias, final

import msgspec
from msgspec.structs import replace

from simulator.errors import UnknownMemberError
from simulator.world.cut import Change, Cut, Difference
from simulator.world.heap import EventHeap
from simulator.world.link import Conditions, Dropped, Fate, How, Link
from simulator.world.rng import Streams
from simulator.world.topology import Edge, Topology
from simulator.world.trace import LossReason, Trace

Receive: TypeAlias = Callable[[bytes, str], None]
"""Takes a payload and its sender; runs inside an event of the heap, so it must only hand over."""
LinkLost: TypeAlias = Callable[[str, str], None]
"""Takes a peer whose connection was reset, and why; likewise."""

IN_FLIGHT_MAX = 100_000


@final
class NetworkStatistics(msgspec.Struct, frozen=True):
    """What the network did.

    Attributes:
        sent: messages handed over by members.
        duplicated: copies made on top of them.
        corrupted: copies whose content was changed.
        held: copies that waited until their link was released.
        delivered: copies that reached their target.
        lost: copies that did not, by reason.
        in_flight: copies under way.
        in_flight_peak: most copies that ever were under way.
    """

    sent: int
    duplicated: int
    corrupted: int
    held: int
    delivered: int
    lost: dict[str, int]
    in_flight: int
    in_flight_peak: int


@final
class Flight(msgspec.Struct, frozen=True, gc=False):
    """One copy under way."""

    link: Link
    payload: bytes
    label: str
    incarnation: int
    message: int
    connection: int


@final
class _Presence(msgspec.Struct, frozen=True):
    """One attached incarnation of a member; numbers are never used twice."""

    incarnation: int
    receive: Receive
    link_lost: LinkLost | None


@final
class Network:
    """All links of a topology, and who is attached to them.

    Attributes:
        topology: the links there are.
        sent_by_label: kind of message -> how many were handed over.
        stopped_by_label: kind of message -> how many were lost on a link that was cut.
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
        self._changes: dict[str, Change] = {}
        self._fair: dict[tuple[str, str], Conditions] = {}  # as it is without changes
        self._held: list[Flight] = []
        self._incarnations = 0
        self._causes = 0
        self._sent = self._duplicated = self._corrupted = self._held_ever = self._delivered = self._in_flight = (
            self._in_flight_peak
        ) = 0
        self._lost: dict[str, int] = {}
        self.sent_by_label: dict[str, int] = {}
        self.stopped_by_label: dict[str, int] = {}

    def attach(self, member: str, receive: Receive, link_lost: LinkLost | None = None) -> int:
        """Let `member` send and receive, as a new incarnation; returns its number.

        Args:
            member: who.
            receive: takes what arrives.
            link_lost: hears of connections that were reset; None = nobody does.

        Raises:
            UnknownMemberError: the topology has no such member.
        """
        if member not in self.topology.graph:
            raise UnknownMemberError(member, self.topology.members)
        self._incarnations += 1
        self._present[member] = _Presence(self._incarnations, receive, link_lost)
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
        fate = link.fate(now_ns, size)
        if self._changes:
            self._note_changes(link, fate)
        target = self._present.get(dst)
        if src not in self._present:
            self._lose(src, dst, label=label, size=size, why="sender down", message=message)
        elif isinstance(fate, Dropped):
            if fate.why in ("cut", "reset"):
                self._blame_cuts(link, label)
            if fate.why == "reset":
                self._heap.call_soon(partial(self._tell_lost, src, dst))
            self._lose(src, dst, label=label, size=size, why=fate.why, message=message)
        elif target is None:
            self._lose(src, dst, label=label, size=size, why="down", message=message)
        else:
            flight = Flight(link, payload, label, target.incarnation, message, link.connection)
            if fate.corrupted is None:
                self._launch(flight, fate.at_ns)
            else:
                self._corrupted += 1
                self._trace.record(now_ns, "corrupted", src, dst, label=label, size=size, message=message)
                self._launch(replace(flight, payload=corrupt(payload, fate.corrupted)), fate.at_ns)
            for at_ns in fate.copies_at_ns:
                self._duplicated += 1
                self._trace.record(now_ns, "duplicated", src, dst, label=label, size=size, message=message)
                self._launch(flight, at_ns)

    def cut(self, links: Iterable[Edge], name: str = "cut", how: How = "drop") -> Cut:
        """Cut these links of the topology."""
        return self._cut(name, tuple(links), how)

    def partition(self, groups: Sequence[Iterable[str]], name: str = "partition", how: How = "drop") -> Cut:
        """Cut all links between different groups, both directions; who is in no group keeps all links."""
        return self._cut(name, self.topology.links_across(groups), how)

    def isolate(self, member: str, name: str = "isolate", how: How = "drop") -> Cut:
        """Cut all links of `member`, both directions."""
        return self._cut(name, self.topology.links_across([[member], self.topology.rest([member])]), how)

    def cut_one_way(
        self, sources: Iterable[str], destinations: Iterable[str], name: str = "one-way", how: How = "drop"
    ) -> Cut:
        """Cut the links from `sources` to `destinations`; the way back stays as it is."""
        return self._cut(name, self.topology.links_between(sources, destinations), how)

    def heal(self, how: How | None = None) -> None:
        """End all cuts, or all that do this to messages."""
        for cut in tuple(self._cuts.values()):
            if how in (None, cut.how):
                cut.heal()

    def change(self, links: Iterable[Edge], difference: Difference, name: str = "weather") -> Change:
        """Let these links of the topology have other weather until that ends."""
        self._causes += 1
        change = Change(f"{name}#{self._causes}", tuple(links), difference, self._changed_back)
        self._changes[change.name] = change
        self._rain(change.links)
        return change

    def end_changes(self) -> None:
        """Let all links have the weather of their topology."""
        for change in tuple(self._changes.values()):
            change.end()

    def calm(self) -> None:
        """From now on no link loses, repeats or changes a message or is narrow; latencies stay as they are."""
        self.end_changes()
        for src, dst in self.topology.links:
            link = self.link(src, dst)
            assert link is not None, "it is in the topology"
            link.conditions = Conditions(latency=link.conditions.latency, correlation=link.conditions.correlation)

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The cuts that are not healed, oldest first."""
        return tuple(self._cuts.values())

    def statistics(self) -> NetworkStatistics:
        """Return what the network did so far."""
        lost = {why: self._lost[why] for why in sorted(self._lost)}
        return NetworkStatistics(
            self._sent,
            self._duplicated,
            self._corrupted,
            self._held_ever,
            self._delivered,
            lost,
            self._in_flight,
            self._in_flight_peak,
        )

    def links(self) -> tuple[Link, ...]:
        """The links that were used so far, in the order of their first use."""
        return tuple(self._links.values())

    def arrival(self, call: Callable[[], None]) -> Flight | None:
        """The copy whose arrival a scheduled call is; None when it is something else."""
        return call.args[0] if isinstance(call, partial) and call.func == self._arrive else None

    def lose(self, flight: Flight) -> None:
        """Lose a copy whose arrival was taken off the heap."""
        link, size = flight.link, len(flight.payload)
        self._in_flight -= 1
        link.leave(flight.label)
        self._lose(link.src, link.dst, label=flight.label, size=size, why="loss", message=flight.message)

    def repeat(self, flight: Flight, at_ns: int) -> None:
        """Let one more copy of a message arrive."""
        link, size = flight.link, len(flight.payload)
        self._duplicated += 1
        self._trace.record(
            self._heap.now_ns, "duplicated", link.src, link.dst, label=flight.label, size=size, message=flight.message
        )
        self._launch(flight, at_ns)

    def _launch(self, flight: Flight, at_ns: int) -> None:
        if self._in_flight >= self._in_flight_max:
            link = flight.link
            size, message = len(flight.payload), flight.message
            self._lose(link.src, link.dst, label=flight.label, size=size, why="overflow", message=message)
            return
        self._in_flight += 1
        self._in_flight_peak = max(self._in_flight_peak, self._in_flight)
        flight.link.enter(flight.label)
        self._heap.post_at(at_ns, partial(self._arrive, flight))

    def _arrive(self, flight: Flight) -> None:
        link = flight.link
        src, dst = link.src, link.dst
        label, message, size = flight.label, flight.message, len(flight.payload)
        how = link.how
        if how == "hold" and flight.connection == link.connection:
            self._hold(flight)
            return
        self._in_flight -= 1
        link.leave(label)
        target = self._present.get(dst)
        if how is not None:
            self._blame_cuts(link, label)
            self._lose(src, dst, label=label, size=size, why="reset" if how == "reset" else "cut", message=message)
        elif flight.connection != link.connection:
            self._lose(src, dst, label=label, size=size, why="reset", message=message)
        elif target is None or target.incarnation != flight.incarnation:
            self._lose(src, dst, label=label, size=size, why="down", message=message)
        else:
            self._delivered += 1
            self._trace.record(self._heap.now_ns, "delivered", src, dst, label=label, size=size, message=message)
            target.receive(flight.payload, src)

    def _hold(self, flight: Flight) -> None:
        link = flight.link
        self._held_ever += 1
        self._held.append(flight)
        for cause in link.causes:
            if cause in self._cuts:
                self._cuts[cause].held += 1
        size = len(flight.payload)
        self._trace.record(
            self._heap.now_ns, "held", link.src, link.dst, label=flight.label, size=size, message=flight.message
        )

    def _release(self) -> None:
        """Let what waits on links that are whole again arrive, in the order in which it was sent."""
        ready = [flight for flight in self._held if not flight.link.is_cut]
        self._held = [flight for flight in self._held if flight.link.is_cut]
        for flight in sorted(ready, key=attrgetter("message")):
            self._heap.call_soon(partial(self._arrive, flight))

    def _lose(self, src: str, dst: str, *, label: str, size: int, why: LossReason, message: int) -> None:
        self._lost[why] = self._lost.get(why, 0) + 1
        self._trace.record(self._heap.now_ns, "lost", src, dst, label=label, why=why, size=size, message=message)

    def _blame_cuts(self, link: Link, label: str) -> None:
        self.stopped_by_label[label] = self.stopped_by_label.get(label, 0) + 1
        for cause in link.causes:
            if cause in self._cuts:
                self._cuts[cause].lost += 1

    def _note_changes(self, link: Link, fate: Fate) -> None:
        for change in self._changes.values():
            change.touched += (link.src, link.dst) in change.links and change.difference.touches(fate)

    def _cut(self, name: str, edges: tuple[Edge, ...], how: How) -> Cut:
        self._causes += 1
        cut = Cut(f"{name}#{self._causes}", edges, self._healed, how)
        self._cuts[cut.name] = cut
        for src, dst in edges:
            link = self.link(src, dst)
            assert link is not None, f"{src!r} -> {dst!r} is an edge of the topology"
            link.cut(cut.name, how)
            self._trace.record(self._heap.now_ns, "cut", src, dst, label=cut.name)
            if how == "reset":
                self._heap.call_soon(partial(self._tell_lost, src, dst))
                self._heap.call_soon(partial(self._tell_lost, dst, src))
        return cut

    def _healed(self, cut: Cut) -> None:
        del self._cuts[cut.name]
        for src, dst in cut.links:
            link = self._links[src, dst]
            link.heal(cut.name)
            self._trace.record(self._heap.now_ns, "healed", src, dst, label=cut.name)
        self._release()

    def _tell_lost(self, member: str, peer: str) -> None:
        presence = self._present.get(member)
        if presence is not None and presence.link_lost is not None:
            presence.link_lost(peer, "connection reset")

    def _changed_back(self, change: Change) -> None:
        del self._changes[change.name]
        self._rain(change.links)

    def _rain(self, links: Iterable[Edge]) -> None:
        """Let links have the weather of their topology with all changes that there are."""
        for src, dst in links:
            link = self.link(src, dst)
            assert link is not None, f"{src!r} -> {dst!r} is an edge of the topology"
            conditions = self._fair.setdefault((src, dst), link.conditions)
            for change in self._changes.values():
                if (src, dst) in change.links:
                    conditions = change.difference.on(conditions)
            link.conditions = conditions


def corrupt(payload: bytes, place: float) -> bytes:
    """A message with one bit of one byte flipped, at `place` in [0, 1).

    It is the highest bit: UTF-8 never permits that, so a codec of text cannot miss it. (Other bits are what the
    checksums of TCP and TLS are for; they lose the message.)
    """
    number = int(place * len(payload))
    return payload[:number] + bytes([payload[number] ^ 0x80]) + payload[number + 1 :] if payload else payload
