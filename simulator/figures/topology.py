"""Topology at a moment: who could reach whom, which links were cut, who ran, and whose state was equal.

Layer: simulator/figures. Start at `topology`.
"""

from math import cos, pi, sin
from typing import Any, Final

import networkx as nx

from simulator.errors import FigureError
from simulator.experiment.simulation import Run
from simulator.experiment.timeline import Timeline
from simulator.experiment.world import same_versions
from simulator.figures.bars import cuts, outages
from simulator.figures.picture import Picture, need_trace, shorten, signature
from simulator.figures.plotting import HATCHES, Chart, chart

MEMBERS_MAX: Final = 200
_PALE: Final = ("#cfe0f5", "#f8d9ac", "#c4e8d4", "#f2c6d6", "#e3d8f4", "#f1e9a8", "#d8dde3")


def topology(run: Run, at_s: float) -> Picture:
    """Draw the graph of links at a time, s. Members of one colour (and letter) show the same state.

    Raises:
        FigureError: the run kept no trace, is too big or did not last that long, or matplotlib is not installed.
    """
    return plot(run, at_s).picture


def plot(run: Run, at_s: float) -> Chart:
    """Likewise, with matplotlib's figure."""
    need_trace(run, "a topology")
    if not 0 <= at_s <= run.outcome.ended_s:
        raise FigureError(f"the run lasts from 0 to {run.outcome.ended_s:g} s, there is no moment {at_s:g} s")
    if len(run.plan.members) > MEMBERS_MAX:
        raise FigureError(f"a topology of {len(run.plan.members)} members cannot be read, at most {MEMBERS_MAX} can")
    graph: nx.DiGraph[Any] = run.plan.topology().graph
    cut = dict.fromkeys(edge for bar in cuts(run) if bar.begin_s <= at_s < bar.end_s for edge in bar.links)
    down = {bar.member: bar.what for bar in outages(run) if bar.begin_s <= at_s < bar.end_s}
    tables = Timeline.of(run.outcome, run.plan.members).tables(at_s)
    groups: list[str] = []  # a member of each group of equal ones
    group_of: dict[str, int] = {}
    for member in run.plan.members:
        known = (place for place, other in enumerate(groups) if same_versions(tables[other], tables[member]))
        place = next(known, len(groups))
        if place == len(groups) and member not in down:
            groups.append(member)
        group_of[member] = place
    where = _places(run)
    size = max(260, 1500 - 25 * len(where))
    running = [m for m in run.plan.members if m not in down]
    equal = "all members that run are equal" if len(groups) == 1 else f"{len(groups)} different states"
    with chart(
        signature(run),
        f"At {at_s:g} s: {len(cut)} of {graph.number_of_edges()} links are cut, {equal}",
        height=4.4,
        left=0.2,
        below=0.3,
    ) as c:
        axes = c.axes[0]
        axes.set_aspect("equal")
        axes.set_axis_off()
        arrows: dict[str, Any] = {"ax": axes, "node_size": size, "connectionstyle": "arc3,rad=0.09", "arrowsize": 10}
        whole = [edge for edge in graph.edges if edge not in cut]
        nx.draw_networkx_edges(graph, where, edgelist=whole, edge_color="#3f5f86", width=1.4, **arrows)
        nx.draw_networkx_edges(
            graph, where, edgelist=list(cut), edge_color="#c2410c", style="dotted", width=1.8, **arrows
        )
        for member in run.plan.members:
            x, y = where[member]
            colour = "#ffffff" if member in down else _PALE[group_of[member] % len(_PALE)]
            style: dict[str, Any] = (
                {"linestyle": "--"} if member in down else {"hatch": HATCHES[group_of[member] // len(_PALE) % 8]}
            )
            axes.scatter([x], [y], s=size, c=colour, edgecolors="#1b1f24", zorder=3, **style)
            state = down.get(member) or f"state {chr(ord('A') + group_of[member] % 26)}"
            axes.annotate(f"{shorten(member, 12)}\n{state}", (x, y), ha="center", va="center", fontsize=8, zorder=4)
        axes.margins(0.16)
        axes.plot([], [], color="#3f5f86", label=f"{len(whole)} whole links")
        axes.plot([], [], color="#c2410c", ls=":", label=f"{len(cut)} cut links")
        axes.legend(loc="upper right", fontsize=8.5)
        assert len(running) + len(down) == len(where), "a member runs or does not"
    return c


def _places(run: Run) -> dict[str, tuple[float, float]]:
    """A place for everybody: the leader in the middle of a star, else all in a circle."""
    members = run.plan.members
    around = members[1:] if not run.plan.links else members
    places = {members[0]: (0.0, 0.0)}
    for number, member in enumerate(around):
        angle = pi / 2 - 2 * pi * (number + 0.5 * (len(around) == 2)) / len(around)
        places[member] = (1.9 * cos(angle), sin(angle))
    return places
