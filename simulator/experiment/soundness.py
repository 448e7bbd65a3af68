"""Soundness: which operations can be played in a plan; what cannot is refused with the path of the wrong field.

Layer: simulator/experiment. Start at `check_operation`.
"""

from typing import Final, assert_never

from pivot.errors import PivotError
from pivot.paths import check_key, check_list, check_pattern
from simulator.errors import BadPlanError, SimulationError
from simulator.experiment.deviation import LoseNext, Postpone, RepeatNext, Twist
from simulator.experiment.operations import (
    Confirm,
    Crash,
    CutLinks,
    CutOneWay,
    Delete,
    Flap,
    Isolate,
    Join,
    Operation,
    Partition,
    Promote,
    Push,
    Read,
    Ring,
    SimpleCut,
    SmallestCut,
    Swizzle,
    Weather,
    Wipe,
    Write,
    named_by,
)
from simulator.world.topology import Edge, Topology

SECONDS_MAX: Final = 366 * 86_400.0
"""Longest time in a plan, and farthest that a clock may be off: a year."""
_RANGES: Final = {
    "for_s": (1e-9, SECONDS_MAX),
    "period_s": (1e-3, SECONDS_MAX),
    "duty": (0.0, 1.0),
    "jitter": (0.0, 1.0),
    "gap_s": (0.0, SECONDS_MAX),
    "down_s": (0.0, SECONDS_MAX),
    "slow_s": (0.0, 1.0),
    "ahead_s": (-SECONDS_MAX, SECONDS_MAX),
    "by_s": (-SECONDS_MAX, SECONDS_MAX),
    "ppm": (-1e6, 1e6),
}
"""Name of a field -> least and greatest value; no number that is not finite lies between them."""


def check_operation(path: str, operation: Operation, topology: Topology) -> None:
    """Refuse what cannot be played.

    Raises:
        BadPlanError: names the path of the wrong field; `path` is that of the operation.
    """
    members = topology.members
    for member in named_by(operation):
        if member not in members:
            raise BadPlanError(path, f"names {member!r}, members are {', '.join(members)[:200]}")
    for name in operation.__struct_fields__:
        value: float | None = getattr(operation, name) if name in _RANGES else None
        if value is not None:
            least, most = _RANGES[name]
            if not least <= value <= most:
                raise BadPlanError(f"{path}.{name}", f"is {value:g}, allowed is {least:g} to {most:g}")
    try:
        _check(path, operation, topology)
    except BadPlanError:
        raise
    except PivotError as error:
        raise BadPlanError(path, str(error)) from None


def _check(path: str, operation: Operation, topology: Topology) -> None:
    match operation:
        case Write() | Read():
            check_key(operation.key)
        case Push():
            check_list(operation.pattern)
        case Delete():
            check_pattern(operation.pattern)
        case Confirm() | Join() | Promote() | Swizzle():
            _check_members(path, operation, topology)
        case Flap():
            if operation.cut.for_s is not None:
                raise BadPlanError(f"{path}.cut.for_s", "has no meaning: the cut lasts a part of each period")
            check_operation(f"{path}.cut", operation.cut, topology)
        case Partition() | Isolate() | CutOneWay() | CutLinks() | Ring() | SmallestCut():
            _check_cut(path, operation, topology)
        case Weather() if not weathered(operation, topology):
            raise BadPlanError(path, "is about no link of the topology")
        case _:
            pass


def check_twist(path: str, twist: Twist, topology: Topology) -> None:
    """Refuse what cannot happen between two events; see `check_operation`."""
    match twist:
        case Postpone() | RepeatNext():
            if not 0 < twist.by_s <= SECONDS_MAX:
                raise BadPlanError(f"{path}.by_s", f"is {twist.by_s:g}, allowed is more than 0, to {SECONDS_MAX:g}")
        case LoseNext():
            pass
        case Crash() | Wipe() | Isolate():
            check_operation(path, twist, topology)
        case _:
            assert_never(twist)


def cut_by(cut: SimpleCut, topology: Topology) -> tuple[Edge, ...]:
    """The links that a cut cuts.

    Raises:
        SimulationError: it contradicts itself.
    """
    match cut:
        case Partition():
            return topology.links_across(cut.groups)
        case Isolate():
            return topology.links_across([[cut.member], topology.rest([cut.member])])
        case CutOneWay():
            return topology.links_between(cut.sources, cut.destinations)
        case CutLinks():
            return tuple(edge for src, dst in cut.links for edge in topology.links_between([src], [dst]))
        case Ring():
            return topology.links_off_ring(cut.members)
        case SmallestCut():
            return topology.smallest_cut(cut.member, cut.target, weighted=cut.weighted)


def weathered(weather: Weather, topology: Topology) -> tuple[Edge, ...]:
    """The links that a change of weather is about."""
    return topology.links_between(weather.sources or topology.members, weather.destinations or topology.members)


def _check_cut(path: str, cut: SimpleCut, topology: Topology) -> None:
    if isinstance(cut, CutLinks):
        for place, (src, dst) in enumerate(cut.links):
            if topology.conditions(src, dst) is None:
                raise BadPlanError(f"{path}.links[{place}]", f"is {src} -> {dst}, there is no such link")
    if isinstance(cut, SmallestCut) and cut.member == cut.target:
        raise BadPlanError(f"{path}.target", f"is {cut.target!r}, nobody can be cut from itself")
    try:
        links = cut_by(cut, topology)
    except SimulationError as error:
        raise BadPlanError(path, str(error)) from None
    if not links:
        raise BadPlanError(path, "cuts no link of the topology")


def _check_members(path: str, operation: Confirm | Join | Promote | Swizzle, topology: Topology) -> None:
    leader = topology.members[0]
    match operation:
        case Confirm() if operation.member != leader:
            raise BadPlanError(f"{path}.member", f"is {operation.member!r}, only {leader} has followers")
        case Join() if operation.member == leader:
            raise BadPlanError(f"{path}.member", f"is {operation.member!r}, which is there from the start")
        case Swizzle() if sorted(operation.members) != sorted(operation.healed):
            raise BadPlanError(f"{path}.healed", "must be the same members as those that are cut off")
        case Promote():
            for other in topology.rest([operation.member]):
                for src, dst in ((operation.member, other), (other, operation.member)):
                    if topology.conditions(src, dst) is None:
                        reason = f"is {operation.member!r}, which cannot lead: there is no link {src} -> {dst}"
                        raise BadPlanError(f"{path}.member", reason)
        case _:
            pass
