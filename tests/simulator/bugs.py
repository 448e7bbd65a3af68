"""Bugs that worker processes can plant, by name: `tests.simulator.bugs:a_reset_is_ignored` and so on."""

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import pytest

from simulator.experiment import trial
from simulator.experiment.examination import Examination
from simulator.experiment.plan import Plan
from simulator.runtimes.base import RuntimeName
from tests.core import planted

DEADLY_SEED = 3


@contextmanager
def _planted(plant: Callable[[pytest.MonkeyPatch], None]) -> Generator[None, None, None]:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        yield


def a_reset_is_ignored() -> AbstractContextManager[None]:
    return _planted(planted.a_reset_is_ignored)


def one_seed_kills_its_worker() -> AbstractContextManager[None]:
    examine = trial.examine

    def deadly(plan: Plan, *, runtime: RuntimeName) -> Examination:
        if plan.seed == DEADLY_SEED:
            os._exit(1)
        return examine(plan, runtime=runtime)

    return _planted(lambda patch: patch.setattr(trial, "examine", deadly))
