"""A link: one direction between two members, its weather and its cuts.

Layer: simulator/world. Start at `Link.fate`.

A link draws from a stream of its own. Message number n looks at the fixed ordinals 8 n to 8 n + 7 of that stream, one
for each question (lost? duplicated? how late?), so the answer to one question never depends on whether another was
asked: raising the loss of a link loses more messages and leaves the latency of the rest as it was. Jitter reorders
messages that follow each other closely; `reordering` does so on purpose.

A narrow link sends one message after another: each waits until those before it have left, and flies then. So its
throughput does not depend on its latency. What waits is bounded; what finds the queue full is lost.
"""

from typing import Final, Literal, TypeAlias, final

import msgspec

from simulator.errors import BadConditionsError
from simulator.world.latency import LATENCY_S_MAX, ConstantLatency, Latency
from simulator.world.rng import Stream, correlated
from simulator.world.trace import LossReason

_QUESTIONS: Final = 8
_LOST: Final = 0
_DUPLICATED: Final = 1
_LATENCY: Final = 2
_COPY_LATENCY: Final = 3
_REORDERED: Final = 4
_CORRUPTED: Final = 5
_PLACE: Final = 6
_PROBABILITIES: Final = ("loss", "duplication", "reordering", "corruption")

How: TypeAlias = Literal["drop", "hold", "reset"]
"""What a cut does to messages: lose them, hold them until it heals, or lose them and let both sides know."""


@final
class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weather of a link; plain data, JSON both ways.

    Attributes:
        latency: how long messages need.
        correlation: how much the latency of a message is like that of the one before: 0 = not at all, below 1.
        loss: probability that a message is lost.
        duplication: probability that one that is not lost arrives twice.
        duplication_s: how much later the copy is sent, s.
        reordering: probability that a message is kept back, so that later ones overtake it.
        reordering_s: for how long, s.
        corruption: probability that a message arrives with another content.
        bandwidth: bytes that leave per second; 0 = any number at once.
        queue_bytes: most bytes that may wait to leave when `bandwidth` is bounded.
    """

    latency: Latency = ConstantLatency()
    correlation: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    duplication_s: float = 0.0
    reordering: float = 0.0
    reordering_s: float = 0.1
    corruption: float = 0.0
    bandwidth: float = 0.0
    queue_bytes: int = 2**20

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            value: float = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise BadConditionsError(name, value, "0 to 1")
        if not 0.0 <= self.correlation < 1.0:
            raise BadConditionsError("correlation", self.correlation, "0 to less than 1")
        for name in ("duplication_s", "reordering_s"):
            value = getattr(self, name)
            if not 0.0 <= value <= LATENCY_S_MAX:
                raise BadConditionsError(name, value, f"0 to {LATENCY_S_MAX:g}")
        for name in ("bandwidth", "queue_bytes"):
            value = getattr(self, name)
            if not 0.0 <= value <= _BYTES_MAX:
                raise BadConditionsError(name, value, f"0 to {_BYTES_MAX:g}")

    @property
    def is_foul(self) -> bool:
        """Whether it does anything to messages but let them take their time."""
        return bool(self.bandwidth) or any(getattr(self, name) for name in _PROBABILITIES)


_BYTES_MAX: Final = 1e12


@final
class Dropped(msgspec.Struct, frozen=True, gc=False):
    """The message does not get through, and why."""

    why: LossReason


@final
class Deliver(msgspec.Struct, frozen=True, gc=False):
    """The message arrives, unless the link is cut by then.

    Attributes:
        at_ns: when.
        copies_at_ns: when its copies do, if any.
        corrupted: where in the message one byte is another one, as a number in [0, 1); None = nowhere.
        reordered: whether it was kept back.
    """

    at_ns: int
    copies_at_ns: tuple[int, ...] = ()
    corrupted: float | None = None
    reordered: bool = False


Fate: TypeAlias = Dropped | Deliver

_DROPPED_CUT: Final = Dropped("cut")
_DROPPED_RESET: Final = Dropped("reset")
_DROPPED_LOSS: Final = Dropped("loss")
_DROPPED_QUEUE: Final = Dropped("queue")


@final
class Link:
    """One direction between two members.

    Attributes:
        src: the sending member.
        dst: the receiving member.
        conditions: the weather; may be replaced at any time.
        messages: how many asked for their fate so far.
        connection: how often its connection was reset; what was sent before the last time is lost.
        peaks: kind of message -> most copies that ever were under way at once.
    """

    __slots__ = (
        "_busy_until_ns",
        "_causes",
        "_last_unit",
        "_stream",
        "_under_way",
        "conditions",
        "connection",
        "dst",
        "messages",
        "peaks",
        "src",
    )

    def __init__(self, src: str, dst: str, conditions: Conditions, stream: Stream) -> None:
        self.src = src
        self.dst = dst
        self.conditions = conditions
        self.messages = 0
        self.peaks: dict[str, int] = {}
        self._under_way: dict[str, int] = {}
        self.connection = 0
        self._stream = stream
        self._causes: dict[str, tuple[How, int]] = {}
        self._busy_until_ns = 0
        self._last_unit = 0.5

    @property
    def is_cut(self) -> bool:
        """Whether at least one cause cuts this link now."""
        return bool(self._causes)

    @property
    def how(self) -> How | None:
        """What becomes of messages on it now; None = they get through. To lose them is stronger than to hold them."""
        hows = [how for how, _ in self._causes.values()]
        if "reset" in hows:
            return "reset"
        return "drop" if "drop" in hows else "hold" if hows else None

    @property
    def causes(self) -> tuple[str, ...]:
        """What cuts this link now, in the order in which it began."""
        return tuple(self._causes)

    def cut(self, cause: str, how: How = "drop") -> None:
        """Let nothing through until `heal` was called as often, for this cause and for all others."""
        self._causes[cause] = (how, self._causes.get(cause, (how, 0))[1] + 1)
        self.connection += how == "reset"

    def heal(self, cause: str) -> None:
        """Take back one `cut` of this cause; does nothing when there is none."""
        how, count = self._causes.get(cause, ("drop", 0))
        if count > 1:
            self._causes[cause] = (how, count - 1)
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

    def fate(self, now_ns: int, size: int = 0) -> Fate:
        """Decide what becomes of the next message, of `size` bytes.

        A cut link counts it, too: the later weather stays the same.
        """
        first = self.messages * _QUESTIONS
        self.messages += 1
        if self.conditions.correlation:  # also of messages that are lost: those after them are to stay the same
            self._last_unit = correlated(
                self._stream.unit_at(first + _LATENCY), self._last_unit, self.conditions.correlation
            )
        if self._causes:
            how = self.how
            if how != "hold":
                return _DROPPED_RESET if how == "reset" else _DROPPED_CUT
        conditions, unit_at = self.conditions, self._stream.unit_at
        if conditions.bandwidth:
            waiting_ns = max(self._busy_until_ns - now_ns, 0)
            if waiting_ns * conditions.bandwidth + size * 1e9 > conditions.queue_bytes * 1e9:
                return _DROPPED_QUEUE
            now_ns += waiting_ns + round(size * 1e9 / conditions.bandwidth)
            self._busy_until_ns = now_ns
        # Questions with a certain answer are not asked. Ordinals are fixed, so this changes nothing but speed.
        if conditions.loss and unit_at(first + _LOST) < conditions.loss:
            return _DROPPED_LOSS
        at_ns = now_ns + self._latency_ns(first + _LATENCY)
        reordered = conditions.reordering > 0 and unit_at(first + _REORDERED) < conditions.reordering
        if reordered:
            at_ns += round(conditions.reordering_s * 1e9)
        copies_at_ns: tuple[int, ...] = ()
        if conditions.duplication and unit_at(first + _DUPLICATED) < conditions.duplication:
            later_ns = now_ns + round(conditions.duplication_s * 1e9)
            copies_at_ns = (later_ns + self._latency_ns(first + _COPY_LATENCY),)
        corrupted = None
        if conditions.corruption and unit_at(first + _CORRUPTED) < conditions.corruption:
            corrupted = unit_at(first + _PLACE)
        return Deliver(at_ns, copies_at_ns, corrupted, reordered)

    def _latency_ns(self, ordinal: int) -> int:
        latency = self.conditions.latency
        if isinstance(latency, ConstantLatency):
            return latency.sample_ns(0.0)
        return latency.sample_ns(self._last_unit if self.conditions.correlation else self._stream.unit_at(ordinal))
