from itertools import permutations

import networkx as nx
import pytest

from simulator.errors import BadTopologyError, UnknownMemberError
from simulator.world.link import Conditions
from simulator.world.topology import Topology, mesh, star


def test_a_star_links_leader_and_nodes_in_both_directions_and_no_two_nodes() -> None:
    topology = star("leader", ["n1", "n2"])
    assert topology.members == ("leader", "n1", "n2")
    assert topology.links == (("leader", "n1"), ("leader", "n2"), ("n1", "leader"), ("n2", "leader"))


def test_a_mesh_links_every_two_members_in_both_directions() -> None:
    topology = mesh(["c", "a", "b"])
    assert topology.members == ("c", "a", "b")
    assert topology.links == tuple(permutations(["c", "a", "b"], 2))


def test_links_between_two_groups_lead_one_way() -> None:
    topology = mesh(["a", "b", "c", "d"])
    assert topology.links_between(["b", "a"], ["c", "d"]) == (("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"))
    assert star("l", ["a", "b"]).links_between(["a"], ["b"]) == ()


def test_links_across_groups_lead_both_ways_and_leave_other_members_alone() -> None:
    topology = mesh(["a", "b", "c", "d"])
    assert topology.links_across([{"a"}, {"c"}]) == (("a", "c"), ("c", "a"))
    assert len(topology.links_across([["a"], ["b"], ["c"]])) == 6


def test_groups_come_out_in_the_order_of_the_topology_even_when_given_as_sets() -> None:
    topology = mesh([f"n{number}" for number in range(20)])
    assert topology.group(set(topology.members)) == topology.members
    assert topology.group(["n3", "n1", "n3"]) == ("n1", "n3")
    assert topology.rest({"n0", "n2"}) == ("n1", *topology.members[3:])


def test_a_member_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownMemberError, match="no member 'n9' in this topology; 2 are known: leader, n1"):
        star("leader", ["n1"]).group({"n9", "n1"})


def test_a_member_in_two_groups_is_refused() -> None:
    with pytest.raises(BadTopologyError, match="'b' is in two groups of 2"):
        mesh(["a", "b"]).groups([["a", "b"], ["b"]])


def test_a_member_named_twice_is_refused() -> None:
    with pytest.raises(BadTopologyError, match="named twice"):
        star("a", ["b", "a"])


def test_every_link_carries_its_weather() -> None:
    wet, dry = Conditions(loss=0.5), Conditions()
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edge("a", "b", conditions=wet)
    graph.add_edge("b", "a")
    topology = Topology(graph)
    assert topology.conditions("a", "b") == wet
    assert topology.conditions("b", "a") == dry
    assert topology.conditions("a", "c") is None
    assert mesh(["a", "b"], wet).conditions("b", "a") == wet


def test_a_graph_changed_afterwards_does_not_change_the_topology() -> None:
    graph: nx.DiGraph[str] = nx.DiGraph([("a", "b")])
    topology = Topology(graph)
    graph.add_edge("b", "c")
    assert topology.links == (("a", "b"),)


def test_a_graph_that_cannot_be_is_refused() -> None:
    loop: nx.DiGraph[str] = nx.DiGraph([("a", "a")])
    with pytest.raises(BadTopologyError, match="'a' is linked to itself"):
        Topology(loop)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edge("a", "b", conditions="fine")
    with pytest.raises(BadTopologyError, match="'a' -> 'b' are 'fine'"):
        Topology(graph)
