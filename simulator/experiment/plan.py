"""Plan: an experiment as plain data: who takes part, what clients do, what goes wrong, and the seed.

Layer: simulator/experiment. A plan and a version of the code determine a run. JSON both ways (`Plan.to_json`,
`Plan.from_json`). Notebooks write plans by hand with the verbs of `operations`, `draw` makes one up from a seed.
"""

from pathlib import Path
from typing import Final, Literal, TypeAlias, final

import msgspec

from pivot.config import Config, Key, Knobs
from pivot.errors import PivotError
from simulator.errors import BadPlanError
from simulator.experiment.operations import Operation, check_operation
from simulator.world.latency import UniformLatency
from simulator.world.link import Conditions

VERSION: Final = 1
LEADER: Final = "leader"
STEPS_MAX: Final = 100_000
Durability: TypeAlias = Literal["memory", "normal", "full"]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operation and its time, s from the start."""

    at_s: float
    operation: Operation


@final
class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment.

    Attributes:
        version: of this format.
        seed: of all chance.
        nodes: how many nodes follow the leader: `n1`, `n2`, ...
        keys: collections.
        durability: what members keep when they crash: `memory` nothing, `normal` all but the last commits,
            `full` what they committed.
        weather: of every link, until faults stop.
        knobs: timings and limits of the members.
        steps: what happens, in any order.
        safety_s: when faults stop: links heal and lose nothing, crashed members restart, clocks are right.
        liveness_s: how long after that everything must have converged, and how long a `settle` may take.
    """

    version: int = VERSION
    seed: int
    nodes: int
    keys: tuple[str, ...] = ("settings", "users/*")
    durability: Durability = "memory"
    weather: Conditions = Conditions(latency=UniformLatency(base_s=0.001, spread_s=0.004))
    knobs: Knobs = Knobs()
    steps: tuple[Step, ...] = ()
    safety_s: float
    liveness_s: float = 180.0

    def __post_init__(self) -> None:
        """Refuse what cannot be played.

        Raises:
            BadPlanError: names the path of the wrong field.
        """
        if self.version != VERSION:
            raise BadPlanError("version", f"is {self.version}, only {VERSION} is known")
        if not 1 <= self.nodes <= 1000:
            raise BadPlanError("nodes", f"is {self.nodes}, allowed is 1 to 1000")
        if len(self.steps) > STEPS_MAX:
            raise BadPlanError("steps", f"has {len(self.steps)} steps, at most {STEPS_MAX} are allowed")
        try:
            self.config("")
        except PivotError as error:
            raise BadPlanError("keys", str(error)) from None
        for place, step in enumerate(self.steps):
            self._check_step(f"steps[{place}]", step)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all members, the leader first."""
        return (LEADER, *(f"n{number}" for number in range(1, self.nodes + 1)))

    def config(self, cluster_url: str) -> Config:
        """The configuration of the leader (empty `cluster_url`) or of a node."""
        return Config(keys=tuple(Key(path) for path in self.keys), cluster_url=cluster_url, knobs=self.knobs)

    def to_json(self) -> bytes:
        """The plan as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @staticmethod
    def from_json(text: bytes) -> "Plan":
        """The plan that `to_json` wrote.

        Raises:
            BadPlanError: it is none; names the path of the wrong field.
        """
        try:
            return msgspec.json.decode(text, type=Plan)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, BadPlanError):
                raise error.__cause__ from None
            what, _, where = str(error).partition(" - at ")
            raise BadPlanError(where.strip("`$.") or "plan", what) from None
        except msgspec.DecodeError as error:
            raise BadPlanError("plan", f"is not JSON: {error}") from None

    @staticmethod
    def load(file: Path | str) -> "Plan":
        """The plan in a file.

        Raises:
            BadPlanError: it cannot be read or is no plan.
        """
        try:
            return Plan.from_json(Path(file).read_bytes())
        except OSError as error:
            raise BadPlanError(str(file), f"cannot be read: {error.strerror}") from None

    def _check_step(self, path: str, step: Step) -> None:
        if not 0 <= step.at_s <= self.safety_s:
            raise BadPlanError(
                f"{path}.at_s", f"is {step.at_s}, allowed is 0 to the end of the safety phase {self.safety_s}"
            )
        check_operation(f"{path}.operation", step.operation, self.members)
