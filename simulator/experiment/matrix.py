"""Matrix: which mutants are killed, by whom, and which faults that takes.

Layer: simulator/experiment. A checker that nobody saw fail is decoration. Every seed is played once as it is and
once with each mutant, in each column, which says what kinds of faults its plans may have. A plan kills a mutant if the
mutant made a difference (its marker), one of the checkers that may see it fired, and the plan is fine without it. Rare
mutants have plans of their own in the column `directed`. Start at `play`, then `Line.of`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, final

import msgspec

from simulator.errors import NoCampaignError
from simulator.experiment.draw import NEMESES, draw
from simulator.experiment.examination import examine
from simulator.experiment.mutants.catalogue import MUTANTS
from simulator.experiment.mutants.mutant import Mutant
from simulator.experiment.plan import Plan

LIVENESS_S: Final = 90.0
"""How long members may take to become equal: enough for every plan without mutants, and no longer than that."""
PARTITIONS: Final = ("partition", "one_way", "hold", "reset", "ring", "smallest_cut", "flap", "swizzle")
NETWORK: Final = (*PARTITIONS, "slow", "lose", "duplicate", "reorder", "corrupt", "throttle", "weather", "edges")
COLUMNS: Final = {"partitions": PARTITIONS, "network": NETWORK, "everything": NEMESES}
"""Column -> the kinds of faults that its plans may have."""
DIRECTED: Final = "directed"
_NAMED: Final = {mutant.name: mutant for mutant in MUTANTS}


@final
class Cell(msgspec.Struct, frozen=True):
    """A plan that is played as it is and with each mutant.

    Attributes:
        column: which kinds of faults it may have; `directed` = it is the first mutant's own.
        seed: draws it.
        mutants: by name.
    """

    column: str
    seed: int
    mutants: tuple[str, ...]

    def __str__(self) -> str:
        """How people call it."""
        return f"plan {self.seed} of {self.column}"

    @property
    def plan(self) -> Plan:
        """What is played."""
        if self.column == DIRECTED:
            directed = _NAMED[self.mutants[0]].directed
            assert directed is not None, "only those that have one are in that column"
            return directed()
        return msgspec.structs.replace(draw(self.seed, nemeses=COLUMNS[self.column]), liveness_s=LIVENESS_S)


@final
class Shot(msgspec.Struct, frozen=True):
    """What became of one mutant in one plan.

    Attributes:
        mutant: which.
        marked: how often it made a difference.
        checkers: who fired.
        killed: whether one of those fired that may see it, and the plan is fine without it.
    """

    mutant: str
    marked: int
    checkers: tuple[str, ...]
    killed: bool


@final
class Played(msgspec.Struct, frozen=True):
    """A cell that was played.

    Attributes:
        cell: which.
        alarms: who fired without any mutant; nobody should.
        shots: with each mutant.
    """

    cell: Cell
    alarms: tuple[str, ...]
    shots: tuple[Shot, ...]


@final
class Line(msgspec.Struct, frozen=True):
    """A line of the matrix.

    Attributes:
        mutant: its name.
        breaks: the guarantee it breaks.
        wrong: what is wrong, in a sentence.
        takes: kinds of faults that it takes, as its author believes; empty = none.
        first: column -> first seed that kills it.
        kills: column -> how many seeds do.
        marked: in how many plans it made a difference.
        checkers: checker -> how many kills it had a part in, the expected ones only, most first.
    """

    mutant: str
    breaks: str
    wrong: str
    takes: tuple[str, ...]
    first: dict[str, int]
    kills: dict[str, int]
    marked: int
    checkers: dict[str, int]

    @property
    def killed(self) -> bool:
        """Whether any plan kills it."""
        return any(self.kills.values())

    @staticmethod
    def of(mutant: Mutant, played: Iterable[Played]) -> "Line":
        """What the cells say of a mutant."""
        first: dict[str, int] = {}
        kills: dict[str, int] = {}
        checkers: dict[str, int] = {}
        marked = 0
        for each in sorted(played, key=lambda each: each.cell.seed):
            column = each.cell.column
            for shot in each.shots:
                if shot.mutant != mutant.name:
                    continue
                marked += shot.marked > 0
                kills[column] = kills.get(column, 0) + shot.killed
                if shot.killed:
                    first.setdefault(column, each.cell.seed)
                    for checker in shot.checkers:
                        if checker in mutant.checkers:
                            checkers[checker] = checkers.get(checker, 0) + 1
        by_kills = dict(sorted(checkers.items(), key=lambda item: (-item[1], item[0])))
        return Line(
            mutant=mutant.name,
            breaks=mutant.breaks,
            wrong=mutant.wrong,
            takes=mutant.nemeses,
            first=first,
            kills=kills,
            marked=marked,
            checkers=by_kills,
        )


def play(cell: Cell) -> Played:
    """Play a cell as it is, and with each of its mutants."""
    plan = cell.plan
    alarms = _fired(plan)
    shots: list[Shot] = []
    for name in cell.mutants:
        mutant = _NAMED[name]
        with mutant.planted() as mark:
            checkers = _fired(plan)
        seen = any(checker in mutant.checkers for checker in checkers)
        shots.append(Shot(name, mark.count, checkers, mark.count > 0 and seen and not alarms))
    return Played(cell, alarms, tuple(shots))


def cells(mutants: tuple[Mutant, ...], columns: Iterable[str], seeds: int) -> list[Cell]:
    """All cells, those of one seed together; first the directed plans."""
    drawn = tuple(mutant.name for mutant in mutants if not mutant.costly)
    directed = [Cell(DIRECTED, mutant.directed().seed, (mutant.name,)) for mutant in mutants if mutant.directed]
    return directed + [Cell(column, seed, drawn) for seed in range(seeds) for column in columns if drawn]


@final
class Folder:
    """Where the cells of a matrix are kept, one per line, as soon as they are played."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._file = folder / "matrix.jsonl"

    def add(self, played: Played) -> None:
        """Keep a cell.

        Raises:
            NoCampaignError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                file.write(msgspec.json.encode(played) + b"\n")
        except OSError as error:
            raise NoCampaignError(self.path, f"{self._file.name} cannot be written: {error.strerror}") from None

    def played(self) -> Iterator[Played]:
        """The cells that are there; the line that was cut off when a run was stopped is not.

        Raises:
            NoCampaignError: a line is no cell.
        """
        try:
            lines = self._file.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                self._file.write_bytes(b"".join(lines[:-1]))
                return
            try:
                yield msgspec.json.decode(line, type=Played)
            except msgspec.DecodeError as error:
                raise NoCampaignError(self.path, f"{self._file.name} line {number} is no cell: {error}") from None


def _fired(plan: Plan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(violation.checker for violation in examine(plan).violations))
