"""Picture: an SVG text that a notebook shows, and the signature that every picture of a run carries.

Layer: simulator/figures. Start at `Picture`; `signature` is the line in the corner.
"""

from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import final

import msgspec

from simulator.errors import FigureError
from simulator.experiment.simulation import Run

INK, MUTED, PANEL = "#1b1f24", "#667080", "#ffffff"
"""Text, secondary text, and the panel behind everything: it makes a picture readable on a dark page, too."""
FONT = "ui-sans-serif, system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"


@final
class Picture(msgspec.Struct, frozen=True):
    """A picture.

    Attributes:
        svg: all of it; needs nothing else.
    """

    svg: str

    @property
    def inline(self) -> str:
        """It as an element that can stand in a page: without the prologue of a file of its own."""
        return self.svg[self.svg.index("<svg") :]

    def save(self, file: Path | str) -> None:
        """Write it as an SVG file."""
        Path(file).write_text(self.svg, encoding="utf-8")

    def __repr__(self) -> str:
        """A line, where pictures cannot be shown."""
        return f"<Picture, {len(self.svg)} characters of SVG; save(file) writes it>"

    def _repr_svg_(self) -> str:  # pyright: ignore[reportUnusedFunction] - a notebook calls it
        """The picture, for notebooks."""
        return self.svg


def signature(run: Run) -> str:
    """Which run a picture shows, and of which version of the code."""
    return sign(f"seed {run.seed}", run.hash)


def sign(seeds: str, *hashes: str) -> str:
    """The line in the corner: seeds, hash and version."""
    return f"{seeds} · hash {' and '.join(each[:12] for each in hashes)} · pivot {version('pivot-trio')}"


def need_trace(run: Run, picture: str) -> None:
    """Refuse a run that did not keep what a picture shows.

    Raises:
        FigureError: it kept no trace; says how to get one.
    """
    if not run.trace:
        raise FigureError(f"{picture} needs the trace, and this run kept none: use Run.of(run.plan, keep_trace=True)")


def need_window(window: tuple[float, float]) -> tuple[float, float]:
    """Refuse a window in time that holds nothing.

    Raises:
        FigureError: it ends before it begins.
    """
    if not window[0] < window[1]:
        raise FigureError(f"the window {window[0]:g} s to {window[1]:g} s ends before it begins")
    return window


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; what was cut is marked."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def text(  # a dozen places call it, and each says only what differs
    x: float, y: float, said: str, *, size: float = 11, fill: str = INK, anchor: str = "start", more: str = ""
) -> str:
    """A line of text, escaped."""
    place = f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {place} font-size="{size:g}" fill="{fill}" text-anchor="{anchor}"{more}>{escape(said)}</text>'


def hover(said: str) -> str:
    """What a reader sees when the pointer rests on a shape, escaped."""
    return f"<title>{escape(said)}</title>"
