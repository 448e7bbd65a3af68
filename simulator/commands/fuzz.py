"""Fuzz: a campaign on the terminal: progress, failures as they come, what was reached.

Layer: simulator (edge). Data goes to stdout, talk to stderr. Exit codes: 0 nothing found, 1 something found.
Start at `fuzz`.
"""

import json
from pathlib import Path
from typing import Final, final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from simulator.errors import BadPlanError
from simulator.experiment.archive import Archive, Campaign
from simulator.experiment.campaign import run
from simulator.experiment.crew import Crew, Dask, Processes
from simulator.experiment.draw import NEMESES
from simulator.experiment.recipe import counted, replay_command
from simulator.experiment.shrink import Bounds
from simulator.experiment.tally import Tally
from simulator.experiment.trial import NO_BOUNDS, Trial
from simulator.experiment.trial import Task as TrialTask
from simulator.runtimes.base import RuntimeName
from simulator.stopwatch import date_and_time

FAILURES_SHOWN_MAX: Final = 20


@final
class FuzzOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says.

    Attributes:
        trials: how many plans.
        seed: of the first.
        nodes: how many nodes each has; None = 1 to 4.
        nemesis: kinds of faults, comma separated; None = all.
        runtime: what plans are played on.
        bug: name of a bug to plant; empty = none.
        shrink: whether failures are shrunk.
        runs: folder for campaigns.
        resume: campaign to go on with; None = a new one.
        workers: how many processes; None = as many as cores.
        dask: address of a Dask cluster that plays instead; None = none.
        as_json: whether to print for machines.
    """

    trials: int
    seed: int
    nodes: int | None
    nemesis: str | None
    runtime: RuntimeName
    bug: str
    shrink: bool
    runs: Path
    resume: Path | None
    workers: int | None
    dask: str | None
    as_json: bool


def fuzz(options: FuzzOptions) -> int:
    """Play drawn plans, check each, shrink and save those that fail.

    Raises:
        BadPlanError: a number or a kind of fault cannot be.
        NoCampaignError: there is none to go on with.
        CrewError: the cluster cannot be used.
        KeyboardInterrupt: Ctrl-C; results so far are kept.
    """
    archive = _archive(options)
    tally = Tally()
    known: dict[int, None] = {}
    archive.mend()
    for trial in archive.trials():
        known[trial.seed] = None
        tally.add(trial)
    crew: Crew = Dask(options.dask) if options.dask is not None else Processes(options.workers)
    screen = _Screen(archive, tally, as_json=options.as_json)
    try:
        with screen.progress():
            run(archive, crew, known=known.__contains__, on_trial=screen.show)
    except KeyboardInterrupt:
        screen.say(f"interrupted; {tally.trials} of {archive.campaign.trials} are kept")
        screen.say(f"  go on:  pivot sim fuzz --resume {archive.folder}")
        raise
    screen.finish()
    return 1 if tally.failed else 0


def nemeses_of(text: str | None) -> tuple[str, ...]:
    """Kinds of faults, comma separated; None = all.

    Raises:
        BadPlanError: one of them is unknown.
    """
    kinds = NEMESES if text is None else tuple(kind for kind in text.split(",") if kind)
    for kind in kinds:
        if kind not in NEMESES:
            raise BadPlanError("nemesis", f"is {kind!r}, known are {', '.join(NEMESES)}")
    return kinds


def _archive(options: FuzzOptions) -> Archive:
    if options.resume is not None:
        return Archive.load(options.resume)
    if options.trials < 1:
        raise BadPlanError("trials", f"is {options.trials}, it must be at least 1")
    if options.workers is not None and options.workers < 1:
        raise BadPlanError("workers", f"is {options.workers}, it must be at least 1")
    task = TrialTask(
        nodes=options.nodes,
        nemeses=nemeses_of(options.nemesis),
        shrinking=NO_BOUNDS if options.shrink else Bounds(tries=0),
        runtime=options.runtime,
        bug=options.bug,
    )
    task.plan(options.seed)  # refuses what cannot be before anything is begun
    campaign = Campaign(seed=options.seed, trials=options.trials, task=task)
    return Archive.begin(options.runs, date_and_time(), campaign)


class _Rate(ProgressColumn):
    """Trials per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("? trials/s" if speed is None else f"{speed:.3g} trials/s")


@final
class _Screen:
    """What is seen of a campaign while it runs."""

    def __init__(self, archive: Archive, tally: Tally, *, as_json: bool) -> None:
        self._archive = archive
        self._tally = tally
        self._as_json = as_json
        self._console = Console(stderr=True)
        columns = (
            TextColumn("fuzz"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            _Rate(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=self._console)
        self._bar = self._progress.add_task("", total=archive.campaign.trials, completed=tally.trials)
        self._describe()

    def progress(self) -> Progress:
        """The bar, as a context."""
        return self._progress

    def show(self, trial: Trial) -> None:
        """One more result."""
        self._tally.add(trial)
        if trial.failed:
            if self._as_json:
                print(json.dumps(self._as_object(trial)), flush=True)
            if self._tally.failed <= FAILURES_SHOWN_MAX:
                self._show_failure(trial)
            elif self._tally.failed == FAILURES_SHOWN_MAX + 1:
                self.say(f"more failures are in {self._archive.folder}; they are counted here")
        self._describe()
        self._progress.advance(self._bar)

    def finish(self) -> None:
        """All are there."""
        tally, campaign = self._tally, self._archive.campaign
        if self._as_json:
            print(
                json.dumps(
                    {
                        "folder": str(self._archive.folder),
                        "trials": tally.trials,
                        "seed": campaign.seed,
                        "failed": tally.failed,
                        "verdicts": tally.verdicts,
                        "reached": dict(sorted(tally.reached.items())),
                    }
                )
            )
            return
        self.say("reached: " + ", ".join(f"{what} {count}" for what, count in sorted(tally.reached.items())))
        last = campaign.seed + campaign.trials - 1
        print(f"{tally.trials} plans, seeds {campaign.seed} to {last}: {tally.failed} failures")
        self.say(f"  report:  pivot sim report {self._archive.folder}")

    def say(self, text: str) -> None:
        """One line of talk."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _describe(self) -> None:
        self._progress.update(self._bar, description=f"{self._tally.failed} failures")

    def _show_failure(self, trial: Trial) -> None:
        assert trial.symptom is not None, "it failed"
        sentence = trial.sentence if trial.shrunk is None else trial.shrunk.sentence
        self.say(f"FAIL seed={trial.seed}  {trial.symptom.checker}: {sentence}")
        if trial.plan is None:
            self.say(f"  reproduce:  pivot sim run --seed {trial.seed}{self._flags()}")
            return
        file = self._archive.plan_file(trial)
        if trial.shrunk is not None:
            self.say(f"  {counted(trial.shrunk)}   {file}")
        self.say(f"  reproduce:  {replay_command(file)}")

    def _flags(self) -> str:
        task = self._archive.campaign.task
        nodes = "" if task.nodes is None else f" --nodes {task.nodes}"
        return nodes if task.nemeses == NEMESES else f"{nodes} --nemesis {','.join(task.nemeses)}"

    def _as_object(self, trial: Trial) -> dict[str, object]:
        assert trial.symptom is not None, "it failed"
        return {
            "seed": trial.seed,
            "verdict": trial.verdict,
            "checker": trial.symptom.checker,
            "key": trial.symptom.key,
            "what": trial.sentence if trial.shrunk is None else trial.shrunk.sentence,
            "plan": None if trial.plan is None else str(self._archive.plan_file(trial)),
            "events": None if trial.shrunk is None else len(trial.shrunk.plan.steps),
        }
