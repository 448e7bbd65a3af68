"""Simulator: a second world for the same members: virtual time, seeded weather, partitions, crashes, clocks.

Start at `Simulation`; the verbs say what happens. Names are imported when they are first used: the pytest plugin is
loaded by every pytest, and must not make that slow.
"""

TYPE_CHECKING = False  # as in `pivot`
if TYPE_CHECKING:
    from simulator.experiment.draw import draw
    from simulator.experiment.plan import Plan, Wire
    from simulator.experiment.simulation import Run, Simulation
    from simulator.experiment.verbs import (
        backup,
        bridge,
        burden,
        calm,
        confirm,
        corrupt,
        crash,
        cut_links,
        cut_one_way,
        delete,
        disk,
        drift,
        duplicate,
        fill_disk,
        flap,
        freeze,
        heal,
        hold,
        isolate,
        join,
        jump,
        lose,
        partition,
        pause,
        promote,
        push,
        read,
        release,
        reorder,
        replace,
        restart,
        restore,
        resume,
        ring,
        rolling_restart,
        rot,
        settle,
        skew,
        slow,
        smallest_cut,
        stop,
        swizzle,
        throttle,
        weather,
        wipe,
        write,
    )

__all__ = [
    "Plan",
    "Run",
    "Simulation",
    "Wire",
    "backup",
    "bridge",
    "burden",
    "calm",
    "confirm",
    "corrupt",
    "crash",
    "cut_links",
    "cut_one_way",
    "delete",
    "disk",
    "draw",
    "drift",
    "duplicate",
    "fill_disk",
    "flap",
    "freeze",
    "heal",
    "hold",
    "isolate",
    "join",
    "jump",
    "lose",
    "partition",
    "pause",
    "promote",
    "push",
    "read",
    "release",
    "reorder",
    "replace",
    "restart",
    "restore",
    "resume",
    "ring",
    "rolling_restart",
    "rot",
    "settle",
    "skew",
    "slow",
    "smallest_cut",
    "stop",
    "swizzle",
    "throttle",
    "weather",
    "wipe",
    "write",
]

_HOMES = {
    "Plan": "simulator.experiment.plan",
    "Run": "simulator.experiment.simulation",
    "Simulation": "simulator.experiment.simulation",
    "Wire": "simulator.experiment.plan",
    "draw": "simulator.experiment.draw",
}
"""Of the names that are no verbs."""


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "simulator.experiment.verbs")), name)
