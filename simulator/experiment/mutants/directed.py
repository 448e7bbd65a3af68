"""Directed: plans for mutants that drawn plans seldom kill; each does just what makes the difference.

Layer: simulator/experiment/mutants.
"""

from typing import Final

from msgspec.structs import replace

from pivot.config import Knobs
from simulator.experiment.plan import Plan
from simulator.experiment.simulation import Simulation
from simulator.experiment.verbs import (
    confirm,
    crash,
    cut_one_way,
    delete,
    disk,
    duplicate,
    heal,
    isolate,
    read,
    reorder,
    restart,
    skew,
    slow,
    wipe,
    write,
)
from simulator.world.latency import ConstantLatency
from simulator.world.link import Conditions

LIVENESS_S: Final = 40.0
COLLECTING: Final = Knobs(page_rows=2, collect_s=1.0, member_ttl_s=5.0)
"""Small pages, and tombstones that end soon."""


def one_write() -> Plan:
    """Somebody writes, over links that are slow, so that an echo takes its time."""
    simulation = Simulation(
        nodes=1, seed=1, knobs=Knobs(retry_s_max=1.0), weather=Conditions(latency=ConstantLatency(base_s=0.2))
    )
    return replace(simulation.at(0.5, write("n1", "settings", 1)).plan(until=1.0), liveness_s=20.0)


def a_write_and_a_crash() -> Plan:
    """A node that is cut off answers a writer, and crashes with nothing else to commit."""
    simulation = Simulation(nodes=1, seed=1, durability="full")
    simulation.at(0.5, isolate("n1")).at(15.0, write("n1", "settings", 1))
    simulation.at(15.1, crash("n1")).at(16.0, restart("n1"), heal()).at(16.5, read("n1", "settings"))
    return _plan(simulation, until=17.0)


def the_first_page_meets_what_is_not_offered() -> Plan:
    """A node's write is lost on its way while the leader's first page arrives."""
    simulation = Simulation(nodes=1, seed=1)
    simulation.at(1.0, cut_one_way(("n1",), ("leader",), for_s=3.0)).at(1.1, write("n1", "users/b", 1))
    simulation.at(1.5, write("leader", "users/a", 1))
    return _plan(simulation, until=5.0)


def a_leader_loses_its_last_commits_and_goes_on() -> Plan:
    """What a node has read is lost at the leader, and its numbers are given again."""
    simulation = Simulation(nodes=1, seed=1, durability="normal")
    for number in range(5):
        simulation.at(1.0 + number / 10, write("leader", f"users/{number}", 1))
    simulation.at(3.0, crash("leader")).at(3.5, restart("leader"))
    for number in range(5, 9):
        simulation.at(3.6 + number / 100, write("leader", f"users/{number}", 1))
    return _plan(simulation, until=5.0)


def an_answer_arrives_after_another_write() -> Plan:
    """A node writes, and again while the answer to its first push is on its way and the second push is lost."""
    simulation = Simulation(nodes=1, seed=1, weather=Conditions(latency=ConstantLatency(base_s=0.1)))
    simulation.at(1.0, write("n1", "users/a", 1))
    simulation.at(1.15, cut_one_way(("n1",), ("leader",), for_s=0.3), write("n1", "users/a", 2))
    simulation.at(1.16, write("n1", "users/b", 1))
    return _plan(simulation, until=14.0)


def a_node_forgets_what_it_wrote(seed: int = 1) -> Plan:
    """A node writes, is confirmed, and loses its last commits."""
    simulation = Simulation(nodes=1, seed=seed, durability="normal")
    simulation.at(1.0, write("leader", "users/a", 1)).at(2.0, write("n1", "users/b", 1))
    simulation.at(3.0, crash("n1")).at(3.5, restart("n1"))
    return _plan(simulation, until=6.0)


def a_node_is_away_while_tombstones_are_collected() -> Plan:
    """It comes back below the floor, reads everything again, and others write meanwhile."""
    return _plan(_collecting(), until=16.0)


def pages_of_two_readings_are_mixed() -> Plan:
    """A node reads everything again, its pages overtake each other, and what it has not read yet moves on."""
    knobs = replace(COLLECTING, retry_s_min=0.3, retry_s_max=0.5)
    weather = Conditions(latency=ConstantLatency(base_s=0.05))
    simulation = Simulation(nodes=2, seed=231, durability="full", knobs=knobs, weather=weather).at(
        0.5, confirm("leader")
    )
    for number in range(12):
        simulation.at(0.6 + number / 100, write("leader", f"users/{number}", 1))
    simulation.at(2.0, isolate("n2", for_s=10.0)).at(3.0, delete("leader", "users/1"), delete("leader", "users/6"))
    simulation.at(11.5, reorder(0.4, ("leader",), ("n2",), by_s=0.25, for_s=6.0))
    simulation.at(11.5, duplicate(0.3, ("leader",), ("n2",), later_s=0.125, for_s=6.0))
    for number in range(60):
        simulation.at(12.0 + number / 12, write("leader", f"users/{number * 7 % 12}", number))
    for number in range(30):
        simulation.at(16.3 + number / 100, read("n2", "users/2"))
    return _plan(simulation, until=18.0)


def an_answer_arrives_after_another_life_began() -> Plan:
    """A leader confirms a write and loses it; what it said arrives while the write cannot be offered again."""
    simulation = Simulation(nodes=1, seed=1, weather=Conditions(latency=ConstantLatency(base_s=0.05)))
    simulation.at(0.98, slow(ConstantLatency(base_s=5.0), ("leader",), ("n1",), for_s=0.25))
    simulation.at(1.0, write("n1", "users/a", 1)).at(1.24, wipe("leader")).at(1.3, restart("leader"))
    simulation.at(3.14, cut_one_way(("n1",), ("leader",), for_s=4.0))  # what answers the first greeting got through
    return _plan(simulation, until=9.0)


def a_push_arrives_twice_while_a_disk_fails() -> Plan:
    """Both copies wait for the same commit, and that one fails."""
    simulation = Simulation(
        nodes=1, seed=1, durability="full", weather=Conditions(latency=ConstantLatency(base_s=0.02))
    )
    simulation.at(0.9, duplicate(1.0, ("n1",), ("leader",), later_s=0.05, for_s=0.5))
    simulation.at(0.95, disk("leader", slow_s=0.2, fail=1.0, for_s=0.5)).at(0.97, write("leader", "users/b", 1))
    return _plan(simulation.at(1.0, write("n1", "users/a", 1)), until=5.0)


def a_leader_restarts_after_it_has_collected() -> Plan:
    """A node comes back below a floor that an earlier life of its leader set."""
    return _plan(_collecting().at(10.5, crash("leader")).at(11.0, restart("leader")), until=16.0)


def a_clock_was_ahead_when_a_deletion_was_made() -> Plan:
    """The deletion is collected, its clock is right again, its process starts anew, and the key is written again."""
    simulation = Simulation(nodes=1, seed=1, durability="full", knobs=COLLECTING)
    simulation.at(0.5, confirm("leader"), skew("leader", 20.0, for_s=1.5)).at(0.8, write("leader", "users/a", 1))
    simulation.at(1.5, delete("leader", "users/a")).at(6.0, crash("leader")).at(6.5, restart("leader"))
    simulation.at(8.0, write("leader", "users/a", 2))
    return _plan(simulation, until=10.0)


def a_leader_is_read_while_writes_wait_for_its_disk() -> Plan:
    """Its disk is slow, so that writes and the reads of nodes that come back wait together."""
    simulation = Simulation(nodes=2, seed=1, durability="full").at(0.5, disk("leader", slow_s=0.1, for_s=8.0))
    for number in range(200):
        simulation.at(1.0 + number / 33, write("leader", f"users/{number % 50}", number))
    for number in range(6):
        simulation.at(1.5 + number, crash("n1")).at(1.7 + number, restart("n1"))
    return _plan(simulation, until=9.0)


def a_node_is_read_while_its_disk_fails() -> Plan:
    """Reads wait together with writes whose commits fail."""
    simulation = Simulation(nodes=1, seed=1, durability="full")
    simulation.at(0.5, disk("n1", slow_s=0.1, fail=0.5, for_s=20.0))
    for number in range(20):
        simulation.at(1.0 + number, write("n1", "users/a", number), write("n1", "settings", number))
        simulation.at(1.01 + number, read("n1", "settings"))
        simulation.at(1.5 + number, read("n1", "settings"))
    return _plan(simulation, until=22.0)


def _collecting() -> Simulation:
    simulation = Simulation(nodes=2, seed=1, durability="full", knobs=COLLECTING).at(0.5, confirm("leader"))
    for number in range(8):
        simulation.at(0.6 + number / 100, write("leader", f"users/{number}", 1))
    simulation.at(2.0, isolate("n2", for_s=12.0)).at(3.0, delete("leader", "users/1"), delete("leader", "users/6"))
    simulation.at(3.5, write("n2", "users/mine", 1))
    for number in range(40):
        simulation.at(13.9 + number / 20, write("leader", f"users/{number % 8 + 10}", number))
    return simulation


def _plan(simulation: Simulation, until: float) -> Plan:
    return replace(simulation.plan(until=until), liveness_s=LIVENESS_S)
