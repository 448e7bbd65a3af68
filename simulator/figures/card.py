"""Minimal-scenario card: a shrunk plan on one card: what goes wrong, the few lines that it takes, and how to replay it.

Layer: simulator/figures. Own SVG. Start at `card`.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final, cast, final

import msgspec

from simulator.experiment.explanation import Shrunk
from simulator.experiment.plan import Plan, Step
from simulator.experiment.recipe import inevitable, replay_command
from simulator.experiment.simpler import is_fault
from simulator.figures.picture import FONT, INK, MUTED, PANEL, Picture, hover, shorten, sign, text

WIDTH: Final = 960.0
LANES_MAX: Final = 12
_LEFT, _RIGHT, _LINE, _LANE = 28.0, 28.0, 18.0, 30.0
_NAMES: Final = 92.0
_LETTERS: Final = 140
_WORDS_MAX: Final = 4
_FAULT, _WORK, _FATAL = "#f2b15c", "#1f4e8c", "#c2181b"


@final
@dataclass(slots=True)
class _Page:
    """Where the next line goes."""

    y: float
    parts: list[str]

    def line(self, said: str, *, size: float = 11.5, fill: str = INK, x: float = _LEFT, more: str = "") -> None:
        self.y += _LINE
        self.parts.append(text(x, self.y, said, size=size, fill=fill, more=more))

    def lines(self, said: str, *, rows: int = _WORDS_MAX, x: float = _LEFT, fill: str = INK) -> None:
        room = round(_LETTERS - (x - _LEFT) / 6)
        for row in textwrap.wrap(said, room, max_lines=rows, placeholder=" …"):
            self.line(row, x=x, fill=fill)


def card(shrunk: Shrunk, file: Path | str = "") -> Picture:
    """Draw a failing plan as small as it is, line by line, each with what happens without it.

    Args:
        shrunk: what `shrink_and_explain` made.
        file: where the plan was saved, for the command that replays it; empty = nowhere.
    """
    plan = shrunk.plan
    page = _Page(10.0, [])
    page.line(f"{shrunk.symptom.checker}: the smallest plan that shows it", size=15, more=' font-weight="600"')
    page.lines(shrunk.sentence)
    page.y += 16
    page.parts += _timeline(page, shrunk)
    left_over = len(shrunk.entries) - len(plan.steps)
    settings = max(0, left_over)
    for place, entry in enumerate(shrunk.entries):
        page.y += 3
        number = place - settings
        if number >= 0 and number < len(plan.steps):
            page.parts += _badge(
                _LEFT + 9, page.y + _LINE - 4, number + 1, fault=is_fault(plan.steps[number].operation)
            )
        page.lines(entry.what, x=_LEFT + 28)
        page.lines(f"without it {entry.without or '… not tried'}", rows=2, x=_LEFT + 28, fill=MUTED)
    page.y += 8
    page.lines(inevitable(shrunk), fill=_FATAL)
    said = f"shrunk from {shrunk.steps_before} events to {len(plan.steps)}; {shrunk.tries} plans played"
    page.line(said, fill=MUTED)
    if file:
        page.line(replay_command(file), more=' font-family="ui-monospace, monospace"')
    height = page.y + 28
    signed = sign(f"seed {plan.seed}", shrunk.hash or "(crash)")
    page.parts.append(text(WIDTH - _RIGHT, height - 10, signed, size=10, fill=MUTED, anchor="end"))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" '
        f'height="{height:g}" style="max-width:100%" font-family="{escape(FONT)}" role="img" '
        f'aria-label="{escape("minimal scenario, " + signed)}">'
        f'<rect width="{WIDTH:g}" height="{height:g}" rx="6" fill="{PANEL}" stroke="#d0d7de"/>'
    )
    return Picture(head + "\n" + "\n".join(page.parts) + "\n</svg>")


def _timeline(page: _Page, shrunk: Shrunk) -> Iterator[str]:
    """A lane per member, the steps on it by number, and the point of no return."""
    plan = shrunk.plan
    lanes = {member: place for place, member in enumerate(plan.members[:LANES_MAX])}
    top, span_s = page.y, max(plan.safety_s, 1e-9)
    right = WIDTH - _RIGHT - 10

    def x(at_s: float) -> float:
        return _LEFT + _NAMES + (right - _LEFT - _NAMES) * at_s / span_s

    for member, lane in lanes.items():
        y = top + _LANE * lane
        yield f'<line x1="{x(0):.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{INK}"/>'
        yield text(_LEFT + _NAMES - 12, y + 4, shorten(member, 13), size=12, anchor="end")
    bottom = top + _LANE * (len(lanes) - 1)
    if shrunk.inevitable_s is not None:
        at = x(min(shrunk.inevitable_s, span_s))
        yield (
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top - 14:.1f}" y2="{bottom + 14:.1f}" stroke="{_FATAL}" '
            f'stroke-width="1.6" stroke-dasharray="5 3">{hover(inevitable(shrunk))}</line>'
        )
    taken: dict[int, float] = {}  # lane -> where its last badge ends
    for number, step in sorted(enumerate(plan.steps, 1), key=lambda each: each[1].at_s):
        hit = [lanes[name] for name in _members(plan, step) if name in lanes]
        at = max([x(step.at_s), *(taken.get(lane, 0.0) + 20 for lane in hit)])
        taken.update(dict.fromkeys(hit, at))
        if len(hit) > 1:
            ends = f'y1="{top + _LANE * min(hit):.1f}" y2="{top + _LANE * max(hit):.1f}"'
            yield f'<line x1="{at:.1f}" x2="{at:.1f}" {ends} stroke="{_FAULT}" stroke-width="3"/>'
        for lane in hit:
            yield from _badge(at, top + _LANE * lane, number, fault=is_fault(step.operation))
    axis = bottom + 22
    for at_s, anchor in ((0.0, "start"), (span_s, "end")):
        yield text(x(at_s), axis + 4, f"{at_s:g} s", size=10, fill=MUTED, anchor=anchor)
    shown = "" if len(lanes) == len(plan.members) else f"; {len(lanes)} of {len(plan.members)} members are shown"
    said = f"virtual time; circles: clients, squares: faults{shown}"
    yield text((x(0) + right) / 2, axis + 4, said, size=10, fill=MUTED, anchor="middle")
    page.y = axis + 10


def _members(plan: Plan, step: Step) -> list[str]:
    """Whom a step names; if nobody, it is about all."""
    named: dict[str, None] = {}

    def look(value: object) -> None:
        match value:
            case str():
                named[value] = None
            case dict():
                for each in cast("dict[str, object]", value).values():
                    look(each)
            case list() | tuple():
                for each in cast("list[object]", value):
                    look(each)
            case _:
                pass

    look({name: each for name, each in cast("dict[str, object]", msgspec.to_builtins(step.operation)).items()
          if name not in ("value", "key", "pattern", "client")})  # fmt: skip
    return [member for member in plan.members if member in named] or list(plan.members)


def _badge(x: float, y: float, number: int, *, fault: bool) -> Iterator[str]:
    """The number of a step: in a square for a fault, in a circle for what a client does."""
    if fault:
        yield f'<rect x="{x - 9:.1f}" y="{y - 9:.1f}" width="18" height="18" rx="2" fill="{_FAULT}" stroke="{INK}"/>'
    else:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{_WORK}" stroke="{INK}"/>'
    yield text(x, y + 3.8, str(number), size=10.5, fill=INK if fault else PANEL, anchor="middle")
