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
from simulator.experiment.deviation import Deviation
from simulator.experiment.operations import Backup, Operation, Restore
from simulator.experiment.soundness import SECONDS_MAX, check_operation, check_twist
from simulator.world.latency import UniformLatency
from simulator.world.link import Conditions
from simulator.world.topology import Topology, star, wired

VERSION: Final = 1
LEADER: Final = "leader"
STEPS_MAX: Final = 100_000
_WEIGHT_MAX: Final = 1e6
Durability: TypeAlias = Literal["memory", "normal", "full"]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operation and its time, s from the start."""

    at_s: float
    operation: Operation


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link of the topology, one direction.

    Attributes:
        src: from whom.
        dst: to whom.
        weather: of this link, until faults stop; None = that of the plan.
        weight: what it costs to cut it, for `smallest_cut`.
    """

    src: str
    dst: str
    weather: Conditions | None = None
    weight: float = 1.0


@final
class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment.

    Attributes:
        version: of this format.
        seed: of all chance.
        nodes: how many nodes follow the leader: `n1`, `n2`, ...
        keys: collections.
        nodes_key: list in which clients say where nodes are (`registration`), so that nodes read from each other while
            their leader is away; empty = they do not.
        durability: what members keep when they crash: `memory` nothing, `normal` all but the last commits,
            `full` what they committed.
        weather: of every link that has none of its own, until faults stop.
        links: all links there are; none = from the leader to every node and back.
        knobs: timings and limits of the members.
        steps: what happens, in any order.
        deviations: what happens between two events, in the order in which it does.
        safety_s: when faults stop: links heal and lose nothing, crashed members restart, clocks are right.
        liveness_s: how long after that everything must have converged, and how long a `settle` may take.
    """

    version: int = VERSION
    seed: int
    nodes: int
    keys: tuple[str, ...] = ("settings", "users/*")
    nodes_key: str = ""
    durability: Durability = "memory"
    weather: Conditions = Conditions(latency=UniformLatency(base_s=0.001, spread_s=0.004))
    links: tuple[Wire, ...] = ()
    knobs: Knobs = Knobs()
    steps: tuple[Step, ...] = ()
    deviations: tuple[Deviation, ...] = ()
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
        for name, seconds in (("safety_s", self.safety_s), ("liveness_s", self.liveness_s)):
            if not 0 <= seconds <= SECONDS_MAX:
                raise BadPlanError(name, f"is {seconds}, allowed is 0 to {SECONDS_MAX:g}")
        self._check_links()
        topology = self.topology()
        for place, step in enumerate(self.steps):
            self._check_step(f"steps[{place}]", step, topology)
        self._check_deviations(topology)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all members, the leader first."""
        return (LEADER, *(f"n{number}" for number in range(1, self.nodes + 1)))

    def config(self, cluster_url: str) -> Config:
        """The configuration of the leader (empty `cluster_url`) or of a node."""
        keys = tuple(Key(path) for path in self.keys)
        return Config(keys=keys, nodes_key=self.nodes_key, cluster_url=cluster_url, knobs=self.knobs)

    def topology(self) -> Topology:
        """Who can reach whom, and in what weather."""
        if not self.links:
            return star(LEADER, self.members[1:], self.weather)
        return wired(
            self.members,
            [(wire.src, wire.dst) for wire in self.links],
            weather=[wire.weather or self.weather for wire in self.links],
            weights=[wire.weight for wire in self.links],
        )

    def weathers(self) -> tuple[Conditions, ...]:
        """The weather of every link, as often as there are links with one of their own, and once that of the others."""
        return (self.weather, *(wire.weather for wire in self.links if wire.weather is not None))

    @staticmethod
    def draw(
        seed: int, *, nodes: int | None = None, nemeses: tuple[str, ...] | None = None, all_on: bool = False
    ) -> "Plan":
        """Make up a plan; see `simulator.experiment.draw.draw`."""
        from simulator.experiment import draw  # noqa: PLC0415 - it makes plans, and so imports this module

        return draw.draw(seed, nodes=nodes, nemeses=nemeses, all_on=all_on)

    @staticmethod
    def schema() -> bytes:
        """What plans are, as a JSON schema of format `VERSION`."""
        schema = msgspec.json.schema(Plan, schema_hook=lambda _: {"description": "any JSON value"})
        return msgspec.json.format(msgspec.json.encode(schema), indent=1) + b"\n"

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

    def _check_links(self) -> None:
        seen: dict[tuple[str, str], None] = {}
        for place, wire in enumerate(self.links):
            path = f"links[{place}]"
            for name, member in (("src", wire.src), ("dst", wire.dst)):
                if member not in self.members:
                    raise BadPlanError(f"{path}.{name}", f"is {member!r}, members are {', '.join(self.members)[:200]}")
            if wire.src == wire.dst:
                raise BadPlanError(f"{path}.dst", f"is {wire.dst!r}, a link leads to another member")
            if (wire.src, wire.dst) in seen:
                raise BadPlanError(path, f"is a second link {wire.src} -> {wire.dst}")
            if not 0 <= wire.weight <= _WEIGHT_MAX:
                raise BadPlanError(f"{path}.weight", f"is {wire.weight}, allowed is 0 to {_WEIGHT_MAX:g}")
            seen[wire.src, wire.dst] = None

    def _check_deviations(self, topology: Topology) -> None:
        if len(self.deviations) > STEPS_MAX:
            raise BadPlanError("deviations", f"has {len(self.deviations)} of them, at most {STEPS_MAX} are allowed")
        last = 0
        for place, deviation in enumerate(self.deviations):
            if deviation.after < last:
                raise BadPlanError(f"deviations[{place}].after", f"is {deviation.after}, it comes after {last}")
            last = deviation.after
            check_twist(f"deviations[{place}].what", deviation.what, topology)

    def _check_step(self, path: str, step: Step, topology: Topology) -> None:
        if not 0 <= step.at_s <= self.safety_s:
            raise BadPlanError(
                f"{path}.at_s", f"is {step.at_s}, allowed is 0 to the end of the safety phase {self.safety_s}"
            )
        check_operation(f"{path}.operation", step.operation, topology)
        if isinstance(step.operation, Restore):
            member = step.operation.member
            if not any(s.operation == Backup(member) and s.at_s <= step.at_s for s in self.steps):
                raise BadPlanError(f"{path}.operation", f"restores {member}, of which there is no copy by then")
