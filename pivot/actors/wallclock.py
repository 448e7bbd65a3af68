"""Wall clock: the one file that reads the time of day; a seam at which tests skew it.

Layer: actors.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

WallClock: TypeAlias = Callable[[], int]
"""Gives the wall time, ns since the Unix epoch; may step back."""


def system_clock() -> int:
    """The operating system's wall clock."""
    return time.time_ns()
