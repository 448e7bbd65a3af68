"""Simulation: the notebook's handle: say what happens when, run it, look at what came out.

Layer: simulator/experiment. Start at `Simulation`; `Run` is what it returns.
"""

import json
from collections import Counter
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Self, final

from msgspec import structs

from pivot.config import Knobs
from pivot.types import JsonValue
from simulator.experiment.checkers import Verdict, Violation, check, verdict
from simulator.experiment.checkers.explaining import differs, explain
from simulator.experiment.comparison import Comparison, compare
from simulator.experiment.deviation import Deviation
from simulator.experiment.frame import frame
from simulator.experiment.history import LedgerLine, Record
from simulator.experiment.operations import Operation
from simulator.experiment.outcome import Outcome
from simulator.experiment.plan import Durability, Plan, Step, Wire
from simulator.experiment.timeline import Timeline
from simulator.experiment.world import play
from simulator.runtimes.base import RuntimeName
from simulator.world.link import Conditions
from simulator.world.trace import TraceEvent

if TYPE_CHECKING:
    from pandas import DataFrame


@final
class Simulation:
    """An experiment in the making: `Simulation(nodes=3, seed=7).at(1, isolate("n1")).run(until=60)`."""

    def __init__(
        self,
        *,
        nodes: int = 3,
        seed: int = 0,
        keys: tuple[str, ...] = ("settings", "users/*"),
        nodes_key: str = "",
        links: tuple[Wire, ...] = (),
        durability: Durability = "memory",
        weather: Conditions | None = None,
        knobs: Knobs | None = None,
        deviations: tuple[Deviation, ...] = (),
    ) -> None:
        """Begin with a healthy cluster: `leader`, `n1`, `n2`, ...

        Args:
            nodes: how many nodes follow the leader.
            seed: of all chance; the same seed gives the same run.
            keys: collections.
            nodes_key: list in which nodes are registered, so that they read from each other; see `Plan`.
            links: who can reach whom; none = the leader every node, and back.
            durability: what members keep when they crash: `memory` nothing, `normal` all but the last commits, `full`
                what they committed.
            weather: of every link; None = 1 to 5 ms, nothing lost.
            knobs: timings and limits of the members.
            deviations: what happens between two events; see `Plan`.
        """
        base = Plan(seed=seed, nodes=nodes, safety_s=0.0)
        self._plan = Plan(
            seed=seed,
            nodes=nodes,
            keys=keys,
            nodes_key=nodes_key,
            links=links,
            durability=durability,
            weather=weather or base.weather,
            knobs=knobs or base.knobs,
            deviations=deviations,
            safety_s=0.0,
        )
        self._steps: list[Step] = []

    def at(self, time_s: float, *operations: Operation) -> Self:
        """Let something happen at a time, s from the start; verbs are in `simulator`."""
        self._steps += [Step(float(time_s), operation) for operation in operations]
        return self

    def plan(self, until: float) -> Plan:
        """The experiment as data; faults end at `until`.

        Raises:
            BadPlanError: a step cannot be played; names it.
        """
        plan = structs.replace(self._plan, steps=tuple(self._steps), safety_s=float(until))
        return Plan.from_json(plan.to_json())  # 2 becomes 2.0, as in a file: a run is hashed with what was asked for

    def run(self, until: float = 60.0, *, runtime: RuntimeName = "trio") -> "Run":
        """Play it: faults end at `until` (s), then it goes on until everything is equal, at most `liveness_s` more.

        Synchronous, also in a notebook cell. `runtime` makes no difference but to how long it takes.

        Raises:
            BadPlanError: a step cannot be played; names it.
        """
        return Run.of(self.plan(until), keep_trace=True, runtime=runtime)


@final
class Run:
    """A played plan.

    Attributes:
        plan: what was played.
        outcome: everything it left behind.
        violations: what must not be and is; empty = all is well.
    """

    def __init__(self, plan: Plan, outcome: Outcome) -> None:
        self.plan = plan
        self.outcome = outcome
        self.violations: tuple[Violation, ...] = check(plan, outcome)

    @classmethod
    def of(cls, plan: Plan, *, keep_trace: bool = False, runtime: RuntimeName = "kernel") -> "Run":
        """Play a plan; see `play`."""
        return cls(plan, play(plan, keep_trace=keep_trace, runtime=runtime))

    def explained(self) -> "Run":
        """This run with its trace, and with the messages that carried what its violations are about.

        Played again unless its trace was kept; if it is not the same run then, that is its one violation.
        """
        run = self if self.trace else Run.of(self.plan, keep_trace=True)
        run.violations = differs(self.outcome, run.outcome) or explain(run.violations, run.trace)
        return run

    @property
    def verdict(self) -> Verdict:
        """What the run is called; see `checkers.judging`."""
        return verdict(self.outcome, self.violations)

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.plan.seed

    @property
    def hash(self) -> str:
        """Hash over everything that happened: equal for equal runs."""
        return self.outcome.hash

    @property
    def converged(self) -> bool:
        """Whether all members became equal."""
        return self.outcome.converged_s is not None

    @property
    def ledger(self) -> tuple[LedgerLine, ...]:
        """What became of every acknowledged write."""
        return self.outcome.ledger

    @property
    def reads(self) -> tuple[JsonValue, ...]:
        """What reads found, in order; None where there was nothing, or no answer."""
        return tuple(record.value for record in self.outcome.records if record.kind == "read")

    @property
    def refused(self) -> tuple[Record, ...]:
        """Operations that were not acknowledged."""
        return tuple(record for record in self.outcome.records if record.outcome != "ok")

    @property
    def trace(self) -> tuple[TraceEvent, ...]:
        """Everything that happened, when it was kept."""
        return self.outcome.trace

    @property
    def state(self) -> dict[str, dict[str, JsonValue]]:
        """Member -> key -> value at the end; deleted keys are absent."""
        return {
            member: {key: json.loads(entry.data) for key, entry in sorted(table.items()) if not entry.deleted}
            for member, table in self.outcome.tables.items()
        }

    def state_at(self, at_s: float) -> dict[str, dict[str, JsonValue]]:
        """Member -> key -> value at a time, s; deleted keys are absent.

        That a member did not run, and so knew nothing, is known only when the trace was kept.
        """
        return Timeline.of(self.outcome, self.plan.members).state(at_s)

    def diff(self, other: "Run") -> Comparison:
        """What is other in another run, say of the same plan with one line changed."""
        return compare((self.plan, self.outcome), (other.plan, other.outcome))

    def to_frame(self) -> "DataFrame":
        """The history as a table of pandas: one row per operation, and what became of it.

        Raises:
            FigureError: pandas is not installed.
        """
        return frame(self.outcome)

    def save(self, file: Path | str) -> None:
        """Write the plan as JSON; `Run.load`, `Plan.load` and `pivot sim replay` read it."""
        Path(file).write_bytes(self.plan.to_json())

    @classmethod
    def load(cls, file: Path | str) -> "Run":
        """Play again what `save` wrote: the same run, unless the code changed.

        Raises:
            BadPlanError: it cannot be read or is no plan.
        """
        return cls.of(Plan.load(file), keep_trace=True)

    def summary(self) -> list[str]:
        """What there is to say, one line each."""
        outcome = self.outcome
        fates = Counter(line.fate for line in outcome.ledger)
        when = "never" if outcome.converged_s is None else f"at {outcome.converged_s:.1f} s"
        written = ", ".join(f"{fates[fate]} {fate}" for fate in ("won", "superseded", "gone", "lost"))
        return [
            f"verdict {self.verdict}, converged {when}",
            f"acknowledged changes: {len(outcome.ledger)} ({written}), conflicts reported {len(outcome.conflicts)}",
            f"seed {self.seed}, hash {self.hash}, {outcome.events} events, {outcome.network.sent} messages",
            "reached: " + (", ".join(f"{what} {count}" for what, count in outcome.reached.items()) or "nothing"),
            *(f"{violation.checker}: {violation.sentence}" for violation in self.violations),
        ]

    def __repr__(self) -> str:
        """The summary."""
        return "\n".join(self.summary())

    def _repr_html_(self) -> str:  # pyright: ignore[reportUnusedFunction] - a notebook calls it
        """The summary, a table of members and keys and the space-time diagram, for notebooks."""
        state = self.state
        keys = sorted(dict.fromkeys(key for table in state.values() for key in table))
        head = "".join(f"<th>{escape(member)}</th>" for member in state)
        rows = "".join(
            f"<tr><th>{escape(key)}</th>"
            + "".join(f"<td>{escape(json.dumps(table[key])) if key in table else '-'}</td>" for table in state.values())
            + "</tr>"
            for key in keys
        )
        lines = "<br>".join(escape(line) for line in self.summary())
        return f"<p>{lines}</p><table><tr><th></th>{head}</tr>{rows}</table>{self._repr_svg_() or ''}"

    def _repr_svg_(self) -> str | None:
        """The space-time diagram, for notebooks; None when the trace was not kept."""
        from simulator.figures.spacetime import space_time  # noqa: PLC0415 - it draws runs, and so imports this module

        return space_time(self).svg if self.trace else None
