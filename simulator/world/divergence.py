"""Divergence: where two runs that should be the same part.

Layer: simulator/world. For two runtimes, two processes, two versions of the code: play the plan twice, keep the traces,
and ask `first_divergence`. Everything after the first difference is its consequence, so only that one is shown.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final, final

import msgspec

from simulator.world.trace import TraceEvent

_COMMON_SHOWN: Final = 5
_BYTES_SHOWN: Final = 60


@final
class Divergence(msgspec.Struct, frozen=True):
    """Two traces that part.

    Attributes:
        seq: number of the first event that differs.
        fields: what differs of it; empty = one trace ends before it.
        common: the last events before it, oldest first.
        one: it, as the first run has it; None = that run had ended.
        other: it, as the second run has it; None = likewise.
    """

    seq: int
    fields: tuple[str, ...]
    common: tuple[TraceEvent, ...]
    one: TraceEvent | None
    other: TraceEvent | None

    @property
    def sentence(self) -> str:
        """In one line."""
        differs = f"differs in {', '.join(self.fields)}" if self.fields else "is only in one of them"
        return f"event #{self.seq} is the first that {differs}: {self.one or self.other}"

    def lines(self, one: str = "one", other: str = "other") -> list[str]:
        """For people; `one` and `other` name the runs."""
        differ = f"differs in {', '.join(self.fields)}" if self.fields else "is only in one of them"
        width = max(len(one), len(other), len("both"))
        return [
            f"event #{self.seq} is the first that {differ}",
            *(f"  {'both':{width}}  {event}" for event in self.common),
            f"  {one:{width}}  {self.one or 'has ended'}",
            f"  {other:{width}}  {self.other or 'has ended'}",
            *self._payload_lines(one, other, width),
        ]

    def _payload_lines(self, one: str, other: str, width: int) -> list[str]:
        """The payloads, from shortly before the place where they part."""
        if self.one is None or self.other is None or self.one.payload == self.other.payload:
            return []
        ours, theirs = self.one.payload, self.other.payload
        part = next(place for place, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b)
        shown = slice(max(0, part - _BYTES_SHOWN // 2), part + _BYTES_SHOWN // 2)
        return [
            f"payloads part at byte {part}, shown from byte {shown.start}:",
            f"  {one:{width}}  {ours[shown]!r}",
            f"  {other:{width}}  {theirs[shown]!r}",
        ]


def first_divergence(one: Sequence[TraceEvent], other: Sequence[TraceEvent]) -> Divergence | None:
    """Find the first event that two traces, kept from the start, do not share; None when they are equal."""
    for seq, (ours, theirs) in enumerate(zip_longest(one, other)):
        if ours != theirs:
            fields: tuple[str, ...] = ()
            if ours is not None and theirs is not None:
                names = TraceEvent.__struct_fields__
                fields = tuple(name for name in names if getattr(ours, name) != getattr(theirs, name))
            return Divergence(seq, fields, tuple(one[max(0, seq - _COMMON_SHOWN) : seq]), ours, theirs)
    return None
