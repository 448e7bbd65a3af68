"""Entropy: where members get chance from; the one file that owns real randomness.

Layer: actors. The simulator has an `Entropy` of its own, drawn from the seed.
"""

import random
import secrets
from typing import Protocol, final


class Entropy(Protocol):
    """Chance."""

    def new_id(self) -> str:
        """A name that was never used before: 16 hex digits."""
        ...

    def uniform(self, least: float, most: float) -> float:
        """A number in [least, most]; spreads timers so that members do not act in step."""
        ...


@final
class SystemEntropy:
    """Chance from the operating system."""

    def new_id(self) -> str:
        """See `Entropy.new_id`."""
        return secrets.token_hex(8)

    def uniform(self, least: float, most: float) -> float:
        """See `Entropy.uniform`."""
        return random.uniform(least, most)  # noqa: S311 - spreads timers, guards nothing
