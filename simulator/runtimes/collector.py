"""Collector: keeps Python's garbage collector out of a run, where its finalizers would run at any moment.

Layer: simulator (runtimes).
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Generator[None, None, None]:
    """No collection inside; afterwards it is as it was."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
