"""Draw: plans made up from a seed, for fuzzing.

Layer: simulator/experiment. Every kind of fault is itself in or out (swarm testing): a plan with all kinds at once
hides what a few of them do together. Start at `draw`.
"""

from typing import Final

from simulator.experiment.plan import (
    LEADER,
    Crash,
    CutOneWay,
    Delete,
    Durability,
    Heal,
    Isolate,
    Operation,
    Partition,
    Plan,
    Push,
    Restart,
    Skew,
    Step,
    Write,
)
from simulator.world.latency import ExponentialLatency, UniformLatency
from simulator.world.link import Conditions
from simulator.world.rng import Stream, Streams

NEMESES: Final = ("partition", "one_way", "isolate", "crash", "skew", "weather")
"""Kinds of faults that a plan may have."""
_SAFETY_S: Final = 30.0


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
    chosen = [kind for kind in NEMESES if choose.chance(0.5) and kind in nemeses]
    durability: Durability = "full" if choose.chance(0.6) else "memory"
    members = (LEADER, *(f"n{number}" for number in range(1, count + 1)))
    steps = _workload(streams.stream("plan", "workload"), members)
    for kind in chosen:
        steps += _faults(kind, streams.stream("plan", kind), members)
    return Plan(
        seed=seed,
        nodes=count,
        durability=durability,
        weather=_weather(streams.stream("plan", "weather")) if "weather" in chosen else _FAIR,
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        safety_s=_SAFETY_S,
    )


_FAIR: Final = Conditions(latency=UniformLatency(base_s=0.001, spread_s=0.004))


def _weather(stream: Stream) -> Conditions:
    slow = ExponentialLatency(base_s=0.001, mean_s=stream.choice((0.005, 0.05, 0.5)))
    return Conditions(latency=slow, loss=stream.choice((0.0, 0.02, 0.2)), duplication=stream.choice((0.0, 0.05, 0.3)))


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
            case "partition":
                shuffled = list(members)
                stream.shuffle(shuffled)
                middle = 1 + stream.below(len(shuffled) - 1)
                groups = (tuple(shuffled[:middle]), tuple(shuffled[middle:]))
                steps += [Step(begin, Partition(groups)), Step(end, Heal())]
            case "one_way":
                others = tuple(other for other in members if other != member)
                way = ((member,), others) if stream.chance(0.5) else (others, (member,))
                steps += [Step(begin, CutOneWay(*way)), Step(end, Heal())]
            case "isolate":
                steps += [Step(begin, Isolate(member)), Step(end, Heal())]
            case "crash":
                steps += [Step(begin, Crash(member)), Step(end, Restart(member))]
            case "skew":
                ahead_s = stream.choice((-3600.0, -5.0, 5.0, 30.0))
                steps += [Step(begin, Skew(member, ahead_s)), Step(end, Skew(member, 0.0))]
            case _:
                pass  # weather is no step
    return steps
