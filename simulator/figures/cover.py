"""Cover: the picture on top of the README: `python -m simulator.figures.cover notebooks/cover.svg` draws it.

Layer: simulator/figures. Start at `cover`.
"""

import sys

from simulator.experiment.simulation import Simulation
from simulator.experiment.verbs import crash, delete, duplicate, hold, isolate, lose, write
from simulator.figures.picture import Picture
from simulator.figures.spacetime import space_time


def cover() -> Picture:
    """A node is cut off, the leader crashes, links lose and hold messages; everybody goes on, and all end up equal."""
    run = (
        Simulation(nodes=3, seed=7)
        .at(0.5, write("leader", "settings", "light"), write("n3", "users/ann", {"age": 41}))
        .at(2.0, isolate("n1", for_s=4.5))
        .at(2.5, write("n1", "settings", "dark"))
        .at(3.0, write("leader", "settings", "blue"), delete("n1", "users/ann"))
        .at(4.0, lose(0.3, for_s=4.0), duplicate(0.4, for_s=4.0))
        .at(4.5, write("n2", "users/bob", {"age": 30}))
        .at(5.0, hold(["n3"], ["leader"], for_s=2.0), write("n3", "users/eve", {"age": 25}))
        .at(8.5, crash("leader", for_s=1.5), write("n2", "users/dan", {"age": 52}))
        .run(until=10, runtime="kernel")
    )
    return space_time(run, window=(0.0, 14.0))


if __name__ == "__main__":
    cover().save(sys.argv[1])
