"""Simpler: what else a plan could say with less, candidate by candidate; which of them still fail is not known here.

Layer: simulator/experiment. One rule for every kind of operation, by the types of its fields (`_simpler_field`), and
what only a kind itself knows (`_kinder`, `_closes`, `repairs`). So a new kind is shrunk as soon as it exists.
Start at `simpler_operations`.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar, cast

import msgspec
from msgspec.structs import fields, replace

from pivot.errors import PivotError
from pivot.types import JsonValue
from simulator.experiment.operations import (
    Backup,
    Burden,
    Calm,
    Crash,
    CutLinks,
    CutOneWay,
    Delete,
    Drift,
    Flap,
    Heal,
    Isolate,
    Jump,
    Operation,
    Partition,
    Pause,
    Push,
    Read,
    Restart,
    Restore,
    Resume,
    Ring,
    SetDisk,
    Skew,
    SmallestCut,
    Stop,
    Swizzle,
    Weather,
    Wipe,
    Write,
    named_by,
)
from simulator.experiment.plan import Plan, Step

S = TypeVar("S", bound=msgspec.Struct)

_VALUE: Final[JsonValue] = 1
_PLAIN: Final = ("value", "key", "pattern")
"""Fields whose texts are no names of members."""


def changed(value: S, name: str, new: object) -> Iterator[S]:
    """A struct with another value in a field, unless that cannot be."""
    try:
        yield replace(value, **{name: new})
    except (PivotError, ValueError):
        return


def simpler_operations(operation: Operation) -> Iterator[Operation]:
    """What an operation could be instead, simplest first."""
    yield from _kinder(operation)
    yield from _simpler(operation)


def simpler_settings(plan: Plan) -> Iterator[Plan]:
    """The plan with more of its settings as they are by default; simplest first."""
    plain = Plan(seed=0, nodes=1, safety_s=0.0)
    for name in ("weather", "links", "nodes_key", "knobs", "durability"):
        if getattr(plan, name) != getattr(plain, name):
            yield from changed(plan, name, getattr(plain, name))
    if plan.durability == "normal":
        yield replace(plan, durability="full")
    if plan.weather != plain.weather:
        for weather in (replace(plan.weather, latency=plain.weather.latency), *_simpler(plan.weather)):
            yield replace(plan, weather=weather)
    for knobs in _simpler(plan.knobs):
        yield from changed(plan, "knobs", knobs)
    for path in plan.keys:
        if not any(
            getattr(step.operation, name, "").startswith(path.strip("*")) for step in plan.steps for name in _PLAIN[1:]
        ):
            yield from changed(plan, "keys", tuple(key for key in plan.keys if key != path))


def fewer_members(plan: Plan) -> Iterator[Plan]:
    """The plan with one node less: its steps dropped, or given to another member; the nodes behind it move up."""
    for gone in reversed(plan.members[1:]) if plan.nodes > 1 else ():
        left = [member for member in plan.members if member != gone]
        moved = dict(zip(left, plan.members, strict=False))
        for heir in (None, *reversed(left)):
            names: dict[str, str | None] = {**moved, gone: None if heir is None else moved[heir]}
            try:
                yield _renamed(plan, names)
            except PivotError:
                continue  # somebody cannot do what the member that is gone did


def blocks(steps: tuple[Step, ...]) -> list[tuple[int, ...]]:
    """Places of steps that belong together: a fault and what ends it; any other step alone."""
    found: list[tuple[int, ...]] = []
    taken: dict[int, None] = {}
    for place, step in enumerate(steps):
        if place in taken:
            continue
        later = range(place + 1, len(steps))
        end = next((i for i in later if i not in taken and _closes(steps[i].operation, step.operation)), None)
        block = (place,) if end is None else (place, end)
        taken.update(dict.fromkeys(block))
        found.append(block)
    return found


def is_fault(operation: Operation) -> bool:
    """Whether the operation is something that goes wrong, not something that a client or operator does."""
    return not isinstance(operation, Write | Push | Delete | Read) and operation.__struct_config__.tag not in (
        "confirm",
        "settle",
    )


def repairs(members: tuple[str, ...]) -> tuple[Operation, ...]:
    """What ends every fault that may be there."""
    return (
        Heal(),
        Calm(),
        *(repair for member in members for repair in (SetDisk(member), Drift(member, 0.0), Skew(member, 0.0))),
        *(Burden(member, 0.0) for member in members),
        *(repair for member in members for repair in (Resume(member), Restart(member))),
    )


def _kinder(operation: Operation) -> Iterator[Operation]:
    """The same thing as another kind that does less."""
    match operation:
        case Wipe() | Stop():
            yield Crash(operation.member, for_s=operation.for_s)
        case Flap():
            yield operation.cut
        case Partition():
            for group in operation.groups:
                if len(group) == 1:
                    yield Isolate(group[0])
        case CutOneWay():
            for member in (*operation.sources, *operation.destinations):
                yield Isolate(member)
        case Delete() if "*" not in operation.pattern:
            yield Write(operation.member, operation.pattern, _VALUE)
        case _:
            pass


def _closes(operation: Operation, before: Operation) -> bool:
    """Whether an operation ends what an earlier one began."""
    match operation, before:
        case (Heal(), Partition() | Isolate() | CutOneWay() | CutLinks() | Ring() | SmallestCut() | Flap() | Swizzle()):
            return True
        case (Calm(), Weather()):
            return True
        case (
            (Restart(), Crash() | Wipe() | Stop())
            | (Resume(), Pause())
            | (SetDisk(), SetDisk())
            | (Skew(), Skew() | Jump() | Drift())
            | (Burden(), Burden())
            | (Restore(), Backup())
        ):
            return named_by(operation) == named_by(before)
        case _:
            return False


def _simpler(value: S) -> Iterator[S]:
    """A struct with one field simpler, whatever it is."""
    for field in fields(value):
        ours: object = getattr(value, field.name)
        if field.default is not msgspec.NODEFAULT and ours != field.default:
            yield from changed(value, field.name, field.default)
        for candidate in _simpler_field(field.name, ours):
            yield from changed(value, field.name, candidate)


def _simpler_field(name: str, value: object) -> Iterator[object]:
    match value:
        case _ if name == "value":
            if value != _VALUE:
                yield _VALUE
        case float():
            yield from (round(value, digits) for digits in (0, 1, 2) if round(value, digits) != value)
        case tuple():
            items = cast("tuple[object, ...]", value)
            if len(items) > 1:
                yield from (items[:place] + items[place + 1 :] for place in range(len(items)))
            if name == "links":
                return  # a link is between two
            for place, item in enumerate(items):
                yield from ((*items[:place], other, *items[place + 1 :]) for other in _simpler_field("", item))
        case msgspec.Struct():
            yield from _simpler(value)
        case _:
            pass


def _renamed(plan: Plan, names: Mapping[str, str | None]) -> Plan:
    """The plan with members under other names; None = without them."""
    steps: list[Step] = []
    for step in plan.steps:
        operation = _renamed_fields(step.operation, names)
        if operation is not None:
            steps.append(Step(step.at_s, operation))
    wires = [_renamed_fields(wire, names) for wire in plan.links]
    links = {(wire.src, wire.dst): wire for wire in wires if wire is not None and wire.src != wire.dst}
    return replace(plan, nodes=plan.nodes - 1, links=tuple(links.values()), steps=tuple(steps))


def _renamed_fields(struct: S, names: Mapping[str, str | None]) -> S | None:
    """The struct with members under other names; None = it named only such as are gone."""
    new: dict[str, object] = {}
    for field in fields(struct):
        old: object = getattr(struct, field.name)
        if field.name in _PLAIN or old in (None, ()):
            continue
        value = _renamed_value(old, names)
        if field.name == "links":
            value = tuple(link for link in cast("tuple[tuple[str, ...], ...]", value) if len(link) == 2)
        if value in (None, ()):
            return None
        new[field.name] = value
    return replace(struct, **new)


def _renamed_value(value: object, names: Mapping[str, str | None]) -> object:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, msgspec.Struct):
        return _renamed_fields(value, names)
    if isinstance(value, tuple):
        items = [_renamed_value(item, names) for item in cast("tuple[object, ...]", value)]
        return tuple(item for item in dict.fromkeys(items) if item not in (None, ()))
    return value
