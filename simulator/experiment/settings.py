"""Settings: what is drawn of a plan beside its faults: what clients do, knobs, links and their weather.

Layer: simulator/experiment. Start at `draw_workload`.
"""

from itertools import permutations
from typing import Final

from msgspec.structs import replace

from pivot.config import Knobs
from pivot.types import JsonValue
from simulator.experiment.operations import Delete, Operation, Push, Read, Write
from simulator.experiment.plan import LEADER, Step, Wire
from simulator.world.latency import (
    BimodalLatency,
    ConstantLatency,
    EmpiricalLatency,
    ExponentialLatency,
    Latency,
    LogNormalLatency,
    NormalLatency,
    ParetoLatency,
    UniformLatency,
)
from simulator.world.link import Conditions
from simulator.world.rng import Stream, Streams

SAFETY_S: Final = 30.0
FAIR: Final = Conditions(latency=UniformLatency(base_s=0.001, spread_s=0.004))
HABITS: Final = ("hot", "burst", "storm", "across", "big")
"""What clients may do beside the usual: all write one key; many write at one instant; many delete; one reads here and
writes there; some write big values."""
KEYS: Final = ("settings", "users/a", "users/b", "users/c")
"""What clients write, beside new entries of the list: few keys, so that writes meet."""
_MONTH_S: Final = 30 * 86_400.0
_SILENCE_S_MAX_MIN: Final = 3.0
"""Who gives up sooner than a greeting and its answer take in the worst weather never meets anybody."""
_BIG: Final = (2_000, 20_000, 100_000)


def draw_workload(streams: Streams, members: tuple[str, ...]) -> list[Step]:
    """Writes to few keys at all members, some at the same instant; reads; and what each plan has of `HABITS`."""
    steps = _mixture(streams.stream("plan", "workload"), members) + _reads(streams.stream("plan", "reads"), members)
    for habit in HABITS:
        stream = streams.stream("plan", "habit", habit)
        if stream.chance(0.2):
            steps += _habit(habit, stream, members)
    return steps


def _mixture(stream: Stream, members: tuple[str, ...]) -> list[Step]:
    steps: list[Step] = []
    at_s = 0.5
    for number in range(10 + stream.below(40)):
        if not stream.chance(0.2):
            at_s += stream.exponential(0.6)
        if at_s >= SAFETY_S - 1:
            break
        member = stream.choice(members)
        key = stream.choice(KEYS)
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


def _reads(stream: Stream, members: tuple[str, ...]) -> list[Step]:
    """Reads of the keys that have a name, in pairs at one member: what was seen once must be seen again."""
    steps: list[Step] = []
    for _ in range(5 + stream.below(15)):
        read = Read(stream.choice(members), stream.choice(KEYS))
        begin = stream.uniform(0.5, SAFETY_S - 4)
        steps += [Step(round(begin, 3), read), Step(round(begin + stream.exponential(1.0), 3), read)]
    return [step for step in steps if step.at_s < SAFETY_S]


def _habit(habit: str, stream: Stream, members: tuple[str, ...]) -> list[Step]:
    at_s = round(stream.uniform(1.0, SAFETY_S - 6), 3)
    key = stream.choice(KEYS)
    steps: list[Step] = []
    for number in range(5 + stream.below(10)):
        member = stream.choice(members)
        value: JsonValue = {habit: number}
        match habit:
            case "hot":
                at_s = round(at_s + stream.uniform(0.0, 0.3), 3)
                steps.append(Step(at_s, Write(member, key, value)))
            case "burst":
                push = stream.chance(0.5)
                steps.append(Step(at_s, Push(member, "users/*", value) if push else Write(member, key, value)))
            case "storm":
                at_s = round(at_s + stream.uniform(0.0, 0.1), 3)
                pattern = stream.choice(("users/*", *KEYS))
                steps.append(Step(at_s, Delete(member, pattern)))
            case "across":
                other, client = stream.choice(members), f"traveller-{number % 2}"
                later_s = round(at_s + stream.uniform(0.0, 0.2), 3)
                steps.append(Step(at_s, Read(member, key, client)))
                steps.append(Step(later_s, Write(other, key, value, client)))
                at_s = round(later_s + stream.uniform(0.0, 0.3), 3)
            case _:
                at_s = round(at_s + stream.uniform(0.0, 0.5), 3)
                value = {"n": number, "big": "x" * stream.choice(_BIG)}
                steps.append(Step(at_s, Write(member, key, value)))
    return [step for step in steps if step.at_s < SAFETY_S]


def draw_latency(stream: Stream) -> Latency:
    """Any model."""
    typical_s = stream.choice((0.005, 0.05, 0.5))
    models: tuple[Latency, ...] = (
        ConstantLatency(base_s=typical_s),
        UniformLatency(base_s=0.001, spread_s=2 * typical_s),
        ExponentialLatency(base_s=0.001, mean_s=typical_s),
        NormalLatency(base_s=0.001, mean_s=typical_s, sigma_s=typical_s / 3),
        LogNormalLatency(base_s=0.001, median_s=typical_s, sigma=1.0),
        ParetoLatency(base_s=0.001, scale_s=typical_s, alpha=1.5),
        BimodalLatency(base_s=0.005, far_s=10 * typical_s, far=0.2),
        EmpiricalLatency(base_s=0.0, samples_s=(0.001, typical_s, 1.1 * typical_s, 1.3 * typical_s, 5 * typical_s)),
    )
    return stream.choice(models)


def draw_weather(stream: Stream) -> Conditions:
    """The weather of a whole plan."""
    return Conditions(
        latency=draw_latency(stream),
        correlation=stream.choice((0.0, 0.0, 0.8)),
        loss=stream.choice((0.0, 0.02, 0.2)),
        duplication=stream.choice((0.0, 0.05, 0.3)),
        duplication_s=stream.choice((0.0, 0.0, 2.0)),
        reordering=stream.choice((0.0, 0.0, 0.2)),
        corruption=stream.choice((0.0, 0.0, 0.05)),
    )


def draw_links(streams: Streams, members: tuple[str, ...], *, mesh: bool, foul: bool) -> tuple[Wire, ...]:
    """All links, perhaps each with weather of its own."""
    wires: list[Wire] = []
    for src, dst in permutations(members, 2):
        stream = streams.stream("plan", "link", src, dst)
        weather, weight = draw_weather(stream), stream.choice((1.0, 1.0, 5.0))
        if mesh or LEADER in (src, dst):
            wires.append(Wire(src, dst, weather if foul else None, weight))
    return tuple(wires)


def draw_knobs(stream: Stream) -> Knobs:
    """Every knob, each between what is barely possible and what is usual."""
    sign_s, retry_s_min = stream.choice((0.2, 1.0, 2.0)), stream.choice((0.1, 1.0))
    silence_s_min = 3 * sign_s  # who is quicker to suspect than its peer is to show that it lives never follows
    return Knobs(
        heartbeat_s=sign_s,
        ack_repeat_s=sign_s,
        silence_s_min=silence_s_min,
        silence_s_max=max(silence_s_min * stream.choice((1.0, 5.0)), _SILENCE_S_MAX_MIN),
        retry_s_min=retry_s_min,
        retry_s_max=stream.choice((retry_s_min, 5.0, 60.0)),
        greet_s=stream.choice((1.0, 5.0)),
        leader_timeout_s=stream.choice((0.5, 5.0)),
        push_timeout_s=stream.choice((0.5, 5.0)),
        reoffer_s=stream.choice((1.0, 10.0, 60.0)),
        page_rows=stream.choice((1, 2, 500)),
        page_bytes=stream.choice((1, 300, 2**20)),
        page_window=stream.choice((1, 2, 8)),
        push_window=stream.choice((1, 4)),
        collect_s=stream.choice((1.0, 60.0)),
        member_ttl_s=stream.choice((10.0, _MONTH_S)),
        peers_max=stream.choice((100, 10_000)),
        ahead_s_max=stream.choice((1.0, 60.0)),
        mailbox_max=stream.choice((1_000, 10_000)),
        restarts_max=stream.choice((1, 5)),
        restarts_s=stream.choice((10.0, 60.0)),
    )


def draw_retention(stream: Stream, knobs: Knobs) -> Knobs:
    """Tombstones are collected early, and followers expire."""
    collect_s, ttl_s = stream.choice((0.5, 1.0, 3.0)), stream.choice((3.0, 10.0, _MONTH_S))
    return replace(knobs, collect_s=collect_s, member_ttl_s=ttl_s)
