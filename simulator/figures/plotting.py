"""Plotting: matplotlib as all charts use it: without a display, the same bytes each time, signed, readable in grey.

Layer: simulator/figures. Start at `chart`. matplotlib is in the extra `notebook`; it is imported when a chart is drawn.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, final

from simulator.errors import FigureError
from simulator.experiment.simulation import Run
from simulator.figures.bars import cuts
from simulator.figures.picture import INK, MUTED, PANEL, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

WIDTH_IN: Final = 9.6
"""What a notebook shows, inches."""
SHADES: Final = ("#1f4e8c", "#f2b15c", "#2a6f4e", "#bfe3f2", "#8a2c5a", "#d9c441", "#4a4f56", "#c9b8ea")
HATCHES: Final = ("", "//", "..", "\\\\", "xx", "--", "oo", "++")
"""Colours, dark and light in turn so that grey tells neighbours apart, and patterns for when they begin again."""
_LETTERS: Final = 150
"""What fits into a line at the bottom."""
_RC: "dict[RcKeyType, Any]" = {
    "svg.hashsalt": "pivot",  # ids in the text are the same in each process
    "svg.fonttype": "none",  # text stays text
    "font.size": 9.5,
    "font.family": "sans-serif",
    "text.parse_math": False,  # a key may hold a dollar sign
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
}


@final
@dataclass(slots=True)
class Chart:
    """A chart that is being drawn.

    Attributes:
        figure: all of it.
        axes: its parts, from top to bottom.
        picture: what came of it, once the block is over.
    """

    figure: "Figure"
    axes: "list[Axes]"
    picture: Picture = field(default_factory=lambda: Picture(""))


@contextmanager
def chart(
    signed: str, title: str, *, height: float, left: float = 0.9, below: float = 0.66, rows: int = 1, note: str = ""
) -> Generator[Chart, None, None]:
    """Draw in the block; afterwards the chart has its picture.

    Args:
        signed: what is in the corner; see `signature`.
        title: what it shows.
        height: inches; the width is `WIDTH_IN`. No layout engine: the solver behind `constrained` orders its variables
            by memory address, so that places differ in their last bits, and with them the ids of clip paths.
        left: room for labels, inches.
        below: room for labels and a legend, inches.
        rows: how many parts lie above each other, with one time axis.
        note: what the picture leaves out.

    Raises:
        FigureError: matplotlib is not installed.
    """
    try:
        # Needed for charts alone, and slow.
        from matplotlib import (  # noqa: PLC0415
            rc_context,  # pyright: ignore[reportUnknownVariableType]
            rcdefaults,
            rcParams,
        )
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise FigureError("charts need matplotlib: pip install 'pivot-trio[notebook]'") from None
    with rc_context():
        rcdefaults()  # whatever styles a notebook or a matplotlibrc has chosen
        rcParams.update(_RC)
        figure = Figure(figsize=(WIDTH_IN, height), facecolor=PANEL)
        figure.subplots_adjust(
            left=left / WIDTH_IN, right=1 - 0.2 / WIDTH_IN, bottom=below / height, top=1 - 0.36 / height, hspace=0.14
        )
        axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
        axes[0].set_title(title)
        drawn = Chart(figure, axes)
        yield drawn
        figure.text(0.995, 0.004, signed, ha="right", va="bottom", color=MUTED, fontsize=8)
        if note:
            beside = 0.16 / height if len(note) + len(signed) > _LETTERS else 0.0
            figure.text(0.005, 0.004 + beside, note, ha="left", va="bottom", color=MUTED, fontsize=8)
        text = StringIO()
        figure.savefig(text, format="svg", facecolor=PANEL, metadata={"Date": None, "Creator": None})
        drawn.picture = Picture(text.getvalue())


def mark_time(axes: "Axes", run: Run, *, named: bool = True) -> None:
    """Shade cuts behind a chart over time, and mark when they began, when they healed and when all was equal."""
    axes.set_xlim(0, run.outcome.ended_s)
    axes.set_xlabel("virtual time, s")
    trace_of_cuts = cuts(run)
    for bar in trace_of_cuts:
        axes.axvspan(bar.begin_s, bar.end_s, color="#f59e0b", alpha=0.13, lw=0, zorder=0)
    moments = [(at_s, what) for bar in trace_of_cuts for at_s, what in ((bar.begin_s, "cut"), (bar.end_s, "heal"))]
    if run.outcome.converged_s is not None:
        moments.append((run.outcome.converged_s, "converged"))
    for at_s, what in dict.fromkeys(moments):
        style = {"cut": ":", "heal": "--", "converged": "-"}[what]
        axes.axvline(at_s, color="#15803d" if what == "converged" else "#8a5a00", ls=style, lw=1.1, zorder=1)
        if named:
            axes.annotate(
                f"{what} {at_s:.1f}", (at_s, 1), xycoords=("data", "axes fraction"), fontsize=7.5, color=MUTED,
                xytext=(2, -1), textcoords="offset points", rotation=90, va="top", ha="left",
            )  # fmt: skip
