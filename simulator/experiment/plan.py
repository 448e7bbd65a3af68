"""Plan: an experiment as plain data: who takes part, what clients do, what goes wrong, and the seed.

Layer: simulator/experiment. A plan and a version of the code determine a run. JSON both ways (`Plan.to_json`,
`Plan.from_json`). Notebooks write plans by hand with the verbs below, `draw` makes one up from a seed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, TypeAlias, final

import msgspec

from pivot.config import Config, Key, Knobs
from pivot.errors import PivotError
from pivot.paths import check_key, check_list, check_pattern
from pivot.types import JsonValue
from simulator.errors import BadPlanError
from simulator.world.latency import UniformLatency
from simulator.world.link import Conditions

VERSION: Final = 1
LEADER: Final = "leader"
STEPS_MAX: Final = 100_000
Durability: TypeAlias = Literal["memory", "full"]


class _Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    """Something that happens at a time."""


class Write(_Operation, frozen=True, tag="write"):
    """A client sets a key at a member."""

    member: str
    key: str
    value: JsonValue


class Push(_Operation, frozen=True, tag="push"):
    """A client adds an entry to a list at a member."""

    member: str
    pattern: str
    value: JsonValue


class Delete(_Operation, frozen=True, tag="delete"):
    """A client deletes a key, or all that a glob matches, at a member."""

    member: str
    pattern: str


class Partition(_Operation, frozen=True, tag="partition"):
    """Cut all links between different groups."""

    groups: tuple[tuple[str, ...], ...]


class Isolate(_Operation, frozen=True, tag="isolate"):
    """Cut all links of a member."""

    member: str


class CutOneWay(_Operation, frozen=True, tag="cut_one_way"):
    """Cut the links from some members to others, not the way back."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]


class Heal(_Operation, frozen=True, tag="heal"):
    """Heal all links."""


class Crash(_Operation, frozen=True, tag="crash"):
    """End a member without warning; what it has on disk stays."""

    member: str


class Restart(_Operation, frozen=True, tag="restart"):
    """Start a crashed member with what is on its disk; without a disk it starts empty."""

    member: str


class Skew(_Operation, frozen=True, tag="skew"):
    """Set how far a member's wall clock is ahead, s (negative: behind)."""

    member: str
    ahead_s: float


class Settle(_Operation, frozen=True, tag="settle"):
    """Wait until all members that run are equal and have nothing left to offer; what follows is that much later."""


Workload: TypeAlias = Write | Push | Delete
Fault: TypeAlias = Partition | Isolate | CutOneWay | Heal | Crash | Restart | Skew
Operation: TypeAlias = Workload | Fault | Settle


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
        durability: what members keep when they crash: `memory` nothing, `full` what they committed.
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
        operation = step.operation
        named: Iterable[str]
        match operation:
            case Partition():
                named = (member for group in operation.groups for member in group)
            case CutOneWay():
                named = (*operation.sources, *operation.destinations)
            case Heal() | Settle():
                named = ()
            case _:
                named = (operation.member,)
        for member in named:
            if member not in self.members:
                raise BadPlanError(
                    f"{path}.operation", f"names {member!r}, members are {', '.join(self.members)[:200]}"
                )
        try:
            match operation:
                case Write():
                    check_key(operation.key)
                case Push():
                    check_list(operation.pattern)
                case Delete():
                    check_pattern(operation.pattern)
                case _:
                    pass
        except PivotError as error:
            raise BadPlanError(f"{path}.operation", str(error)) from None


def write(member: str, key: str, value: JsonValue) -> Write:
    """A client sets `key` at `member`."""
    return Write(member, key, value)


def push(member: str, pattern: str, value: JsonValue) -> Push:
    """A client adds an entry to the list `pattern` at `member`."""
    return Push(member, pattern, value)


def delete(member: str, pattern: str) -> Delete:
    """A client deletes `pattern` at `member`."""
    return Delete(member, pattern)


def partition(*groups: Iterable[str]) -> Partition:
    """Cut all links between different groups; members in no group keep theirs."""
    return Partition(tuple(tuple(sorted(group)) for group in groups))


def isolate(member: str) -> Isolate:
    """Cut all links of `member`."""
    return Isolate(member)


def cut_one_way(sources: Iterable[str], destinations: Iterable[str]) -> CutOneWay:
    """Cut the links from `sources` to `destinations`, not the way back."""
    return CutOneWay(tuple(sorted(sources)), tuple(sorted(destinations)))


def heal() -> Heal:
    """Heal all links."""
    return Heal()


def crash(member: str) -> Crash:
    """End `member` without warning."""
    return Crash(member)


def restart(member: str) -> Restart:
    """Start `member` again."""
    return Restart(member)


def settle() -> Settle:
    """Wait until all members that run are equal; what follows is that much later."""
    return Settle()


def skew(member: str, ahead_s: float) -> Skew:
    """Set how far `member`'s wall clock is ahead, s."""
    return Skew(member, ahead_s)
