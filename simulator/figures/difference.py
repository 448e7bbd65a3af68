"""Difference of two runs: how far apart the members were in each, where the runs part, and what is other at the end.

Layer: simulator/figures. Start at `difference`; `Run.diff` has the same as data.
"""

from typing import Final

from simulator.experiment.simulation import Run
from simulator.figures.divergence import measure
from simulator.figures.picture import Picture, need_trace, shorten, sign
from simulator.figures.plotting import Chart, chart, mark_time
from simulator.world.divergence import first_divergence

ROWS_MAX: Final = 12
_ROW_IN: Final = 0.19
_COLUMNS: Final = (0.0, 0.34, 0.67)
_WIDTHS: Final = (44, 42, 42)
_STYLES: Final = (("one", "#1f4e8c", "-", 2.4), ("other", "#c2410c", "--", 1.8))


def difference(one: Run, other: Run) -> Picture:
    """Draw two runs over each other, and list what is other: the plan, the end, what became of each write.

    Raises:
        FigureError: a run kept no trace, or matplotlib is not installed.
    """
    return plot(one, other).picture


def plot(one: Run, other: Run) -> Chart:
    """Likewise, with matplotlib's figure."""
    for run in (one, other):
        need_trace(run, "a difference of two runs")
    found = one.diff(other)
    rows, left_out = found.rows[:ROWS_MAX], found.left_out + max(0, len(found.rows) - ROWS_MAX)
    table_in = _ROW_IN * (len(rows) + 3)
    seeds = f"seed {one.seed}" if one.seed == other.seed else f"seeds {one.seed}, {other.seed}"
    with chart(
        sign(seeds, one.hash, other.hash),
        "Two runs: how far apart the members were in each" if rows else "Two runs: the same",
        height=3.4 + table_in,
        below=0.75 + table_in,
        rows=2,
    ) as c:
        for run, (name, colour, dashes, width) in zip((one, other), _STYLES, strict=True):
            distances = measure(run)
            end = "never equal" if run.outcome.converged_s is None else f"equal at {run.outcome.converged_s:.1f} s"
            for axes, values in zip(c.axes, ([d.states for d in distances], [d.keys for d in distances]), strict=True):
                axes.step([d.at_s for d in distances], values, where="post", color=colour, ls=dashes, lw=width,
                          label=f"{name}: {run.verdict}, {end}")  # fmt: skip
        parting = first_divergence(one.trace, other.trace)
        for place, (axes, name) in enumerate(zip(c.axes, ("distinct\nstates", "keys in\ndisagreement"), strict=True)):
            mark_time(axes, one, named=False)
            axes.set_xlim(0, max(one.outcome.ended_s, other.outcome.ended_s))
            axes.set_ylabel(name)
            axes.locator_params(axis="y", integer=True)
            axes.set_ylim(0, 1.5 * axes.get_ylim()[1])
            axes.label_outer()
            if parting is not None:
                event = parting.one or parting.other
                assert event is not None, "one of them has it"
                axes.axvline(event.time_ns / 1e9, color="#1b1f24", ls="-.", lw=1.2)
                if place == 0:
                    axes.annotate(f"they part {event.time_ns / 1e9:.3f}", (event.time_ns / 1e9, 1), fontsize=7.5,
                                  xycoords=("data", "axes fraction"), xytext=(2, -1), textcoords="offset points",
                                  rotation=90, va="top")  # fmt: skip
        c.axes[0].legend(loc="upper right", fontsize=8.5, ncols=2)
        height = c.figure.get_size_inches()[1]
        for line, cells in enumerate([("what is other", "one", "other"), *rows]):
            for x, room, cell in zip(_COLUMNS, _WIDTHS, cells, strict=True):
                c.figure.text(
                    0.02 + x, (table_in - _ROW_IN * line) / height, shorten(" ".join(cell.split()), room), fontsize=8,
                    fontweight="bold" if line == 0 else "normal", va="center",
                )  # fmt: skip
        if left_out:
            said = f"and {left_out} more rows (Run.diff)"
            c.figure.text(0.02, (table_in - _ROW_IN * (len(rows) + 1)) / height, said, fontsize=8, va="center")
    return c
