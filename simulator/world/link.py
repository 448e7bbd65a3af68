"""A link: one direction between two members, its weather and its cuts.

Layer: simulator/world. Start at `Link.fate`.

A link draws from a stream of its own. Message number n looks at the fixed ordinals 8 n to 8 n + 7 of that stream, one
for each question (lost? duplicated? how late?), so the answer to one question never depends on whether another was
asked: raising the loss of a link loses more messages and leaves the latency of the rest as it was. Reordering is what
jitter does to messages that follow each other closely.
"""

from typing import Final, TypeAlias, final

import msgspec

from simulator.errors import BadConditionsError
from simulator.world.latency import ConstantLatency, Latency
from simulator.world.rng import Stream
from simulator.world.trace import LossReason

_QUESTIONS: Final = 8
_LOST: Final = 0
_DUPLICATED: Final = 1
_LATENCY: Final = 2
_COPY_LATENCY: Final = 3


@final
class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weather of a link; plain data, JSON both ways.

    Attributes:
        latency: how long messages need.
        loss: probability that a message is lost.
        duplication: probability that one that is not lost arrives twice.
    """

    latency: Latency = ConstantLatency()
    loss: float = 0.0
    duplication: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("loss", self.loss), ("duplication", self.duplication)):
            if not 0.0 <= value <= 1.0:
                raise BadConditionsError(name, value, "0 to 1")


@final
class Dropped(msgspec.Struct, frozen=True, gc=False):
    """The message does not get through, and why."""

    why: LossReason


@final
class Deliver(msgspec.Struct, frozen=True, gc=False):
    """The message arrives at `at_ns`, its copies (if any) at `copies_at_ns`, unless the link is cut by then."""

    at_ns: int
    copies_at_ns: tuple[int, ...] = ()


Fate: TypeAlias = Dropped | Deliver

_DROPPED_CUT: Final = Dropped("cut")
_DROPPED_LOSS: Final = Dropped("loss")


@final
class Link:
    """One direction between two members.

    Attributes:
        src: the sending member.
        dst: the receiving member.
        conditions: the weather; may be replaced at any time.
        messages: how many asked for their fate so far.
        peaks: kind of message -> most copies that ever were under way at once.
    """

    __slots__ = ("_causes", "_stream", "_under_way", "conditions", "dst", "messages", "peaks", "src")

    def __init__(self, src: str, dst: str, conditions: Conditions, stream: Stream) -> None:
        self.src = src
        self.dst = dst
        self.conditions = conditions
        self.messages = 0
        self.peaks: dict[str, int] = {}
        self._under_way: dict[str, int] = {}
        self._stream = stream
        self._causes: dict[str, int] = {}

    @property
    def is_cut(self) -> bool:
        """Whether at least one cause cuts this link now."""
        return bool(self._causes)

    @property
    def causes(self) -> tuple[str, ...]:
        """What cuts this link now, in the order in which it began."""
        return tuple(self._causes)

    def cut(self, cause: str) -> None:
        """Let nothing through until `heal` was called as often, for this cause and for all others."""
        self._causes[cause] = self._causes.get(cause, 0) + 1

    def heal(self, cause: str) -> None:
        """Take back one `cut` of this cause; does nothing when there is none."""
        left = self._causes.get(cause, 0) - 1
        if left > 0:
            self._causes[cause] = left
        else:
            self._causes.pop(cause, None)

    def enter(self, label: str) -> None:
        """One more copy of a message of this kind is under way."""
        count = self._under_way[label] = self._under_way.get(label, 0) + 1
        if count > self.peaks.get(label, 0):
            self.peaks[label] = count

    def leave(self, label: str) -> None:
        """One such copy has arrived, or never will."""
        self._under_way[label] -= 1

    def fate(self, now_ns: int) -> Fate:
        """Decide what becomes of the next message. A cut link counts it, too: the later weather stays the same."""
        first = self.messages * _QUESTIONS
        self.messages += 1
        if self._causes:
            return _DROPPED_CUT
        conditions = self.conditions
        # Questions with a certain answer are not asked. Ordinals are fixed, so this changes nothing but speed.
        if conditions.loss and self._stream.unit_at(first + _LOST) < conditions.loss:
            return _DROPPED_LOSS
        at_ns = now_ns + self._latency_ns(first + _LATENCY)
        if conditions.duplication and self._stream.unit_at(first + _DUPLICATED) < conditions.duplication:
            return Deliver(at_ns, (now_ns + self._latency_ns(first + _COPY_LATENCY),))
        return Deliver(at_ns)

    def _latency_ns(self, ordinal: int) -> int:
        latency = self.conditions.latency
        unit = 0.0 if isinstance(latency, ConstantLatency) else self._stream.unit_at(ordinal)
        return latency.sample_ns(unit)
