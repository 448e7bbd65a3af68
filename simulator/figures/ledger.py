"""Write ledger as a picture: every acknowledged change, by time and member, and what became of it.

Layer: simulator/figures. Start at `ledger`.
"""

from typing import Final

from simulator.experiment.history import Fate
from simulator.experiment.simulation import Run
from simulator.figures.bars import cuts
from simulator.figures.picture import Picture, signature
from simulator.figures.plotting import Chart, chart, mark_time

_STYLES: Final[dict[Fate, tuple[str, str, str]]] = {
    "won": ("o", "#1f4e8c", "won: it is there at the end"),
    "superseded": ("v", "#e6b35c", "superseded by a later one, by rule"),
    "gone": ("s", "#b8bfc8", "gone with the only stores that held it"),
    "lost": ("X", "#c2181b", "lost, which is a bug"),
}
_LINKS_MAX: Final = 400
_NAMES_MAX: Final = 3


def ledger(run: Run) -> Picture:
    """Draw what became of every acknowledged change; a line leads from a superseded one to the one that is there.

    Raises:
        FigureError: matplotlib is not installed.
    """
    return plot(run).picture


def plot(run: Run) -> Chart:
    """Likewise, with matplotlib's figure."""
    members = run.plan.members
    at_s = {record.id: record.invoked_s for record in run.outcome.records}
    where = {record.id: members.index(record.member) for record in run.outcome.records}
    lines = [line for line in run.ledger if line.by]
    note = f"{_LINKS_MAX} of {len(lines)} lines to what superseded are drawn" if len(lines) > _LINKS_MAX else ""
    with chart(
        signature(run),
        "What became of every acknowledged change",
        height=2.1 + 0.3 * min(len(members), 30),
        left=1.0,
        below=1.15,
        note=note,
    ) as c:
        axes = c.axes[0]
        for line in lines[:_LINKS_MAX]:
            ends = ([at_s[line.id], at_s[line.by]], [where[line.id], where[line.by]])
            axes.plot(*ends, color="#667080", lw=0.8, alpha=0.7, zorder=2)
        for fate, (marker, colour, said) in _STYLES.items():
            these = [line for line in run.ledger if line.fate == fate]
            axes.scatter(
                [at_s[line.id] for line in these], [where[line.id] for line in these], marker=marker, c=colour,
                s=60, edgecolors="#1b1f24", linewidths=0.7, zorder=3, label=f"{len(these)} {said}",
            )  # fmt: skip
        if len(run.ledger) <= 30:
            names: dict[tuple[float, int], list[str]] = {}
            for line in run.ledger:
                names.setdefault((at_s[line.id], where[line.id]), []).append(f"#{line.id}")
            for place, ids in names.items():
                axes.annotate(_several(list(dict.fromkeys(ids))), place, xytext=(0, 7), fontsize=7.5, zorder=4,
                              textcoords="offset points", ha="center")  # fmt: skip
        axes.set_yticks(range(len(members)), labels=list(members))
        axes.set_ylim(len(members) - 0.4, -0.7)
        axes.set_ylabel("acknowledged by")
        mark_time(axes, run)
        moments = [*at_s.values(), *(bar.end_s for bar in cuts(run)), run.outcome.converged_s or 0.0, run.plan.safety_s]
        axes.set_xlim(0, 1.04 * max(moments))  # not the long wait of a run that never converged
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 0.02), bbox_transform=c.figure.transFigure, ncols=2, fontsize=8.5
        )
    return c


def _several(names: list[str]) -> str:
    """Names that have one place, as far as there is room."""
    return " ".join(names) if len(names) <= _NAMES_MAX else f"{names[0]} … {names[-1]}"
