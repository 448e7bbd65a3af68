"""Simulator: a second world for the same members: virtual time, seeded weather, partitions, crashes, clocks.

Start at `Simulation`; the verbs say what happens.
"""

from simulator.experiment.draw import draw
from simulator.experiment.operations import (
    confirm,
    crash,
    cut_one_way,
    delete,
    disk,
    heal,
    isolate,
    partition,
    pause,
    push,
    read,
    restart,
    resume,
    settle,
    skew,
    wipe,
    write,
)
from simulator.experiment.plan import Plan
from simulator.experiment.simulation import Run, Simulation

__all__ = [
    "Plan",
    "Run",
    "Simulation",
    "confirm",
    "crash",
    "cut_one_way",
    "delete",
    "disk",
    "draw",
    "heal",
    "isolate",
    "partition",
    "pause",
    "push",
    "read",
    "restart",
    "resume",
    "settle",
    "skew",
    "wipe",
    "write",
]
