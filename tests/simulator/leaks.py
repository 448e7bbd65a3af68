"""Leaks: each lets something into a run that is no function of its plan; named `tests.simulator.leaks:clock` and so on.

Every leak moves the stamps that a clock gives out by something that must not matter. Its line ends in `# leak`.
"""

import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import pytest

from pivot.core.clock import HybridClock
from simulator.experiment.planting import planted

Leak = AbstractContextManager[None]


@contextmanager
def _moved(by: Callable[[], int]) -> Generator[None, None, None]:
    tick = HybridClock.tick

    def moved(clock: HybridClock, *, wall_ns: int, above: int = 0) -> int:
        extra = by()
        return tick(clock, wall_ns=wall_ns + extra, above=above)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HybridClock, "tick", moved)
        yield


def clock() -> Leak:
    def by() -> int:
        return time.perf_counter_ns() % 1000  # leak

    return _moved(by)


def chance() -> Leak:
    def by() -> int:
        number = random.random()  # leak
        return int(number * 1000)

    return _moved(by)


def set_order() -> Leak:
    def by() -> int:
        names = {"leader", "n1", "n2", "n3"}
        for place, name in enumerate(names):  # leak
            if name == "leader":
                return place
        return 0

    return _moved(by)


def identity() -> Leak:
    def by() -> int:
        thing = object()
        return id(thing) // 16 % 1000  # leak

    return _moved(by)


def thread() -> Leak:
    def by() -> int:
        enough = threading.Event()
        counted: list[int] = []

        def count() -> None:
            while not enough.is_set():
                counted.append(1)

        counter = threading.Thread(target=count)
        counter.start()
        enough.set()
        counter.join()
        return len(counted)  # leak

    return _moved(by)


@contextmanager
def clock_and_a_bug() -> Generator[None, None, None]:
    """A leak in runs that also fail."""
    with planted("tests.simulator.bugs:a_reset_is_ignored"), clock():
        yield
