"""Archive: the folder that a campaign leaves behind, and from which it goes on.

Layer: simulator/experiment. In `runs/20261123-161203/`: `campaign.json` says what was asked for, `results.jsonl` has
one line per seed, appended as soon as it is known, `fail-000417.json` is the (shrunk) plan of a failure and
`fail-000417.full.json` the plan as it was drawn. `runs/latest` is a link to the newest. Start at `Archive.begin`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

import msgspec

from simulator.errors import NoCampaignError
from simulator.experiment.trial import Task, Trial

VERSION: Final = 1
LATEST: Final = "latest"
_NAMESAKES_MAX: Final = 1000


@final
class Campaign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked for.

    Attributes:
        version: of this format.
        seed: the first; the others follow it.
        trials: how many.
        task: what is tried with each.
    """

    version: int = VERSION
    seed: int
    trials: int
    task: Task


@final
class Archive:
    """The folder of one campaign.

    Attributes:
        folder: where it is.
        campaign: what was asked for.
    """

    def __init__(self, folder: Path, campaign: Campaign) -> None:
        self.folder = folder
        self.campaign = campaign
        self._results = folder / "results.jsonl"

    @staticmethod
    def begin(runs: Path, name: str, campaign: Campaign) -> "Archive":
        """Make a new folder below `runs`, and let `runs/latest` point to it.

        Raises:
            OSError: it cannot be made.
        """
        for number in range(1, _NAMESAKES_MAX):
            folder = runs / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            break
        else:
            raise NoCampaignError(runs / name, f"{_NAMESAKES_MAX} of this name are there already")
        (folder / "campaign.json").write_bytes(msgspec.json.format(msgspec.json.encode(campaign), indent=1))
        new = runs / f"{LATEST}-{folder.name}"
        new.symlink_to(folder.name)
        new.replace(runs / LATEST)
        return Archive(folder, campaign)

    @staticmethod
    def load(folder: Path) -> "Archive":
        """The campaign in a folder.

        Raises:
            NoCampaignError: there is none.
        """
        if folder.is_symlink():
            folder = folder.parent / folder.readlink()  # `latest` will be another one soon
        file = folder / "campaign.json"
        try:
            campaign = msgspec.json.decode(file.read_bytes(), type=Campaign)
        except OSError as error:
            raise NoCampaignError(folder, f"{file.name} cannot be read: {error.strerror}") from None
        except msgspec.DecodeError as error:
            raise NoCampaignError(folder, f"{file.name} is none: {error}") from None
        if campaign.version != VERSION:
            raise NoCampaignError(folder, f"{file.name} is of version {campaign.version}, only {VERSION} is known")
        return Archive(folder, campaign)

    def trials(self) -> Iterator[Trial]:
        """What is known, in the order in which it became known; a last line that was cut off is not.

        Raises:
            NoCampaignError: a line is no trial.
        """
        try:
            with self._results.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.endswith(b"\n"):
                        yield self._decode(number, line)
        except FileNotFoundError:
            return

    def missing(self, known: Callable[[int], bool]) -> Iterator[int]:
        """Seeds that are not known yet."""
        first = self.campaign.seed
        return (seed for seed in range(first, first + self.campaign.trials) if not known(seed))

    def mend(self) -> None:
        """Cut off a last line that is not whole, so that lines can follow."""
        try:
            with self._results.open("rb+") as file:
                whole = 0
                for line in file:
                    whole += len(line) if line.endswith(b"\n") else 0
                file.truncate(whole)
        except FileNotFoundError:
            return

    def add(self, trial: Trial) -> None:
        """Keep a trial, and the plans of one that failed."""
        if trial.plan is not None:
            file = self.plan_file(trial)
            if trial.shrunk is not None:
                file.write_bytes(trial.shrunk.plan.to_json())
                file = file.with_suffix(".full.json")
            file.write_bytes(trial.plan.to_json())
        with self._results.open("ab") as results:
            results.write(msgspec.json.encode(trial) + b"\n")

    def plan_file(self, trial: Trial) -> Path:
        """Where the plan of a failure is."""
        return self.folder / f"fail-{trial.seed:06d}.json"

    def _decode(self, number: int, line: bytes) -> Trial:
        try:
            return msgspec.json.decode(line, type=Trial)
        except msgspec.DecodeError as error:
            raise NoCampaignError(self.folder, f"{self._results.name} line {number} is no trial: {error}") from None
