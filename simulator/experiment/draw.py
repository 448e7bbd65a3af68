"""Draw: plans made up from a seed, for fuzzing.

Layer: simulator/experiment. Every kind of fault is itself in or out (swarm testing): a plan with all kinds at once
hides what a few of them do together. Each kind has streams of its own, so a new kind leaves the others as they were.
Start at `draw`.
"""

from typing import Final

from pivot.config import Knobs
from simulator.experiment.operations import (
    Confirm,
    Crash,
    CutOneWay,
    Delete,
    Heal,
    Isolate,
    Operation,
    Partition,
    Pause,
    Push,
    Restart,
    Resume,
    SetDisk,
    Skew,
    Wipe,
    Write,
)
from simulator.experiment.plan import LEADER, Durability, Plan, Step
from simulator.world.disk import Trouble
from simulator.world.latency import ExponentialLatency, UniformLatency
from simulator.world.link import Conditions
from simulator.world.rng import Stream, Streams

NEMESES: Final = (
    "partition",
    "one_way",
    "isolate",
    "crash",
    "skew",
    "weather",
    "wipe",
    "pause",
    "disk",
    "lies",
    "collect",
)
"""Kinds of faults that a plan may have; `collect` is that tombstones are collected early and followers expire."""
_SAFETY_S: Final = 30.0
_MONTH_S: Final = 30 * 86_400.0


def draw(seed: int, *, nodes: int | None = None, nemeses: tuple[str, ...] = NEMESES) -> Plan:
    """Make up a plan; the same seed and arguments give the same plan.

    Args:
        seed: of the plan and of its run.
        nodes: how many nodes; None = 1 to 4.
        nemeses: kinds of faults that may be in it, of `NEMESES`.
    """
    streams = Streams(seed)
    choose = streams.stream("plan", "shape")
    count = nodes if nodes is not None else 1 + choose.below(4)
    durability: Durability = choose.choice(("full", "full", "full", "normal", "memory", "memory"))
    chosen = [kind for kind in NEMESES if kind in nemeses and streams.stream("plan", kind, "in").chance(0.4)]
    members = (LEADER, *(f"n{number}" for number in range(1, count + 1)))
    steps = _workload(streams.stream("plan", "workload"), members)
    for kind in chosen:
        steps += _faults(kind, streams.stream("plan", kind), members)
    return Plan(
        seed=seed,
        nodes=count,
        durability=durability,
        weather=_weather(streams.stream("plan", "weather")) if "weather" in chosen else _FAIR,
        knobs=_retention(streams.stream("plan", "retention")) if "collect" in chosen else Knobs(),
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        safety_s=_SAFETY_S,
    )


_FAIR: Final = Conditions(latency=UniformLatency(base_s=0.001, spread_s=0.004))


def _weather(stream: Stream) -> Conditions:
    slow = ExponentialLatency(base_s=0.001, mean_s=stream.choice((0.005, 0.05, 0.5)))
    return Conditions(latency=slow, loss=stream.choice((0.0, 0.02, 0.2)), duplication=stream.choice((0.0, 0.05, 0.3)))


def _retention(stream: Stream) -> Knobs:
    return Knobs(collect_s=stream.choice((0.5, 1.0, 3.0)), member_ttl_s=stream.choice((3.0, 10.0, _MONTH_S)))


def _workload(stream: Stream, members: tuple[str, ...]) -> list[Step]:
    """Writes to few keys at all members, some at the same instant."""
    steps: list[Step] = []
    at_s = 0.5
    for number in range(10 + stream.below(40)):
        if not stream.chance(0.2):
            at_s += stream.exponential(0.6)
        if at_s >= _SAFETY_S - 1:
            break
        member = stream.choice(members)
        key = stream.choice(("settings", "users/a", "users/b", "users/c"))
        operation: Operation
        match stream.below(10):
            case 0 | 1 | 2:
                operation = Push(member, "users/*", {"n": number})
            case 3 | 4:
                operation = Delete(member, "users/*" if stream.chance(0.1) else key)
            case _:
                operation = Write(member, key, {"n": number})
        steps.append(Step(round(at_s, 3), operation))
    return steps


def _faults(kind: str, stream: Stream, members: tuple[str, ...]) -> list[Step]:
    steps: list[Step] = []
    for _ in range(1 + stream.below(3)):
        begin = round(stream.uniform(0.5, _SAFETY_S - 8), 3)
        end = round(begin + stream.uniform(0.5, 7), 3)
        member = stream.choice(members)
        match kind:
            case "partition" | "one_way" | "isolate":
                steps += [Step(begin, _cut(kind, stream, members, member)), Step(end, Heal())]
            case "crash":
                steps += [Step(begin, Crash(member)), Step(end, Restart(member))]
            case "wipe":
                steps += [Step(begin, Wipe(member)), Step(end, Restart(member))]
            case "pause":
                steps += [Step(begin, Pause(member)), Step(end, Resume(member))]
            case "skew":
                ahead_s = stream.choice((-3600.0, -5.0, 5.0, 30.0, 3600.0))
                steps += [Step(begin, Skew(member, ahead_s)), Step(end, Skew(member, 0.0))]
            case "disk":
                trouble = stream.choice((Trouble(slow_s=0.2), Trouble(fail=0.3), Trouble(fail=1.0), Trouble(full=True)))
                steps += [Step(begin, SetDisk(member, trouble)), Step(end, SetDisk(member))]
            case "lies":
                steps += [Step(begin, SetDisk(member, Trouble(lies=True))), Step(end, Crash(member))]
                steps += [Step(end, SetDisk(member)), Step(round(end + stream.uniform(0.0, 1.0), 3), Restart(member))]
            case "collect":
                steps += [Step(begin, Confirm(LEADER)), Step(end, Confirm(LEADER))]
            case _:
                pass  # weather is no step
    return steps


def _cut(kind: str, stream: Stream, members: tuple[str, ...], member: str) -> Operation:
    match kind:
        case "partition":
            shuffled = list(members)
            stream.shuffle(shuffled)
            middle = 1 + stream.below(len(shuffled) - 1)
            return Partition((tuple(shuffled[:middle]), tuple(shuffled[middle:])))
        case "one_way":
            others = tuple(other for other in members if other != member)
            return CutOneWay((member,), others) if stream.chance(0.5) else CutOneWay(others, (member,))
        case _:
            return Isolate(member)
