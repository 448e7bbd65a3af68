"""Parameter sweep: how long it took to become equal, depending on two numbers; median and 95th percentile.

Layer: simulator/figures. Start at `sweep`; `simulator.experiment.sweep` plays what it shows.
"""

from typing import Final

from simulator.experiment.sweep import Quantile, Sweep
from simulator.figures.picture import Picture, sign
from simulator.figures.plotting import SHADES, Chart, chart

_SHARES: Final = ((0.5, "median\ns after the faults"), (0.95, "95th percentile\ns after the faults"))
_MARKERS: Final = "osD^vPX*"
_DASHES: Final = ("-", "--", "-.", ":")


def sweep(played: Sweep) -> Picture:
    """Draw both quantiles, a line for each value of the second axis, with bands of 95 % confidence.

    Raises:
        FigureError: matplotlib is not installed.
    """
    return plot(played).picture


def plot(played: Sweep) -> Chart:
    """Likewise, with matplotlib's figure."""
    notes = [f"{len(played.seeds)} seeds, the same in every cell; bands: 95 % confidence"]
    drawn = [[Quantile.of(cell.known_s, share) for cell in played.cells if cell.known_s] for share, _ in _SHARES]
    if any(quantile.open for quantiles in drawn for quantile in quantiles):
        notes.append("where seeds are too few for an upper limit, it is the greatest time seen")
    if played.late:
        notes.append(f"{played.late} runs did not become equal in time and are left out")
    first, last = played.seeds[0], played.seeds[-1]
    with chart(
        sign(f"seeds {first} to {last}", played.hash),
        f"How long until all are equal, by {played.x.name} and {played.y.name}",
        height=5.6,
        below=1.3,
        rows=2,
        note="; ".join(notes),
    ) as c:
        for axes, (share, name) in zip(c.axes, _SHARES, strict=True):
            for place, value in enumerate(played.y.values):
                cells = [cell for cell in (played.cell(x, value) for x in played.x.values) if cell.known_s]
                at, found = [cell.x for cell in cells], [Quantile.of(cell.known_s, share) for cell in cells]
                colour = SHADES[place % len(SHADES)]
                axes.fill_between(at, [q.low_s for q in found], [q.high_s for q in found], color=colour, alpha=0.16,
                                  lw=0)  # fmt: skip
                for edge in ([q.low_s for q in found], [q.high_s for q in found]):
                    axes.plot(at, edge, color=colour, lw=0.7, ls=_DASHES[place % len(_DASHES)])
                axes.plot(
                    at, [q.value_s for q in found], color=colour, lw=1.9, ls=_DASHES[place % len(_DASHES)],
                    marker=_MARKERS[place % len(_MARKERS)], markeredgecolor="#1b1f24", markersize=6.5,
                    label=f"{value:g}",
                )  # fmt: skip
            axes.set_ylabel(name)
            axes.set_ylim(bottom=0)
            axes.set_xticks(played.x.values, labels=[f"{value:g}" for value in played.x.values])
            axes.label_outer()
        c.axes[-1].set_xlabel(played.x.name)
        c.axes[-1].legend(
            loc="lower center", bbox_to_anchor=(0.5, 0.05), bbox_transform=c.figure.transFigure, ncols=8, fontsize=8.5,
            title=played.y.name, title_fontsize=8.5,
        )  # fmt: skip
    return c
