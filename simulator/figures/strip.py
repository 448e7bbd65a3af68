"""Key strip: which version of each key every member showed, over time; the colour is the version.

Layer: simulator/figures. Equal colour and pattern = equal version, so a column of one colour is agreement. Start at
`key_strip`.
"""

from collections.abc import Sequence
from typing import Final

from simulator.errors import FigureError
from simulator.experiment.simulation import Run
from simulator.experiment.timeline import Span, Timeline
from simulator.figures.bars import outages
from simulator.figures.picture import Picture, need_trace, shorten, signature
from simulator.figures.plotting import HATCHES, SHADES, Chart, chart, mark_time

ROWS_MAX: Final = 60


def key_strip(run: Run, *, keys: Sequence[str] = ()) -> Picture:
    """Draw a strip for each key and member.

    Args:
        run: with its trace.
        keys: which ones; none = all that there ever were, as many as there is room for.

    Raises:
        FigureError: the run kept no trace, nobody ever knew such a key, or matplotlib is not installed.
    """
    return plot(run, keys=keys).picture


def plot(run: Run, *, keys: Sequence[str] = ()) -> Chart:
    """Likewise, with matplotlib's figure."""
    need_trace(run, "a key strip")
    spans = Timeline.of(run.outcome, run.plan.members).spans()
    there = sorted(dict.fromkeys(span.key for span in spans))
    unknown = [key for key in keys if key not in there]
    if unknown or not there:
        raise FigureError(
            f"no member ever knew {unknown[0] if unknown else 'a key'!r}; known: {', '.join(there)[:200]}"
        )
    wanted = list(keys or there)
    members = run.plan.members[:ROWS_MAX]
    shown = wanted[: max(1, ROWS_MAX // len(members))]
    note = ""
    if len(shown) < len(wanted) or len(members) < len(run.plan.members):
        note = f"{len(shown)} of {len(wanted)} keys (keys=[...] chooses)"
        note += f", {len(members)} of {len(run.plan.members)} members"
    rows = {(key, member): place for place, (key, member) in enumerate((k, m) for k in shown for m in members)}
    with chart(
        signature(run),
        "Which version each member showed",
        height=2.2 + 0.24 * len(rows) + 0.1 * len(shown),
        left=1.9,
        note=note,
    ) as c:
        axes = c.axes[0]
        for key in shown:
            versions = sorted(dict.fromkeys(span.entry.version for span in spans if span.key == key))
            for span in spans:
                if span.key == key and span.member in members:
                    _draw(c, span, rows[key, span.member], versions.index(span.entry.version), run.outcome.ended_s)
        for bar in outages(run):
            for place in [place for (_, member), place in rows.items() if member == bar.member]:
                axes.plot([bar.begin_s, bar.end_s], [place, place], color="#667080", lw=1, ls=":")
        for place in range(len(members), len(rows), len(members)):
            axes.axhline(place - 0.5, color="#667080", lw=0.8)
        labels = [f"{shorten(key, 24) + '  ' if member == members[0] else ''}{member}" for key, member in rows]
        axes.set_yticks(range(len(rows)), labels=labels)
        axes.set_ylim(len(rows) - 0.4, -3.9)  # room for the names of moments
        axes.set_ylabel("key, member")
        mark_time(axes, run)
    return c


def _draw(drawn: Chart, span: Span, row: int, version: int, whole_s: float) -> None:
    axes = drawn.axes[0]
    length_s, deleted = span.end_s - span.begin_s, span.entry.deleted
    axes.barh(
        row, length_s, left=span.begin_s, height=0.8, edgecolor="#1b1f24", lw=0.5, zorder=2,
        color="#ffffff" if deleted else SHADES[version % len(SHADES)],
        hatch=HATCHES[(version // len(SHADES)) % len(HATCHES)],
    )  # fmt: skip
    said = "deleted" if deleted else shorten(span.entry.data, 28)
    if length_s > 0.009 * len(said) * whole_s:
        dark = not deleted and version % 2 == 0
        axes.text(span.begin_s + 0.004 * whole_s, row, said, va="center", fontsize=7.5, zorder=3, clip_on=True,
                  color="#ffffff" if dark else "#1b1f24")  # fmt: skip
