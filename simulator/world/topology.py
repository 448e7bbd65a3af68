"""Topology: who can reach whom, and in what weather, as a networkx graph of directed links.

Layer: simulator/world. Start at `star` or `mesh`, which build one; `Topology.links_between` serves the verbs.

A topology does not change during a run: a late joiner is a member from the start who is attached later. Every order is
the order of insertion, so it is the same in every process.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, permutations
from typing import TYPE_CHECKING, Any, TypeAlias, final

import networkx as nx

from pivot.types import MemberId
from simulator.errors import BadTopologyError, UnknownMemberError
from simulator.world.link import Conditions

if TYPE_CHECKING:
    Graph: TypeAlias = nx.DiGraph[MemberId]  # generic only in the stubs

Edge: TypeAlias = tuple[MemberId, MemberId]
"""A directed link: (source, destination)."""

_CONDITIONS = "conditions"
_WEIGHT = "weight"


@final
class Topology:
    """A graph of members and directed links.

    Attributes:
        graph: the `networkx.DiGraph`; every edge carries its weather as the attribute `conditions`, and what it costs
            to cut it as `weight`. Read only.
        members: all members, in order of insertion.
    """

    __slots__ = ("_rank", "graph", "members")

    def __init__(self, graph: "nx.DiGraph[Any]") -> None:
        """Take a graph that somebody drew; an edge without `conditions` gets the default weather.

        Raises:
            BadTopologyError: a member is linked to itself.
        """
        self.graph: Graph = nx.DiGraph()
        self.graph.add_nodes_from(graph.nodes)
        for src, dst, attributes in graph.edges(data=True):
            if src == dst:
                raise BadTopologyError(f"member {src!r} is linked to itself")
            conditions = attributes.get(_CONDITIONS, Conditions())
            if not isinstance(conditions, Conditions):
                raise BadTopologyError(f"conditions of link {src!r} -> {dst!r} are {conditions!r}")
            self.graph.add_edge(src, dst, **{_CONDITIONS: conditions, _WEIGHT: attributes.get(_WEIGHT, 1.0)})
        self.members: tuple[MemberId, ...] = tuple(self.graph.nodes)
        self._rank = {member: rank for rank, member in enumerate(self.members)}

    @property
    def links(self) -> tuple[Edge, ...]:
        """All links, by source and then destination in order of insertion."""
        return tuple(self.graph.edges)

    def conditions(self, src: str, dst: str) -> Conditions | None:
        """Return the weather on the link from `src` to `dst`; None when there is no such link."""
        if not self.graph.has_edge(MemberId(src), MemberId(dst)):
            return None
        conditions: Conditions = self.graph.edges[MemberId(src), MemberId(dst)][_CONDITIONS]
        return conditions

    def group(self, members: Iterable[str]) -> tuple[MemberId, ...]:
        """Bring `members` (any iterable, also a set) into the order of the topology, each once.

        Raises:
            UnknownMemberError: one of them is not in this topology.
        """
        wanted = dict.fromkeys(MemberId(member) for member in members)
        unknown = sorted(member for member in wanted if member not in self._rank)
        if unknown:
            raise UnknownMemberError(unknown[0], self.members)
        return tuple(sorted(wanted, key=self._rank.__getitem__))

    def groups(self, groups: Iterable[Iterable[str]]) -> tuple[tuple[MemberId, ...], ...]:
        """Bring several groups into order, each like `group`.

        Raises:
            BadTopologyError: a member is in two of them.
            UnknownMemberError: one of them is not in this topology.
        """
        ordered = tuple(self.group(members) for members in groups)
        seen: dict[MemberId, None] = {}
        for member in (member for members in ordered for member in members):
            if member in seen:
                raise BadTopologyError(f"member {member!r} is in two groups of {len(ordered)}")
            seen[member] = None
        return ordered

    def rest(self, members: Iterable[str]) -> tuple[MemberId, ...]:
        """Return everybody but `members`."""
        without = self.group(members)
        return tuple(member for member in self.members if member not in without)

    def links_between(self, sources: Iterable[str], destinations: Iterable[str]) -> tuple[Edge, ...]:
        """Return all links from one of `sources` to one of `destinations`: one direction only."""
        return tuple(self._links_between(self.group(sources), self.group(destinations)))

    def links_across(self, groups: Sequence[Iterable[str]]) -> tuple[Edge, ...]:
        """Return all links, in both directions, that lead from one of these groups into another."""
        pairs = permutations(self.groups(groups), 2)
        return tuple(edge for sources, destinations in pairs for edge in self._links_between(sources, destinations))

    def links_off_ring(self, members: Sequence[str]) -> tuple[Edge, ...]:
        """Return all links among these members but those between neighbours, the last and the first being some, too."""
        ring = [MemberId(member) for member in members]
        self.group(ring)
        near = {frozenset((one, other)) for one, other in pairwise((*ring, *ring[:1]))}
        return tuple(edge for edge in self._links_between(ring, ring) if frozenset(edge) not in near)

    def smallest_cut(self, source: str, target: str, *, weighted: bool = False) -> tuple[Edge, ...]:
        """Return the fewest links, or those of the least total weight, without which `source` cannot reach `target`.

        Raises:
            UnknownMemberError: one of the two is not in this topology.
        """
        one, other = self.group([source])[0], self.group([target])[0]
        capacities = {edge: self.graph.edges[edge][_WEIGHT] if weighted else 1.0 for edge in self.graph.edges}
        graph: Graph = nx.DiGraph()
        graph.add_nodes_from(self.members)
        graph.add_edges_from((src, dst, {"capacity": capacity}) for (src, dst), capacity in capacities.items())
        _, (near, far) = nx.minimum_cut(graph, one, other)  # pyright: ignore[reportUnknownMemberType]
        return self.links_between(near, far)

    def _links_between(self, sources: Sequence[MemberId], destinations: Sequence[MemberId]) -> Iterator[Edge]:
        has_edge = self.graph.has_edge
        return ((src, dst) for src in sources for dst in destinations if has_edge(src, dst))


def star(leader: str, nodes: Sequence[str], conditions: Conditions | None = None) -> Topology:
    """Link `leader` and every node in both directions, and no node to another."""
    edges = [edge for node in nodes for edge in ((leader, node), (node, leader))]
    return _build([leader, *nodes], edges, conditions)


def mesh(members: Sequence[str], conditions: Conditions | None = None) -> Topology:
    """Link every two members in both directions."""
    return _build(members, permutations(members, 2), conditions)


def wired(
    members: Sequence[str], links: Iterable[tuple[str, str]], weather: Sequence[Conditions], weights: Sequence[float]
) -> Topology:
    """Link members as a list of links says, each with its weather and weight."""
    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(MemberId(member) for member in members)
    for (src, dst), conditions, weight in zip(links, weather, weights, strict=True):
        graph.add_edge(MemberId(src), MemberId(dst), **{_CONDITIONS: conditions, _WEIGHT: weight})
    return Topology(graph)


def _build(members: Sequence[str], edges: Iterable[tuple[str, str]], conditions: Conditions | None) -> Topology:
    if len(dict.fromkeys(members)) != len(members):
        raise BadTopologyError(f"a member is named twice among {len(members)}: {list(members)!r}")
    weather = conditions or Conditions()
    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(MemberId(member) for member in members)
    graph.add_edges_from((MemberId(src), MemberId(dst), {_CONDITIONS: weather}) for src, dst in edges)
    return Topology(graph)
