"""Fan-out: what a write costs and how long it travels, depending on how many nodes there are.

Layer: simulator/figures. Start at `fanout`; `simulator.experiment.fanout` measures.
"""

from collections.abc import Sequence
from hashlib import blake2b

from simulator.errors import FigureError
from simulator.experiment.fanout import Fanout
from simulator.figures.picture import Picture, sign
from simulator.figures.plotting import chart

_RULES = (
    ("messages", "messages\nper write", "#1f4e8c", "o"),
    ("idle", "messages/s\nwhen idle", "#8a5a00", "s"),
    ("last_s", "last node has it\nafter, s", "#2a6f4e", "D"),
)


def fanout(measured: Sequence[Fanout]) -> Picture:
    """Draw what was measured, and its numbers.

    Raises:
        FigureError: nothing was measured, or matplotlib is not installed.
    """
    if not measured:
        raise FigureError("nothing was measured: a fan-out needs at least one number of nodes")
    hashed = blake2b("".join(each.hash for each in measured).encode(), digest_size=16).hexdigest()
    at = [each.nodes for each in measured]
    with chart(sign("seed 0", hashed), "What one write at the leader costs", height=5.6, left=1.2, rows=3) as c:
        for axes, (name, label, colour, marker) in zip(c.axes, _RULES, strict=True):
            values = [float(getattr(each, name)) for each in measured]
            axes.plot(at, values, color=colour, marker=marker, markeredgecolor="#1b1f24", lw=1.8)
            for x, y in zip(at, values, strict=True):
                axes.annotate(f"{y:g}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
            axes.set_xscale("log")
            axes.set_xticks(at, labels=[f"{x:,}" for x in at])
            axes.minorticks_off()
            axes.set_ylabel(label)
            axes.set_ylim(0, 1.35 * max(values))
            axes.label_outer()
        c.axes[-1].set_xlabel("nodes")
    return c.picture
