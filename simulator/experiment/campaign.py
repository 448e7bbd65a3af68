"""Campaign: many seeds, played wherever there is room for them, each result kept as soon as it is there.

Layer: simulator/experiment. Start at `run`. At most twice as many trials as the crew plays at a time are under way. A
worker that dies takes its executor with it, and with that everything that was under way: a new executor then plays
those seeds one at a time, so that the one that kills its worker is known, is reported, and the campaign goes on.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import Final, final

from simulator.experiment.archive import Archive
from simulator.experiment.crew import Crew
from simulator.experiment.trial import Task, Trial, try_seed

_UNDER_WAY: Final = 2
"""Trials per place of the crew, so that a place that gets free has the next at once."""


def run(archive: Archive, crew: Crew, *, known: Callable[[int], bool], on_trial: Callable[[Trial], None]) -> None:
    """Try all seeds of a campaign that are not known.

    Args:
        archive: where results are kept.
        crew: who plays.
        known: seeds to leave out.
        on_trial: called with each result, after it is kept.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was done by then is kept.
    """
    _Running(archive, crew, on_trial).run(archive.missing(known))


def run_here(archive: Archive) -> None:
    """Try all seeds of a campaign, one after another, in this process: for a few of them, in a notebook."""
    for seed in archive.missing(lambda _: False):
        archive.add(try_seed(archive.campaign.task, seed))


@final
class _Running:
    def __init__(self, archive: Archive, crew: Crew, on_trial: Callable[[Trial], None]) -> None:
        self._archive = archive
        self._crew = crew
        self._on_trial = on_trial
        self._under_way: dict[Future[Trial], int] = {}
        self._executor: Executor = crew.open()

    def run(self, seeds: Iterator[int]) -> None:
        try:
            while self._submit(seeds):
                wait(self._under_way, return_when=FIRST_COMPLETED)
                suspects = self._collect()
                if suspects:
                    self._interrogate(suspects)
        except BaseException:
            self._collect()
            self._crew.abandon(self._executor)
            raise
        else:
            self._executor.shutdown()
        finally:
            self._crew.close()

    def _submit(self, seeds: Iterator[int]) -> bool:
        """Keep everybody busy; False when nothing is left to do."""
        while len(self._under_way) < self._crew.size * _UNDER_WAY:
            seed = next(seeds, None)
            if seed is None:
                break
            self._under_way[self._start(seed)] = seed
        return bool(self._under_way)

    def _start(self, seed: int) -> Future[Trial]:
        task: Task = self._archive.campaign.task
        try:
            return self._executor.submit(try_seed, task, seed)
        except BrokenExecutor as error:  # it broke after we looked
            failed: Future[Trial] = Future()
            failed.set_exception(error)
            return failed

    def _collect(self) -> list[int]:
        """Keep what is done; returns the seeds whose worker, or that of another, died."""
        suspects: list[int] = []
        for future in [future for future in self._under_way if future.done()]:
            seed = self._under_way.pop(future)
            if future.cancelled() or isinstance(future.exception(), BrokenExecutor):
                suspects.append(seed)
            else:
                self._keep(_result(future, seed))
        return suspects

    def _interrogate(self, suspects: list[int]) -> None:
        """An executor broke: play what was under way one by one in new ones."""
        wait(self._under_way)
        suspects += self._collect()
        self._renew()
        for seed in sorted(suspects):
            future = self._start(seed)
            wait([future])
            self._keep(_result(future, seed))
            if isinstance(future.exception(), BrokenExecutor):
                self._renew()

    def _renew(self) -> None:
        self._crew.abandon(self._executor)
        self._executor = self._crew.open()

    def _keep(self, trial: Trial) -> None:
        self._archive.add(trial)
        self._on_trial(trial)


def _result(future: Future[Trial], seed: int) -> Trial:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenExecutor):
        return Trial.died(seed, "the worker that played it died")
    return Trial.died(seed, f"the worker that played it failed: {type(error).__name__}: {error}"[:500])
