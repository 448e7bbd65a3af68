"""Nodes that lose their leader read from each other, in the simulator as over HTTP."""

import pytest

from simulator import Run
from simulator.experiment.draw import NODES_KEY
from simulator.experiment.operations import Isolate, Operation, Read, Write
from simulator.experiment.plan import LEADER, Plan, Step
from simulator.experiment.settings import draw_links
from simulator.world.rng import Streams
from simulator.world.transport import registration

LOST_S, READ_S = 3.0, 14.0


def plan(*, nodes_key: str = NODES_KEY) -> Plan:
    """The leader is lost for 15 s; meanwhile n1 takes a write, which n2 is asked for in the end."""
    members = (LEADER, "n1", "n2")
    known = [Write(LEADER, f"things/{name}", registration(place)) for place, name in enumerate(members) if place]
    happens: list[tuple[float, Operation]] = [
        *((1.0, write) for write in known),
        (LOST_S, Isolate(LEADER, for_s=15.0)),
        (LOST_S + 1, Write("n1", "users/ann", 41)),
        (READ_S, Read("n2", "users/ann")),
    ]
    return Plan(
        seed=1,
        nodes=2,
        keys=("settings", "users/*") if nodes_key else ("settings", "users/*", NODES_KEY),
        nodes_key=nodes_key,
        links=draw_links(Streams(1), members, mesh=True, foul=False),
        steps=tuple(Step(at_s, operation) for at_s, operation in happens),
        safety_s=20.0,
    )


@pytest.mark.parametrize(("nodes_key", "seen"), [(NODES_KEY, 41), ("", None)])
def test_a_write_is_read_at_another_node_while_the_leader_is_away_if_nodes_know_each_other(
    nodes_key: str, seen: int | None
) -> None:
    run = Run.of(plan(nodes_key=nodes_key))
    assert run.verdict == "ok", run
    assert run.reads == (seen,)


def test_both_runtimes_play_it_alike() -> None:
    assert Run.of(plan(), runtime="trio").hash == Run.of(plan(), runtime="kernel").hash
