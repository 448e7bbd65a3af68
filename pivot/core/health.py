"""HealthBehaviour: suspects peers that fall silent.

Layer: core (pure). Theory of operation:

Each watched peer has an adaptive limit of silence: mean gap between signs of life plus four times its mean deviation
(the estimator of TCP's retransmission timer, RFC 6298), kept within `silence_s_min` and `silence_s_max`. A check runs
twice per heartbeat. When a check itself comes late, our own loop was stalled and everybody seems silent; then every
peer is given that time back and nobody is suspected for our own fault.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from pivot.config import Knobs
from pivot.core.effects import Effect, SetTimer, Tell
from pivot.core.events import Enrol, Event, Heard, PeerSilent, Started, TimerFired, Unwatch
from pivot.types import Address, Now

CHECK: Final = "check"
_GAIN_MEAN: Final = 1 / 8
_GAIN_DEVIATION: Final = 1 / 4


@final
@dataclass(slots=True)
class _Pulse:
    """One peer's signs of life.

    Attributes:
        by: actor that wants to know when they stop.
        heard_s: when the last one came.
        gap_s: smoothed gap between two.
        deviation_s: smoothed deviation from it.
    """

    by: str
    heard_s: float
    gap_s: float
    deviation_s: float = 0.0


@final
class HealthBehaviour:
    """Watches peers."""

    def __init__(self, *, watchers: Iterable[str], knobs: Knobs) -> None:
        """Begin knowing nobody.

        Args:
            watchers: actors that have peers; they are asked for them at the start.
            knobs: timings and limits.
        """
        self._watchers = tuple(watchers)
        self._knobs = knobs
        self._pulses: dict[Address, _Pulse] = {}
        self._checked_s = 0.0

    def step(self, now: Now, event: Event) -> list[Effect]:
        """See `Behaviour.step`."""
        match event:
            case Started():
                self._checked_s = now.monotonic_s
                return [*(Tell(actor, Enrol()) for actor in self._watchers), self._timer()]
            case TimerFired():
                return [*self._check(now), self._timer()]
            case Unwatch():
                self._pulses.pop(event.peer, None)
            case Heard():
                self._heard(now, event)
            case _:
                pass
        return []

    def limit_s(self, peer: Address) -> float:
        """How long a watched peer may be silent."""
        pulse = self._pulses[peer]
        limit = pulse.gap_s + 4 * pulse.deviation_s
        return min(max(limit, self._knobs.silence_s_min), self._knobs.silence_s_max)

    def _heard(self, now: Now, event: Heard) -> None:
        pulse = self._pulses.get(event.peer)
        if pulse is None:
            self._pulses[event.peer] = _Pulse(event.by, now.monotonic_s, self._knobs.heartbeat_s)
            return
        gap = now.monotonic_s - pulse.heard_s
        pulse.deviation_s += _GAIN_DEVIATION * (abs(gap - pulse.gap_s) - pulse.deviation_s)
        pulse.gap_s += _GAIN_MEAN * (gap - pulse.gap_s)
        pulse.heard_s = now.monotonic_s

    def _check(self, now: Now) -> list[Effect]:
        late = now.monotonic_s - self._checked_s - self._period_s
        self._checked_s = now.monotonic_s
        effects: list[Effect] = []
        for peer, pulse in list(self._pulses.items()):
            if late > self._period_s:
                pulse.heard_s += late
            silent, limit = now.monotonic_s - pulse.heard_s, self.limit_s(peer)
            if silent > limit:
                del self._pulses[peer]
                effects.append(Tell(pulse.by, PeerSilent(peer, silent, limit)))
        return effects

    @property
    def _period_s(self) -> float:
        return self._knobs.heartbeat_s / 2

    def _timer(self) -> SetTimer:
        return SetTimer(CHECK, self._period_s, self._period_s)
