"""Space-time diagram: a lane per member, time from left to right, messages as arrows, faults as bars behind the lanes.

Layer: simulator/figures. Own SVG: hover text names every message, and 20,000 events stay a small file, because messages
that go the same way with the same fate are bundled as soon as there are too many; the picture says so.
Start at `space_time`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import chain
from typing import Final, final

from simulator.experiment.observer import IDLE
from simulator.experiment.simulation import Run
from simulator.figures.bars import Bar, cuts, faults, outages
from simulator.figures.flights import Bundle, Fate, Flight, bundled, flights
from simulator.figures.picture import (
    FONT,
    INK,
    MUTED,
    PANEL,
    Picture,
    hover,
    need_trace,
    need_window,
    shorten,
    signature,
    text,
)
from simulator.world.trace import TraceEvent

LANES_MAX: Final = 24
BUNDLES_MAX: Final = 4_000
"""More than 24 lanes have pairs times fates."""
MARKS_MAX: Final = 1_000
ROWS_MAX: Final = 6
WIDTH: Final = 960.0
_LEFT, _RIGHT, _TOP, _ROW, _LANE, _BOTTOM = 92.0, 18.0, 40.0, 17.0, 58.0, 74.0
_LETTER: Final = 5.6
_STYLES: Final[dict[Fate, tuple[str, str]]] = {  # told apart by dashes and ends, too, not by colour alone
    "delivered": ("#2b6cb0", ""),
    "copy": ("#2b6cb0", "1 3"),
    "held": ("#8a5a00", "7 3"),
    "corrupted": ("#a21caf", "2 2"),
    "lost": ("#c2410c", ""),
    "under way": (MUTED, "2 4"),
}
_ENDS: Final[dict[str, str]] = {"ok": INK, "fail": PANEL, "info": "#b8bfc8"}


@final
@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things are."""

    begin_s: float
    end_s: float
    lanes: dict[str, int]
    names: list[str]
    top: float

    def x(self, at_s: float) -> float:
        inside = min(max(at_s, self.begin_s), self.end_s)
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (inside - self.begin_s) / (self.end_s - self.begin_s)

    def y(self, member: str) -> float:
        return self.top + _LANE * (self.lanes[member] + 0.5)

    @property
    def bottom(self) -> float:
        return self.top + _LANE * len(self.names)

    def has(self, begin_s: float, end_s: float) -> bool:
        return begin_s <= self.end_s and end_s >= self.begin_s


def space_time(run: Run, *, window: tuple[float, float] | None = None, idle: bool = False) -> Picture:
    """Draw who sent what to whom, and what became of it.

    Args:
        run: with its trace.
        window: from when to when, s; None = all.
        idle: whether heartbeats and acknowledgements that arrived are drawn, too.

    Raises:
        FigureError: the run kept no trace, or the window is empty.
    """
    need_trace(run, "a space-time diagram")
    begin_s, end_s = need_window(window or (0.0, max(run.outcome.ended_s, 1e-9)))
    names, lanes = _lanes(run.plan.members)
    inside = [bar for bar in (*cuts(run), *faults(run)) if bar.begin_s <= end_s and bar.end_s >= begin_s]
    rows, unplaced = _rows(inside)
    frame = _Frame(begin_s, end_s, lanes, names, _TOP + _ROW * len(rows) + 6)

    seen = [f for f in flights(run.trace) if frame.has(f.sent_ns / 1e9, f.end_ns / 1e9)]
    shown = [f for f in seen if idle or f.label not in IDLE or f.fate != "delivered"]
    bundles, length_s = bundled(shown, lanes, BUNDLES_MAX, round((end_s - begin_s) * 1e9))
    ends = [event for event in run.trace if event.kind == "op" and event.why in _ENDS]
    marks = [event for event in ends if frame.has(event.time_ns / 1e9, event.time_ns / 1e9)]
    merged = marks[:: -(-len(marks) // MARKS_MAX)] if marks else []

    notes = [f"{len(shown):,} message copies"]
    if length_s:
        notes.append(f"drawn as {len(bundles):,} bundles: same way, same fate, within {length_s:.3g} s")
    if len(seen) > len(shown):
        notes.append(f"{len(seen) - len(shown):,} heartbeats and acks that arrived are not drawn (idle=True)")
    if len(merged) < len(marks):
        notes.append(f"{len(merged):,} of {len(marks):,} client operations marked")
    if len(run.plan.members) > len(names):
        notes.append(f"{len(run.plan.members) - len(names) + 1} members share the last lane")
    if unplaced:
        notes.append(f"{unplaced} more faults have no bar")
    height = frame.bottom + _BOTTOM + 13 * (len(notes) > 2)
    body = chain(
        _faults(frame, rows, inside, outages(run)),
        _axes(frame),
        *(_message(frame, bundle) for bundle in bundles),
        *(_mark(frame, event) for event in merged),
        _converged(frame, run.outcome.converged_s),
        _legend(frame, shown),
        (
            text(_LEFT - 80, 20, f"{run.verdict}: who told whom, and when", size=13, more=' font-weight="600"'),
            text(WIDTH - _RIGHT, 20, signature(run), size=10, fill=MUTED, anchor="end"),
            text(_LEFT - 80, height - 23, "; ".join(notes[:2]), size=10, fill=MUTED),
            text(_LEFT - 80, height - 10, "; ".join(notes[2:]), size=10, fill=MUTED),
        ),
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" '
        f'height="{height:g}" style="max-width:100%" font-family="{escape(FONT)}" role="img" '
        f'aria-label="{escape("space-time diagram, " + signature(run))}">'
        f'<rect width="{WIDTH:g}" height="{height:g}" rx="6" fill="{PANEL}" stroke="#d0d7de"/>'
    )
    return Picture(head + "\n" + "\n".join(body) + "\n</svg>")


def _lanes(members: tuple[str, ...]) -> tuple[list[str], dict[str, int]]:
    """Name of each lane, and member -> lane; those for whom there is no room share the last."""
    if len(members) <= LANES_MAX:
        return list(members), {member: place for place, member in enumerate(members)}
    own = members[: LANES_MAX - 1]
    return [*own, f"{len(members) - len(own)} others"], {m: min(i, LANES_MAX - 1) for i, m in enumerate(members)}


def _rows(bars: list[Bar]) -> tuple[list[list[Bar]], int]:
    """Bars in rows, so that none hides another; and how many found no place."""
    rows: list[list[Bar]] = []
    unplaced = 0
    for bar in sorted(bars, key=lambda bar: (bar.begin_s, bar.what)):
        row = next((row for row in rows if row[-1].end_s <= bar.begin_s), None)
        if row is not None:
            row.append(bar)
        elif len(rows) < ROWS_MAX:
            rows.append([bar])
        else:
            unplaced += 1
    return rows, unplaced


def _faults(frame: _Frame, rows: list[list[Bar]], every: list[Bar], down: list[Bar]) -> Iterator[str]:
    for bar in every:
        x, width = frame.x(bar.begin_s), max(frame.x(bar.end_s) - frame.x(bar.begin_s), 1)
        for low, high in _touched(frame, bar):
            shade = f'y="{frame.top + _LANE * low:.1f}" height="{_LANE * (high - low):.1f}"'
            yield f'<rect x="{x:.1f}" width="{width:.1f}" {shade} fill="#f59e0b" fill-opacity="0.13"/>'
    for place, row in enumerate(rows):
        for bar in row:
            x, y, width = frame.x(bar.begin_s), _TOP + _ROW * place - 8, frame.x(bar.end_s) - frame.x(bar.begin_s)
            said = f"{bar.what}, {bar.begin_s:g} s to {bar.end_s:g} s" + "".join(
                f"\n{a} -> {b}" for a, b in bar.links[:20]
            )
            if len(bar.links) > 20:
                said += f"\nand {len(bar.links) - 20} links more"
            colour = "#fcd9a0" if bar.links else "#e2d4f5"
            yield (
                f'<g>{hover(said)}<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 2):.1f}" height="{_ROW - 3:g}" '
                f'rx="2" fill="{colour}" stroke="#8a5a00" stroke-width="0.6"/>'
            )
            room = int((width - 6) / _LETTER)
            yield (text(x + 4, y + 10.5, shorten(bar.what, room), size=10) if room >= 4 else "") + "</g>"
    for bar in down:
        if frame.has(bar.begin_s, bar.end_s):
            x, y, width = frame.x(bar.begin_s), frame.y(bar.member) - 9, frame.x(bar.end_s) - frame.x(bar.begin_s)
            said = f"{bar.member} {bar.what}, {bar.begin_s:g} s to {bar.end_s:g} s"
            yield (
                f'<g>{hover(said)}<rect x="{x:.1f}" y="{y:.1f}" '
                f'width="{max(width, 2):.1f}" height="18" fill="#d0d7de" stroke="{MUTED}" stroke-dasharray="3 2"/>'
            )
            yield (text(x + 4, y + 13, bar.what, size=10) if width > 50 else "") + "</g>"


def _touched(frame: _Frame, bar: Bar) -> list[tuple[int, int]]:
    """Which lanes a bar is behind: of those whom each cut link concerns, or of the member hit; weather darkens none."""
    if bar.member or not bar.links:
        hit = [bar.member] if bar.member else []
    else:
        sides = [list(dict.fromkeys(edge[end] for edge in bar.links)) for end in (0, 1)]
        common = [member for member in sides[0] if all(member in edge for edge in bar.links)]
        hit = [member for member in common if frame.lanes[member]] or common or sides[0]  # lane 0 is the leader's
    lanes = dict.fromkeys(frame.lanes[member] for member in hit)
    return [(lane, lane + 1) for lane in lanes]


def _axes(frame: _Frame) -> Iterator[str]:
    right = WIDTH - _RIGHT
    for name, y in ((name, frame.top + _LANE * (place + 0.5)) for place, name in enumerate(frame.names)):
        yield f'<line x1="{_LEFT:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}" stroke="{INK}" stroke-width="1.1"/>'
        yield text(_LEFT - 10, y + 4, shorten(name, 13), size=12, anchor="end")
    bottom = frame.bottom + 4
    yield f'<line x1="{_LEFT:g}" x2="{right:g}" y1="{bottom:.1f}" y2="{bottom:.1f}" stroke="{MUTED}"/>'
    for at_s in _ticks(frame.begin_s, frame.end_s):
        x = frame.x(at_s)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:.1f}" y2="{bottom + 4:.1f}" stroke="{MUTED}"/>'
        yield text(x, bottom + 15, f"{at_s:.10g}", size=10, fill=MUTED, anchor="middle")
    yield text(_LEFT - 10, bottom + 15, "virtual time, s", size=10, fill=MUTED, anchor="end")


def _ticks(begin_s: float, end_s: float) -> list[float]:
    """Round times, some ten of them."""
    power = 10.0 ** (len(f"{int((end_s - begin_s) * 1e9)}") - 11)
    step = next(s for s in (power, power * 2, power * 5, power * 10, power * 20) if (end_s - begin_s) / s <= 12)
    first = -int(-begin_s // step)
    return [round(place * step, 9) for place in range(first, int(end_s / step + 1e-9) + 1)]


def _message(frame: _Frame, bundle: Bundle) -> Iterator[str]:
    flight = bundle.first
    colour, dashes = _STYLES[flight.fate]
    x1, y1, x2, y2 = (
        frame.x(flight.sent_ns / 1e9),
        frame.y(flight.src),
        frame.x(flight.end_ns / 1e9),
        frame.y(flight.dst),
    )
    quiet = all(label in IDLE for label in bundle.labels)
    if flight.fate in ("lost", "under way"):  # it stops on its way
        part = 0.32 if flight.why in ("cut", "reset") else 0.6
        x2, y2 = x1 + (x2 - x1) * part, y1 + (y2 - y1) * part
    width = min(1.2 + 0.4 * (bundle.count - 1) ** 0.5, 4.0)
    style = f'stroke="{colour}" stroke-width="{width:.2g}" opacity="{0.4 if quiet else 0.9}"'
    if dashes:
        style += f' stroke-dasharray="{dashes}"'
    path = f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"
    if flight.fate == "lost":
        path += "m-3 -3l6 6m0 -6l-6 6"
    elif flight.fate != "under way":
        path += _head(x2 - x1, y2 - y1)
    yield f'<path d="{path}" fill="none" {style}>{hover(_said(bundle))}</path>'


def _head(dx: float, dy: float) -> str:
    """Both sides of the head of an arrow, from its tip."""
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = 6 * dx / length, 6 * dy / length
    return "".join(
        f"m{-a:.1f} {-b:.1f}l{a:.1f} {b:.1f}" for a, b in ((ux - uy / 2, uy + ux / 2), (ux + uy / 2, uy - ux / 2))
    )


def _said(bundle: Bundle) -> str:
    flight = bundle.first
    fate = f"{flight.fate} ({flight.why})" if flight.why else flight.fate
    when = f"sent {flight.sent_ns / 1e9:.6f} s, {fate} {flight.end_ns / 1e9:.6f} s"
    if bundle.count == 1:
        return f"#{flight.seq} {flight.label} {flight.src} -> {flight.dst}, {flight.size} bytes\n{when}"
    labels = ", ".join(f"{count} {label}" for label, count in bundle.labels.items())
    return f"{bundle.count} copies: {labels}\nthe first: {flight.src} -> {flight.dst}, {when}"


def _mark(frame: _Frame, event: TraceEvent) -> Iterator[str]:
    """The answer to a client."""
    x, y = frame.x(event.time_ns / 1e9), frame.y(event.member)
    answer = shorten(event.payload.decode(errors="replace"), 80)
    said = f"{event.label} at {event.member}: {event.why}, {event.time_ns / 1e9:.6f} s\n{answer}"
    match event.label:
        case "read":
            path = f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"
        case "delete":
            path = f"M{x - 5:.1f} {y - 5:.1f}h10v10h-10z"
        case _:
            path = f"M{x:.1f} {y - 6:.1f}l5.5 10h-11z"
    yield f'<path d="{path}" fill="{_ENDS[event.why]}" stroke="{INK}" stroke-width="1.2">{hover(said)}</path>'


def _converged(frame: _Frame, at_s: float | None) -> Iterator[str]:
    if at_s is not None and frame.begin_s <= at_s <= frame.end_s:
        x = frame.x(at_s)
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top:.1f}" y2="{frame.bottom + 4:.1f}" stroke="#15803d" '
            f'stroke-width="1.6" stroke-dasharray="5 3">{hover(f"all members are equal from {at_s:.3f} s")}</line>'
        )
        right = x > WIDTH - 140
        yield text(
            x - 4 if right else x + 4,
            frame.top + 9,
            f"equal {at_s:.1f} s",
            size=10,
            fill="#15803d",
            anchor="end" if right else "start",
        )


def _legend(frame: _Frame, shown: list[Flight]) -> Iterator[str]:
    x, y = _LEFT - 80, frame.bottom + 38
    for fate, (colour, dashes) in _STYLES.items():
        if not any(flight.fate == fate for flight in shown):
            continue
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        end = "m-3 -3l6 6m0 -6l-6 6" if fate == "lost" else "" if fate == "under way" else "m-6 -3l6 3l-6 3"
        yield f'<path d="M{x:.1f} {y - 4:.1f}h24{end}" fill="none" stroke="{colour}" stroke-width="1.4"{dash}/>'
        yield text(x + 30, y, fate, size=10.5)
        x += 44 + _LETTER * len(fate) + 6
    for said, drawn in (("write", "l5 9h-10z"), ("delete", "h8v8h-8z"), ("read", "m-4 4a4 4 0 1 0 8 0a4 4 0 1 0 -8 0")):
        yield f'<path d="M{x + 6:.1f} {y - 9:.1f}{drawn}" fill="{INK}" stroke="{INK}"/>'
        yield text(x + 18, y, said, size=10.5)
        x += 30 + _LETTER * len(said)
    yield text(x + 4, y, "(grey: no answer; hollow: refused)", size=10.5, fill=MUTED)
