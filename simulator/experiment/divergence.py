"""Divergence: the first event in which two runs of one plan differ.

Layer: simulator/experiment. Start at `first_divergence`.
"""

from itertools import zip_longest
from typing import final

import msgspec

from simulator.experiment.plan import Plan
from simulator.experiment.simulation import Run
from simulator.world.trace import TraceEvent


@final
class Divergence(msgspec.Struct, frozen=True):
    """Where two runs part.

    Attributes:
        before: the last event that they share; None = there is none.
        one: the next event of one run; None = it has ended.
        other: the next event of the other.
    """

    before: TraceEvent | None
    one: TraceEvent | None
    other: TraceEvent | None

    @property
    def sentence(self) -> str:
        """The difference in words."""
        one, other = said(self.one), said(self.other)
        if one == other:
            return f"event {self.number} is {one} in both, with another payload"
        return f"event {self.number} is {one} in one and {other} in the other"

    @property
    def number(self) -> int:
        """`seq` of the event."""
        return 0 if self.before is None else self.before.seq + 1


def first_divergence(plan: Plan) -> Divergence | None:
    """Play a plan twice and compare; None when the runs are equal."""
    one, other = (Run.of(plan, keep_trace=True) for _ in range(2))
    return compare(one.trace, other.trace)


def compare(one: tuple[TraceEvent, ...], other: tuple[TraceEvent, ...]) -> Divergence | None:
    """The first difference of two traces; None when they have none."""
    before: TraceEvent | None = None
    for ours, theirs in zip_longest(one, other):
        if ours != theirs:
            return Divergence(before, ours, theirs)
        before = ours
    return None


def said(event: TraceEvent | None) -> str:
    """An event in words."""
    if event is None:
        return "the end"
    between = f"{event.member} -> {event.peer}" if event.peer else event.member
    about = " ".join(word for word in (event.kind, event.label, between, event.why) if word)
    size = f", {event.size} bytes" if event.size else ""
    return f"[{about} at {event.time_ns / 1e9:.9f} s{size}]"
