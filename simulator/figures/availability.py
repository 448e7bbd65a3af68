"""Availability ribbon: for each client, what it asked and whether it was answered, over time.

Layer: simulator/figures. Start at `availability`.
"""

from typing import Final

from simulator.experiment.simulation import Run
from simulator.figures.bars import outages
from simulator.figures.picture import Picture, need_trace, shorten, signature
from simulator.figures.plotting import Chart, chart, mark_time

CLIENTS_MAX: Final = 60
_STYLES: Final = {
    "ok": ("|", "#1f4e8c", "answered"),
    "fail": ("X", "#c2181b", "refused: certainly not done"),
    "info": ("o", "#f2c14e", "no answer: unknown"),
}


def availability(run: Run) -> Picture:
    """Draw each client's operations, and when the member that it asks did not run.

    Raises:
        FigureError: the run kept no trace, or matplotlib is not installed.
    """
    return plot(run).picture


def plot(run: Run) -> Chart:
    """Likewise, with matplotlib's figure."""
    need_trace(run, "an availability ribbon")
    records = run.outcome.records
    every = list(dict.fromkeys((record.client or record.member, record.member) for record in records))
    clients = sorted(every, key=lambda each: (run.plan.members.index(each[1]), each[0]))[:CLIENTS_MAX]
    note = f"{len(clients)} of {len(every)} clients" if len(clients) < len(every) else ""
    with chart(
        signature(run),
        "Who was answered, and when",
        height=1.9 + 0.32 * max(len(clients), 1),
        left=1.9,
        below=1.0,
        note=note,
    ) as c:
        axes = c.axes[0]
        axes.barh(range(len(clients)), run.outcome.ended_s, height=0.6, color="#eef2f6", zorder=0.5)
        for bar in outages(run):
            for place in [place for place, (_, member) in enumerate(clients) if member == bar.member]:
                axes.barh(place, bar.end_s - bar.begin_s, left=bar.begin_s, height=0.6, color="#c5ccd4", hatch="//",
                          edgecolor="#667080", lw=0.4, zorder=0.8)  # fmt: skip
        places = {client: place for place, client in enumerate(clients)}
        for outcome, (marker, colour, said) in _STYLES.items():
            these = [r for r in records if r.outcome == outcome and (r.client or r.member, r.member) in places]
            axes.scatter(
                [r.invoked_s for r in these], [places[r.client or r.member, r.member] for r in these], marker=marker,
                c=colour, s=110 if marker == "|" else 55, linewidths=2 if marker == "|" else 0.7,
                edgecolors=None if marker == "|" else "#1b1f24", zorder=3, label=f"{len(these)} {said}",
            )  # fmt: skip
        names = [shorten(f"client of {who}" if who == asked else f"{who} at {asked}", 28) for who, asked in clients]
        axes.set_yticks(range(len(clients)), labels=names)
        axes.set_ylim(len(clients) - 0.4, -0.6)
        axes.set_ylabel("client")
        mark_time(axes, run)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 0.02), bbox_transform=c.figure.transFigure, ncols=3, fontsize=8.5
        )
    return c
