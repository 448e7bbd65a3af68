"""Divergence: the first event in which two runs of one plan differ.

Layer: simulator/experiment. Start at `first_divergence`.
"""

from itertools import zip_longest
from typing import Final, final

import msgspec

from simulator.experiment.plan import Plan
from simulator.experiment.simulation import Run
from simulator.world.trace import TraceEvent

_UNSEEN: Final = "their records are equal: they differ in what a message says"


@final
class Divergence(msgspec.Struct, frozen=True):
    """Where two runs part.

    Attributes:
        before: the last event that they share; None = there is none.
        one: the next event of one run; None = it has ended.
        other: the next event of the other; equal to `one` when only the hashes differ.
    """

    before: TraceEvent | None
    one: TraceEvent | None
    other: TraceEvent | None

    @property
    def sentence(self) -> str:
        """The difference in words."""
        if self.one == self.other:
            return _UNSEEN
        number = 0 if self.before is None else self.before.seq + 1
        return f"event {number} is {said(self.one)} in one and {said(self.other)} in the other"


def first_divergence(plan: Plan) -> Divergence | None:
    """Play a plan twice and compare; None when the runs are equal."""
    one, other = (Run.of(plan, keep_trace=True) for _ in range(2))
    return None if one.hash == other.hash else compare(one.trace, other.trace)


def compare(one: tuple[TraceEvent, ...], other: tuple[TraceEvent, ...]) -> Divergence:
    """The first difference of two traces that are known to differ."""
    before: TraceEvent | None = None
    for ours, theirs in zip_longest(one, other):
        if ours != theirs:
            return Divergence(before, ours, theirs)
        before = ours
    return Divergence(before, None, None)


def said(event: TraceEvent | None) -> str:
    """An event in words."""
    if event is None:
        return "the end"
    between = f"{event.member} -> {event.peer}" if event.peer else event.member
    about = " ".join(word for word in (event.kind, event.label, between, event.why) if word)
    size = f", {event.size} bytes" if event.size else ""
    return f"[{about} at {event.time_ns / 1e9:.9f} s{size}]"
