"""Stopwatch: real time, for bounds and names of work around runs; the one file of the simulator that reads it.

Layer: simulator (bottom). What happens inside a run never depends on it.
"""

import time
from typing import final


@final
class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long it has run, s."""
        return time.perf_counter() - self._begin


def date_and_time() -> str:
    """Now, local time, as a name that sorts: `20261123-161203`."""
    return time.strftime("%Y%m%d-%H%M%S")
