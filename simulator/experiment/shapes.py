"""Shapes: graphs of networkx as networks of nodes: every node reaches its leader, and the graph says whom else.

Layer: simulator/experiment. Start at `around`, then `registrations`.
"""

from typing import TYPE_CHECKING, Any

from simulator.errors import BadTopologyError
from simulator.experiment.operations import Write
from simulator.experiment.plan import LEADER, Wire
from simulator.world.transport import registration

if TYPE_CHECKING:
    import networkx as nx

NODES_KEY = "things/*"


def around(graph: "nx.Graph[Any]") -> tuple[Wire, ...]:
    """Links for a plan: the leader and every node, and both ways along each edge; nodes are `n1`, ... in graph order.

    Raises:
        BadTopologyError: the graph is empty.
    """
    names = {node: f"n{place}" for place, node in enumerate(graph.nodes, 1)}
    if not names:
        raise BadTopologyError("a graph without nodes is no network")
    pairs = [pair for name in names.values() for pair in ((LEADER, name), (name, LEADER))]
    for one, other in graph.edges:
        if one != other:
            pairs += [(names[one], names[other]), (names[other], names[one])]
    return tuple(Wire(src, dst) for src, dst in dict.fromkeys(pairs))


def registrations(nodes: int) -> tuple[Write, ...]:
    """A client says at the leader where every node is, so that nodes read from each other while it is away."""
    return tuple(Write(LEADER, f"things/n{place}", registration(place)) for place in range(1, nodes + 1))
