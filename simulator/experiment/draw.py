"""Draw: plans made up from a seed, for fuzzing.

Layer: simulator/experiment. Every kind of fault is itself in or out (swarm testing): a plan with all kinds at once
hides what a few of them do together. Each kind has streams of its own, so a new kind leaves the others as they were.
What clients do, the knobs and the topology are drawn in `settings`. Start at `draw`.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec.structs import replace

from pivot.config import Knobs
from simulator.errors import BadPlanError
from simulator.experiment.operations import (
    Backup,
    Burden,
    Confirm,
    Crash,
    CutLinks,
    CutOneWay,
    Delete,
    Drift,
    Flap,
    Isolate,
    Join,
    Jump,
    Operation,
    Partition,
    Pause,
    Promote,
    Replace,
    Restart,
    Restore,
    Ring,
    RollingRestart,
    Rot,
    SetDisk,
    SimpleCut,
    Skew,
    SmallestCut,
    Stop,
    Swizzle,
    Weather,
    Wipe,
    Write,
)
from simulator.experiment.plan import LEADER, Durability, Plan, Step
from simulator.experiment.settings import (
    FAIR,
    KEYS,
    SAFETY_S,
    draw_knobs,
    draw_latency,
    draw_links,
    draw_retention,
    draw_weather,
    draw_workload,
)
from simulator.world.chance import FROZEN_PPM
from simulator.world.cut import Difference
from simulator.world.disk import Trouble
from simulator.world.link import How
from simulator.world.rng import Stream, Streams
from simulator.world.transport import registration

_WANTED: Final = (1, 2, 3, 5, 8)
"""How many kinds of faults a plan has on average; drawn for each plan."""
NODES_KEY: Final = "things/*"
_HOWS: Final[tuple[How, ...]] = ("drop", "drop", "hold", "reset")
Members: TypeAlias = tuple[str, ...]


def draw(seed: int, *, nodes: int | None = None, nemeses: tuple[str, ...] | None = None, all_on: bool = False) -> Plan:
    """Make up a plan; the same seed and arguments give the same plan.

    Args:
        seed: of the plan and of its run.
        nodes: how many nodes; None = 1 to 4.
        nemeses: kinds of faults that may be in it, of `NEMESES`; None = all.
        all_on: whether all of them are in it.

    Raises:
        BadPlanError: there is no such kind.
    """
    allowed = NEMESES if nemeses is None else nemeses
    for kind in allowed:
        if kind not in NEMESES:
            raise BadPlanError("nemeses", f"has {kind!r}, known are {', '.join(NEMESES)}")
    streams = Streams(seed)
    choose = streams.stream("plan", "shape")
    count = nodes if nodes is not None else 1 + choose.below(4)
    durability: Durability = choose.choice(("full", "full", "full", "normal", "memory", "memory"))
    wanted = streams.stream("plan", "wanted").choice(_WANTED) / max(len(allowed), 1)
    chosen = [
        kind for kind in NEMESES if kind in allowed and (all_on or streams.stream("plan", kind, "in").chance(wanted))
    ]
    members = (LEADER, *(f"n{number}" for number in range(1, count + 1)))
    steps = draw_workload(streams, members)
    for kind in chosen:
        steps += _steps(kind, streams.stream("plan", kind), members)
    knobs = draw_knobs(streams.stream("plan", "knobs")) if "knobs" in chosen else Knobs()
    if "collect" in chosen:
        knobs = draw_retention(streams.stream("plan", "retention"), knobs)
    if "mesh" in chosen:
        knobs = replace(knobs, leader_timeout_s=0.5)
    mesh = any(kind in chosen for kind in ("ring", "smallest_cut", "promote", "mesh"))
    edges = "edges" in chosen
    return Plan(
        seed=seed,
        nodes=count,
        nodes_key=NODES_KEY if "mesh" in chosen else "",
        durability=durability,
        weather=draw_weather(streams.stream("plan", "weather")) if "weather" in chosen else FAIR,
        links=draw_links(streams, members, mesh=mesh, foul=edges) if mesh or edges else (),
        knobs=knobs,
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        safety_s=SAFETY_S,
    )


def _steps(kind: str, stream: Stream, members: Members) -> list[Step]:
    steps: list[Step] = []
    for _ in range(1 + stream.below(3)):
        begin_s = round(stream.uniform(0.5, SAFETY_S - 8), 3)
        for_s = round(stream.uniform(0.5, 7), 3)
        drawn = _FAULTS[kind](stream, members, for_s)
        steps += [Step(round(begin_s + later_s, 3), operation) for later_s, operation in drawn]
        if kind in _ONCE:
            break
    return steps


Timed: TypeAlias = list[tuple[float, Operation]]
"""What happens, and how much later than the fault begins, s."""


def _cut(stream: Stream, members: Members, for_s: float | None, how: How) -> SimpleCut:
    member = stream.choice(members)
    match stream.below(3):
        case 0:
            groups: list[tuple[str, ...]] = [(), ()] if len(members) == 2 or stream.chance(0.7) else [(), (), ()]
            shuffled = list(members)
            stream.shuffle(shuffled)
            for place, each in enumerate(shuffled):
                at = place if place < len(groups) else stream.below(len(groups))
                groups[at] = (*groups[at], each)
            return Partition(tuple(groups), for_s=for_s, how=how)
        case 1:
            return CutLinks(((LEADER, stream.choice(members[1:])),), for_s=for_s, how=how)
        case _:
            return Isolate(member, for_s=for_s, how=how)


def _partition(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(0.0, _cut(stream, members, for_s, "drop"))]


def _hold(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(0.0, _cut(stream, members, for_s, "hold"))]


def _reset(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(0.0, _cut(stream, members, stream.choice((0.001, for_s)), "reset"))]


def _one_way(stream: Stream, members: Members, for_s: float) -> Timed:
    member, how = stream.choice(members), stream.choice(_HOWS)
    others = tuple(other for other in members if other != member)
    sources, destinations = ((member,), others) if stream.chance(0.5) else (others, (member,))
    return [(0.0, CutOneWay(sources, destinations, for_s=for_s, how=how))]


def _ring(stream: Stream, members: Members, for_s: float) -> Timed:
    shuffled = list(members)
    stream.shuffle(shuffled)
    how = stream.choice(_HOWS)
    if len(shuffled) < 4:  # everybody is a neighbour
        return [(0.0, Isolate(shuffled[0], for_s=for_s, how=how))]
    return [(0.0, Ring(tuple(shuffled), for_s=for_s, how=how))]


def _smallest_cut(stream: Stream, members: Members, for_s: float) -> Timed:
    target, weighted = stream.choice(members[1:]), stream.chance(0.5)
    return [(0.0, SmallestCut(LEADER, target, weighted, for_s=for_s, how=stream.choice(_HOWS)))]


def _flap(stream: Stream, members: Members, for_s: float) -> Timed:
    cut = _cut(stream, members, None, stream.choice(_HOWS))
    period_s, duty = stream.choice((0.05, 0.5, 2.0)), stream.choice((0.2, 0.5, 0.9))
    return [(0.0, Flap(cut, period_s, duty, stream.choice((0.0, 0.5)), for_s=for_s))]


def _swizzle(stream: Stream, members: Members, for_s: float) -> Timed:
    before, after = list(members), list(members)
    stream.shuffle(before)
    stream.shuffle(after)
    gap_s = round(for_s / len(members) / 2, 3)
    return [(0.0, Swizzle(tuple(before), tuple(after), gap_s, how=stream.choice(_HOWS)))]


def _difference(kind: str, stream: Stream) -> Difference:
    match kind:
        case "slow":
            return Difference(latency=draw_latency(stream), correlation=stream.choice((0.0, 0.9)))
        case "lose":
            return Difference(loss=stream.choice((0.1, 0.5, 1.0)))
        case "duplicate":
            return Difference(duplication=stream.choice((0.1, 1.0)), duplication_s=stream.choice((0.0, 0.1, 5.0)))
        case "reorder":
            return Difference(reordering=stream.choice((0.1, 0.5)), reordering_s=stream.choice((0.02, 0.5, 3.0)))
        case "corrupt":
            return Difference(corruption=stream.choice((0.05, 0.5)))
        case _:
            return Difference(bandwidth=stream.choice((500.0, 5_000.0)), queue_bytes=stream.choice((1_000, 20_000)))


def _weather(kind: str) -> Callable[[Stream, Members, float], Timed]:
    def draw_it(stream: Stream, members: Members, for_s: float) -> Timed:
        some: tuple[Members, Members] = stream.choice((((), ()), ((LEADER,), ()), ((), (LEADER,))))
        return [(0.0, Weather(_difference(kind, stream), *some, for_s=for_s))]

    return draw_it


def _crash(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(0.0, Crash(stream.choice(members), for_s=for_s))]


def _stop(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(0.0, Stop(stream.choice(members), for_s=for_s))]


def _rolling(stream: Stream, members: Members, for_s: float) -> Timed:
    gap_s, down_s = stream.choice((0.0, 0.5)), round(for_s / len(members), 3)
    return [(0.0, RollingRestart(members, down_s, gap_s))]


def _wipe(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(0.0, Wipe(stream.choice(members), for_s=for_s))]


def _replace(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(for_s, Replace(stream.choice(members)))]


def _join(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(for_s, Join(stream.choice(members[1:])))]


def _restore(stream: Stream, members: Members, for_s: float) -> Timed:
    member = stream.choice(members)
    return [(0.0, Backup(member)), (for_s, Restore(member))]


def _promote(stream: Stream, members: Members, for_s: float) -> Timed:
    """The leader goes, or stays and follows, and another one leads."""
    ways: tuple[Operation, ...] = (Crash(LEADER), Wipe(LEADER), Isolate(LEADER, for_s=for_s))
    gone: Timed = [(0.0, stream.choice(ways))]
    back: Timed = [(for_s, Restart(LEADER))]
    new: Timed = [(round(stream.uniform(0.0, 7.0), 3), Promote(stream.choice(members)))]
    return (gone + back if stream.chance(0.7) else []) + new


def _leader(stream: Stream, members: Members, for_s: float) -> Timed:
    """The leader is away, or lost with what it had."""
    assert members[0] == LEADER, "it is the first"
    cut = Isolate(LEADER, for_s=for_s, how=stream.choice(_HOWS))
    ways: tuple[Operation, ...] = (cut, Crash(LEADER, for_s=for_s), Wipe(LEADER, for_s=for_s))
    return [(0.0, stream.choice(ways))]


def _pause(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(0.0, Pause(stream.choice(members), for_s=for_s))]


def _burden(stream: Stream, members: Members, for_s: float) -> Timed:
    return [(0.0, Burden(stream.choice(members), stream.choice((0.001, 0.01, 0.1)), for_s=for_s))]


def _skew(stream: Stream, members: Members, for_s: float) -> Timed:
    ahead_s = stream.choice((-3600.0, -5.0, 5.0, 30.0, 3600.0))
    return [(0.0, Skew(stream.choice(members), ahead_s, for_s=for_s))]


def _jump(stream: Stream, members: Members, for_s: float) -> Timed:
    """A step that ends, perhaps with another one in between."""
    member, by_s = stream.choice(members), stream.choice((-3600.0, -1.0, -0.01, 0.01, 1.0, 3600.0))
    again: Timed = [(round(for_s / 2, 3), Jump(member, -by_s / 2, for_s=for_s))]
    return [(0.0, Jump(member, by_s, for_s=for_s)), *(again if stream.chance(0.3) else [])]


def _drift(stream: Stream, members: Members, for_s: float) -> Timed:
    ppm = stream.choice((-100.0, 100.0, 50_000.0, 1_000_000.0, FROZEN_PPM, FROZEN_PPM))
    return [(0.0, Drift(stream.choice(members), ppm, for_s=for_s))]


def _disk(stream: Stream, members: Members, for_s: float) -> Timed:
    troubles = (Trouble(slow_s=0.2), Trouble(fail=0.3), Trouble(fail=1.0), Trouble(full=True))
    return [(0.0, SetDisk(stream.choice(members), stream.choice(troubles), for_s=for_s))]


def _sync(stream: Stream, members: Members, for_s: float) -> Timed:
    """An fsync fails; often the machine ends soon after."""
    member = stream.choice(members)
    bad = SetDisk(member, Trouble(fail_sync=stream.choice((0.3, 1.0))), for_s=for_s)
    crash: Timed = [(round(for_s / 2, 3), Crash(member, for_s=0.5))]
    return [(0.0, bad), *(crash if stream.chance(0.7) else [])]


def _lies(stream: Stream, members: Members, for_s: float) -> Timed:
    member = stream.choice(members)
    return [(0.0, SetDisk(member, Trouble(lies=True), for_s=for_s)), (for_s, Crash(member, for_s=0.5))]


def _rot(stream: Stream, members: Members, for_s: float) -> Timed:
    member = stream.choice(members)
    return [(0.0, Rot(member)), (for_s, Crash(member, for_s=0.5))]


def _collect(stream: Stream, members: Members, for_s: float) -> Timed:
    """Tombstones are collected, often while a node is away for longer than followers may be, and is written to."""
    assert members[0] == LEADER, "it has followers"
    confirmed: Timed = [(0.0, Confirm(LEADER)), (for_s, Confirm(LEADER))]
    if stream.chance(0.3):
        return confirmed
    away = stream.choice(members[1:])

    def soon() -> float:
        return round(stream.uniform(1.0, 5.0), 3)

    deleted: Timed = [(soon(), Delete(LEADER, stream.choice(("users/*", *KEYS)))) for _ in range(3)]
    written: Timed = [(soon(), Write(away, stream.choice(KEYS), {"away": number})) for number in range(stream.below(4))]
    return [*confirmed, (0.5, Isolate(away, for_s=for_s + 8)), *deleted, *written]


def _mesh(stream: Stream, members: Members, for_s: float) -> Timed:
    """Nodes know each other, and lose their leader for longer than it takes to notice."""
    known: Timed = [
        (0.0, Write(LEADER, f"{NODES_KEY[:-1]}{name}", registration(place)))
        for place, name in enumerate(members)
        if name != LEADER
    ]
    lost = LEADER if stream.chance(0.6) else stream.choice(members[1:])
    pairs = [(LEADER, name) for name in members[1:] if lost in (LEADER, name)]
    links = tuple(link for near, far in pairs for link in ((near, far), (far, near)))
    return [*known, (1.0, CutLinks(links, for_s=for_s + 8))]


def _nothing(stream: Stream, members: Members, for_s: float) -> Timed:
    """It is a setting, no step."""
    del stream, members, for_s
    return []


_FAULTS: Final[dict[str, Callable[[Stream, Members, float], Timed]]] = {
    "partition": _partition,
    "one_way": _one_way,
    "hold": _hold,
    "reset": _reset,
    "ring": _ring,
    "smallest_cut": _smallest_cut,
    "mesh": _mesh,
    "flap": _flap,
    "swizzle": _swizzle,
    "slow": _weather("slow"),
    "lose": _weather("lose"),
    "duplicate": _weather("duplicate"),
    "reorder": _weather("reorder"),
    "corrupt": _weather("corrupt"),
    "throttle": _weather("throttle"),
    "weather": _nothing,
    "edges": _nothing,
    "crash": _crash,
    "stop": _stop,
    "rolling": _rolling,
    "wipe": _wipe,
    "replace": _replace,
    "join": _join,
    "restore": _restore,
    "promote": _promote,
    "leader": _leader,
    "pause": _pause,
    "burden": _burden,
    "skew": _skew,
    "jump": _jump,
    "drift": _drift,
    "disk": _disk,
    "sync": _sync,
    "lies": _lies,
    "rot": _rot,
    "collect": _collect,
    "knobs": _nothing,
}
NEMESES: Final = tuple(_FAULTS)
"""Kinds of faults that a plan may have. `weather` is that of the whole plan, `edges` that of single links, `collect`
that tombstones are collected early and followers expire, `knobs` that timings and limits are other than usual."""
_ONCE: Final = ("promote", "join", "rolling")
"""Kinds that a plan has once at most."""
