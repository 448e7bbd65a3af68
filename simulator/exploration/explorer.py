"""Explorer: every schedule of a plan within bounds, one after another, on the kernel.

Layer: simulator (exploration; Trio-free). Theory of operation, after delay-bounded scheduling (Emmi, Qadeer and
Rakamaric, POPL 2011) and stateless search with visited states (Musuvathi and Qadeer, CHESS):

A plan by itself is one schedule: events happen in the order of the heap. At every *turn* (a message arrives, a commit
ends, a client asks), from the first operation on and as long as there is anything to replicate, it can be left, by

    a delay    the event is postponed, by a little (`DELAYS_S[0]`: what is under way and the answers to it overtake it)
               or by much (`DELAYS_S[1]`: so do heartbeats, and whoever waits for it gives up and tries again)
    a fault    a message is lost or arrives twice; a member crashes and starts again, or loses its disk, too; a node is
               cut off, for longer than silence is tolerated

So a schedule is a list of deviations, and a plan: what is found is played again by `pivot sim replay`. What happens
within one process at one instant is one step, for no other event can come between on a timeline; timers are not
delayed, but whatever they race with is.

The search is breadth first, so the first violation has the fewest deviations. A schedule ends early at a turn whose
state (`fingerprint`) was met before with at least as many delays and faults left: what can follow is, or will be,
explored from there. Everything else is played to its end and judged by all checkers.

Start at `explore`; `cases` are the plans.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, final

import msgspec
from msgspec.structs import replace

from simulator.errors import ExplorationError
from simulator.experiment.checkers import Violation, check
from simulator.experiment.deviation import Deviation, LoseNext, Postpone, RepeatNext, Twist
from simulator.experiment.mutants.catalogue import planted_mutant
from simulator.experiment.operations import Crash, Isolate, Wipe
from simulator.experiment.outcome import Outcome
from simulator.experiment.plan import LEADER, Plan
from simulator.experiment.world import World, at_once_max, events_max
from simulator.exploration.fingerprint import fingerprint
from simulator.runtimes import kernel
from simulator.runtimes.base import Runtime

DELAYS_S: Final = (0.015, 1.6)
REPEATS_S: Final = 0.015
DOWN_S: Final = 0.05
"""How long a member that crashed is away."""
CUT_S: Final = 3.0
Left: TypeAlias = tuple[int, int]
"""How many delays and faults a schedule may have yet."""


@final
class Bounds(msgspec.Struct, frozen=True):
    """What is explored.

    Attributes:
        delays: most delays in one schedule.
        faults: most faults in one schedule.
        schedules: most schedules of one plan that are begun; with more to come it is not explored completely.
    """

    delays: int
    faults: int
    schedules: int


@final
class Found(msgspec.Struct, frozen=True):
    """A schedule that must not be.

    Attributes:
        plan: plays it.
        hash: of that run.
        violations: what is wrong, worst first.
    """

    plan: Plan
    hash: str
    violations: tuple[Violation, ...]


@final
class Explored(msgspec.Struct, frozen=True):
    """What came of exploring one plan.

    Attributes:
        schedules: how many were begun.
        pruned: how many of them ended at a state that was known.
        states: how many different ones were met at turns.
        complete: whether nothing is left to explore.
        found: the first schedule that violates something; exploring ended there.
    """

    schedules: int
    pruned: int
    states: int
    complete: bool
    found: Found | None


@final
class Case(msgspec.Struct, frozen=True):
    """A plan to explore, as it goes to a worker.

    Attributes:
        plan: without deviations.
        bounds: see there.
        mutant: name of one that is planted meanwhile; empty = none.
    """

    plan: Plan
    bounds: Bounds
    mutant: str = ""

    def __str__(self) -> str:
        """How people call it."""
        return ", ".join(
            f"{step.operation.__struct_config__.tag} at {getattr(step.operation, 'member', '')}"
            for step in self.plan.steps
        )


def explore(case: Case) -> Explored:
    """Explore a plan, until everything within the bounds is known or something is found.

    Raises:
        ExplorationError: its states cannot be told apart.
    """
    with planted_mutant(case.mutant):
        return _Search(case.plan, case.bounds).run()


@final
class _Search:
    """The schedules of one plan."""

    def __init__(self, plan: Plan, bounds: Bounds) -> None:
        self._plan = plan
        self._bounds = bounds
        self._visited: dict[
            bytes, tuple[Left, ...]
        ] = {}  # state -> with what it was met, none of them covering another
        self._waiting: deque[tuple[Deviation, ...]] = deque([()])
        self._schedules = self._pruned = 0

    def run(self) -> Explored:
        """See `explore`."""
        found: Found | None = None
        while self._waiting and found is None and self._schedules < self._bounds.schedules:
            found = self._play(self._waiting.popleft())
        complete = not self._waiting or found is not None
        return Explored(self._schedules, self._pruned, len(self._visited), complete, found)

    def _play(self, schedule: tuple[Deviation, ...]) -> Found | None:
        """Play one schedule until its end or a known state; what may follow it waits from then on."""
        plan = replace(self._plan, deviations=schedule)
        self._schedules += 1
        watch = _Watch(plan, self._left(schedule), self._is_new)
        outcome = watch.run()
        self._waiting.extend((*schedule, deviation) for deviation in watch.branches)
        if outcome is None:
            self._pruned += 1
            return None
        violations = check(plan, outcome)
        return Found(plan, outcome.hash, violations) if violations else None

    def _left(self, schedule: tuple[Deviation, ...]) -> Left:
        delays = sum(isinstance(deviation.what, Postpone) for deviation in schedule)
        return self._bounds.delays - delays, self._bounds.faults - (len(schedule) - delays)

    def _is_new(self, state: bytes, left: Left) -> bool:
        """Whether a state has to be explored with what is left; then it is known from now on."""
        known = self._visited.get(state, ())
        if any(_covers(each, left) for each in known):
            return False
        self._visited[state] = (*(each for each in known if not _covers(left, each)), left)
        return True


@final
class _Watch:
    """One schedule being played.

    Attributes:
        branches: the deviations with which others leave it, at the states that were new.
    """

    def __init__(self, plan: Plan, left: Left, is_new: Callable[[bytes, Left], bool]) -> None:
        self.branches: list[Deviation] = []
        self._plan = plan
        self._left = left
        self._is_new = is_new
        self._begin_ns = round(min(step.at_s for step in plan.steps) * 1e9)
        self._at_rest = False
        self._world: World
        self._runtime: Runtime

    def run(self) -> Outcome | None:
        """Play it; None when it came to a state that is known."""

        def begin(runtime: Runtime) -> None:
            self._runtime = runtime
            self._world = World(self._plan, runtime, keep_trace=False, watcher=self._turn)
            self._world.begin()

        try:
            kernel.run(begin, max_events=events_max(self._plan), at_once_max=at_once_max(self._plan))
        except ExplorationError:
            raise
        except Exception as error:  # noqa: BLE001 - a crash of our own code is an outcome
            return self._world.crashed(error)
        return self._world.outcome

    def _turn(self) -> None:
        heap = self._runtime.heap
        if (heap.next_time_ns() or 0) < self._begin_ns:
            return
        rested, self._at_rest = self._at_rest, self._world.at_rest()
        nothing_new = rested and self._at_rest
        if not self._is_new(fingerprint(self._world) + bytes([nothing_new]), self._left):
            self._runtime.finish()
            return
        delays, faults = (0, 0) if nothing_new else self._left
        whats: list[Twist] = [Postpone(by_s) for by_s in DELAYS_S] if delays else []
        whats += self._faults() if faults else []
        self.branches += [Deviation(heap.executed, what) for what in whats]

    def _faults(self) -> list[Twist]:
        faults: list[Twist] = [LoseNext(), RepeatNext(REPEATS_S)] if self._world.course.is_arrival() else []
        for member in self._plan.members:
            faults += (Crash(member, for_s=DOWN_S), Wipe(member, for_s=DOWN_S))
            if member != LEADER:
                faults.append(Isolate(member, for_s=CUT_S))
        return faults


def _covers(one: Left, other: Left) -> bool:
    return one[0] >= other[0] and one[1] >= other[1]
