"""Divergence curve: how far apart the members were, over time.

Layer: simulator/figures. Start at `divergence`; `measure` has the numbers.
"""

from typing import final

import msgspec

from pivot.core.entry import Entry
from simulator.experiment.simulation import Run
from simulator.experiment.timeline import Change, Timeline, apply
from simulator.figures.picture import Picture, need_trace, signature
from simulator.figures.plotting import Chart, chart, mark_time


@final
class Distance(msgspec.Struct, frozen=True):
    """How far apart the members that ran were, from a moment on.

    Attributes:
        at_s: since when, s.
        states: how many different states there were; 1 = all are equal.
        keys: how many keys they did not agree about.
        stale_s: for how long (s) the oldest of these disagreements had lasted by then.
    """

    at_s: float
    states: int
    keys: int
    stale_s: float


def divergence(run: Run) -> Picture:
    """Draw how many states there were, how many keys were in dispute, and for how long they had been.

    Raises:
        FigureError: the run kept no trace, or matplotlib is not installed.
    """
    return plot(run).picture


def plot(run: Run) -> Chart:
    """Likewise, with matplotlib's figure."""
    need_trace(run, "a divergence curve")
    found = measure(run)
    at = [distance.at_s for distance in found]
    with chart(signature(run), "How far apart the members were", height=4.6, rows=3) as drawn:
        states, keys, stale = drawn.axes
        for axes, values, label, colour in (
            (states, [d.states for d in found], "distinct\nstates", "#1f4e8c"),
            (keys, [d.keys for d in found], "keys in\ndisagreement", "#7a3e00"),
        ):
            axes.step(at, values, where="post", color=colour, lw=1.8)
            axes.fill_between(at, values, step="post", color=colour, alpha=0.15)
            axes.set_ylabel(label)
            axes.locator_params(axis="y", integer=True)
            axes.set_ylim(0, max([*values, 1]) * 1.35)
        stale.plot(at, [d.stale_s for d in found], color="#3d3d3d", lw=1.8)
        stale.fill_between(at, [d.stale_s for d in found], color="#3d3d3d", alpha=0.15)
        stale.set_ylabel("staleness, s")
        stale.set_ylim(bottom=0)
        for place, axes in enumerate(drawn.axes):
            mark_time(axes, run, named=place == 0)
            axes.label_outer()
    return drawn


def measure(run: Run) -> tuple[Distance, ...]:
    """The numbers: one before and one after each change, and one at the end."""
    timeline = Timeline.of(run.outcome, run.plan.members)
    known: dict[str, dict[str, Entry]] = {}  # of members that run
    since: dict[str, int] = {}  # key -> when the members began to disagree about it, ns
    starts = [Change(event.time_ns, event.member, "", None) for event in run.trace if event.kind == "started"]
    changes = [*((start, True) for start in starts), *((change, False) for change in timeline.changes)]
    found: list[Distance] = []
    for change, starts_now in sorted(changes, key=lambda each: each[0].at_ns):
        if known:
            found.append(_distance(change.at_ns, known, since))
        if starts_now:
            known.setdefault(change.member, {})
        elif change.key:
            apply(change, known)
        else:
            known.pop(change.member, None)
        found.append(_distance(change.at_ns, known, since))
    found.append(_distance(round(timeline.ended_s * 1e9), known, since))
    return tuple(found)


def _distance(at_ns: int, known: dict[str, dict[str, Entry]], since: dict[str, int]) -> Distance:
    """The numbers of a moment; brings up to date since when there is disagreement."""
    shown = [{key: e.version for key, e in table.items() if not e.deleted} for table in known.values()]
    different: list[dict[str, tuple[int, bool, int, str]]] = []
    for table in shown:
        if table not in different:
            different.append(table)
    keys = dict.fromkeys(key for table in different for key in table)
    disputed = [key for key in keys if any(table.get(key) != different[0].get(key) for table in different)]
    for key in [key for key in since if key not in disputed]:
        del since[key]
    for key in disputed:
        since.setdefault(key, at_ns)
    stale_ns = at_ns - min(since.values(), default=at_ns)
    return Distance(at_ns / 1e9, len(different), len(disputed), stale_ns / 1e9)
