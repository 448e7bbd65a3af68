"""Errors of the simulator: what can go wrong with an experiment, as opposed to inside one.

Layer: simulator (bottom). A branch of the tree in `pivot.errors`.

    SimulationError
    |-- SimulationDeadlockError      every task waits and nothing will ever happen
    |-- TooManyEventsError           a run does more than its limit: events, or events or turns at one instant
    |-- OutOfTimeError               virtual time passed its limit before the run was finished
    |-- NestedRunError               a run was started inside a Trio run
    |-- TrioMovedError               Trio no longer has a seam that virtual time needs
    |-- UnknownMemberError           a verb named a member that the topology does not have
    |-- BadTopologyError             a topology or a partition contradicts itself
    |-- BadConditionsError           a latency or probability that cannot be
    |-- BadPlanError                 a plan that cannot be played
    |-- UnknownBugError              no bug of this name can be planted
    |-- NoCampaignError              a folder does not hold a campaign
    |-- FigureError                  a picture or a table of a run cannot be made
    |-- ExplorationError             states of a plan cannot be told apart
    |-- CrewError                    trials cannot be played the way it was asked for
    |-- CrewUnreachableError         the cluster that should play them does not answer
    `-- LiveClusterError             real processes did not do what a plan needs

Messages name the thing, the value and the limit.
"""

import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from pivot.errors import MisuseError, PivotError, TransportError


class SimulationError(PivotError):
    """Everything the simulator raises on purpose."""


class SimulationDeadlockError(SimulationError):
    """Every task waits, and no event and no deadline will ever wake one.

    Attributes:
        time_ns: virtual time at which it was noticed.
        waiting: the waiting tasks, each with the place where it waits; sorted.
    """

    def __init__(self, *, time_ns: int, waiting: tuple[str, ...]) -> None:
        super().__init__(
            f"deadlock at {time_ns / 1e9:.9f} s of virtual time: {len(waiting)} tasks wait and nothing is scheduled "
            f"(threads and real I/O do not count): {_some(waiting)}"
        )
        self.time_ns = time_ns
        self.waiting = waiting


class TooManyEventsError(SimulationError):
    """A run did as much as its limit allows and wants more: probably something starts itself again without end.

    Attributes:
        number: how many there were.
        limit: how many were allowed.
        time_ns: virtual time by then.
    """

    def __init__(self, what: str, *, limit: int, time_ns: int) -> None:
        number = limit + 1
        super().__init__(f"{what} number {number} at {time_ns / 1e9:.9f} s of virtual time, the limit is {limit}")
        self.number = number
        self.limit = limit
        self.time_ns = time_ns


class OutOfTimeError(SimulationError):
    """Virtual time passed its limit before the run was finished."""

    def __init__(self, *, next_ns: int, until_ns: int) -> None:
        super().__init__(
            f"not finished at {until_ns / 1e9:.9f} s of virtual time, the limit; "
            f"the next thing would happen at {next_ns / 1e9:.9f} s"
        )


class NestedRunError(SimulationError):
    """A run was started inside a Trio run."""

    def __init__(self) -> None:
        super().__init__("a simulated run cannot start inside a Trio run: call it from plain code or a notebook cell")


class TrioMovedError(SimulationError):
    """This version of Trio lacks a seam that virtual time needs."""

    def __init__(self, seam: str, version: str) -> None:
        super().__init__(f"Trio {version} has no {seam}, which virtual time needs")


class UnknownMemberError(SimulationError):
    """Somebody named a member that the topology does not have."""

    def __init__(self, member: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no member {member!r} in this topology; {len(known)} are known: {_some(known)}")


class BadTopologyError(SimulationError):
    """A topology or a partition contradicts itself."""


class BadConditionsError(SimulationError, ValueError):
    """A latency or a probability cannot be what it was set to.

    A `ValueError`, too, so that msgspec reports it with its place in a plan when it decodes one.
    """

    def __init__(self, name: str, value: float, allowed: str) -> None:
        super().__init__(f"{name} is {value!r}, allowed: {allowed}")


def _some(names: Iterable[str]) -> str:
    """Name at most ten, and say how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    return ", ".join(listed[:10]) + more


class BadPlanError(SimulationError, MisuseError):
    """A plan cannot be played.

    Attributes:
        path: the wrong field.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"plan: {path} {reason}")
        self.path = path


class UnknownBugError(SimulationError, MisuseError):
    """No bug of this name can be planted."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"bug {name!r} is not the name of one, module:function: {reason}")


class NoCampaignError(SimulationError, MisuseError):
    """A folder does not hold a campaign that can be read."""

    def __init__(self, folder: object, reason: str) -> None:
        super().__init__(f"no campaign in {folder}: {reason}")


class FigureError(SimulationError, MisuseError):
    """A picture or a table of a run cannot be made; says what is missing."""


class ExplorationError(SimulationError):
    """The states of a plan cannot be told apart, so that its schedules cannot be explored."""


class CrewError(SimulationError, MisuseError):
    """Nobody can play trials the way it was asked for."""


class CrewUnreachableError(SimulationError, TransportError):
    """A cluster that should play trials does not answer."""


class LiveClusterError(SimulationError):
    """Real processes did not do what a plan needs."""


def crash_site(error: BaseException) -> str:
    """What went wrong, what was first wrong, and where, in one line; of a group of exceptions the first."""
    chain: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and not any(inner is each for each in chain):  # a chain may bite its own tail
        if isinstance(inner, BaseExceptionGroup):
            inner = cast("BaseExceptionGroup[BaseException]", inner).exceptions[0]
        else:
            chain.append(inner)
            inner = inner.__cause__ or inner.__context__
    frames = traceback.extract_tb(chain[-1].__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    first = f", first {chain[-1]!r}" if len(chain) > 1 else ""
    return f"{chain[0]!r}{first}{place}"
