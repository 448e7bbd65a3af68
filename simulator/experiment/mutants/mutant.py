"""Mutant: one bug that can be planted at a seam, a mark that says whether it made a difference, and who must see it.

Layer: simulator/experiment/mutants. A checker nobody saw fail is decoration, and so is a mutant that never diverged: a
plan kills a mutant if the mutant was marked in it, the expected checker fired, and the same plan is fine without it.
Start at `Mutant.planted`.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, final

from simulator.experiment.checkers.violation import Violation
from simulator.experiment.plan import Plan


@final
class Mark:
    """Counts how often a mutant decided otherwise than the code that it stands for."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, diverged: object = True) -> None:  # noqa: FBT002 - "note it", or "note whether"
        """It did so just now, if this is true."""
        self.count += bool(diverged)


class Seams(Protocol):
    """Where bugs are planted: attributes of classes and modules that can be replaced. A `MonkeyPatch` is one, too."""

    def setattr(self, seam: object, name: str, new: object, /) -> None:
        """Let `seam.name` be something else."""
        ...


@final
class Patch:
    """Replaces attributes of classes and modules, and puts them back."""

    def __init__(self) -> None:
        self._before: list[tuple[object, str, object]] = []

    def setattr(self, seam: object, name: str, new: object, /) -> None:
        """See `Seams.setattr`; until `undo`.

        Raises:
            AttributeError: there is no such seam.
        """
        self._before.append((seam, name, getattr(seam, name)))
        setattr(seam, name, new)

    def undo(self) -> None:
        """Put everything back, the latest first."""
        while self._before:
            seam, name, before = self._before.pop()
            setattr(seam, name, before)


class Plant(Protocol):
    """A function that plants a bug."""

    __name__: str

    def __call__(self, seams: Seams, mark: Mark, /) -> None:
        """Plant it at its seams, and let it mark when it makes a difference."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A named bug.

    Attributes:
        plant: replaces what it must at its seams; its name is the mutant's, its docstring says what is wrong.
        breaks: the guarantee or rule of the protocol that it breaks.
        checkers: who may see it; the first is the expected one.
        nemeses: kinds of faults that it takes; empty = none.
        directed: makes a plan that kills it, for those that drawn plans seldom kill.
        costly: whether playing it takes so long that drawn plans do without it.
    """

    plant: Plant
    breaks: str
    checkers: tuple[str, ...]
    nemeses: tuple[str, ...] = ()
    directed: Callable[[], Plan] | None = None
    costly: bool = False

    @property
    def name(self) -> str:
        """How people call it."""
        return self.plant.__name__

    @property
    def wrong(self) -> str:
        """What is wrong, in a sentence."""
        return (self.plant.__doc__ or "").strip()

    @contextmanager
    def planted(self) -> Generator[Mark, None, None]:
        """Plant the bug for as long as the block runs; one at a time, for seams belong to the process."""
        patch, mark = Patch(), Mark()
        try:
            self.plant(patch, mark)
            yield mark
        finally:
            patch.undo()

    def is_seen_in(self, violations: tuple[Violation, ...]) -> bool:
        """Whether one of its checkers fired."""
        return any(violation.checker in self.checkers for violation in violations)
