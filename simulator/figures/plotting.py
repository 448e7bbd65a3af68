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
from simulator.figures.picture import INK, MUTED, PANEL, Picture, signature

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES: Final = ("#1f4e8c", "#e08214", "#2e9e6b", "#c23b6b", "#7ec8e3", "#8a6bbf", "#d9c441", "#5a5f66")
HATCHES: Final = ("", "//", "..", "\\\\", "xx", "--", "oo", "++")
"""Colours in turn, and patterns that tell them apart in grey."""
_RC: Final[dict[str, Any]] = {
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
def chart(run: Run, title: str, *, height: float, rows: int = 1, note: str = "") -> Generator[Chart, None, None]:
    """Draw in the block; afterwards the chart has its picture.

    Args:
        run: which is signed for.
        title: what it shows.
        height: inches; the width is 9.6, what a notebook shows.
        rows: how many parts lie above each other, with one time axis.
        note: what the picture leaves out.

    Raises:
        FigureError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context  # noqa: PLC0415 - needed for charts alone, and slow
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise FigureError("charts need matplotlib: pip install 'pivot-trio[notebook]'") from None
    with rc_context(_RC):
        figure = Figure(figsize=(9.6, height), facecolor=PANEL, layout="constrained")
        axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
        axes[0].set_title(title)
        drawn = Chart(figure, axes)
        yield drawn
        figure.text(0.995, 0.004, signature(run), ha="right", va="bottom", color=MUTED, fontsize=8)
        if note:
            figure.text(0.005, 0.004, note, ha="left", va="bottom", color=MUTED, fontsize=8)
        figure.get_layout_engine().set(rect=(0.0, 0.035, 1.0, 0.965))  # type: ignore[union-attr]
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
