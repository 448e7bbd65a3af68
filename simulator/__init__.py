"""Simulator: a second world for the same members: virtual time, seeded weather, partitions, crashes, clocks.

Start at `Simulation`; the verbs say what happens.
"""

from simulator.experiment.draw import draw
from simulator.experiment.plan import (
    Plan,
    crash,
    cut_one_way,
    delete,
    heal,
    isolate,
    partition,
    push,
    restart,
    settle,
    skew,
    write,
)
from simulator.experiment.simulation import Run, Simulation

__all__ = [
    "Plan",
    "Run",
    "Simulation",
    "crash",
    "cut_one_way",
    "delete",
    "draw",
    "heal",
    "isolate",
    "partition",
    "push",
    "restart",
    "settle",
    "skew",
    "write",
]
