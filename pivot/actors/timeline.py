"""Timeline: the one ordering point through which everything reaches a mailbox, and the only way to wait.

Layer: actors (Trio-free). On a real member a timeline is Trio's clock (`trio_timeline`); in the simulator it is one
heap ordered by (time, sequence), so that the same deliveries happen in the same order in every run.
"""

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that was scheduled and can be taken back."""

    def cancel(self) -> None:
        """Make the call not happen; does nothing when it already did."""
        ...


class Timeline(Protocol):
    """Runs calls one after another, each at its time; calls of equal time in the order they were scheduled."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never steps back."""
        ...

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run `call` now or at the next turn, after everything scheduled earlier for this instant."""
        ...

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Run `call` once, `delay_s` seconds from now (negative counts as 0)."""
        ...
