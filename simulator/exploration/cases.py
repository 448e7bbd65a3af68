"""Cases: the small plans whose schedules are explored: every short sequence of writes and deletions.

Layer: simulator (exploration). Operations follow each other faster than messages travel, so that all of them are
concurrent; that one waits for another takes a delay. Weather and disks leave nothing to chance, and timings are such
that the pauses in which nothing can happen differently are few. Start at `cases`.
"""

from collections.abc import Iterator
from itertools import product
from typing import Final

from pivot.config import Knobs
from simulator.experiment.operations import Delete, Workload, Write
from simulator.experiment.plan import LEADER, Plan, Step
from simulator.world.latency import ConstantLatency
from simulator.world.link import Conditions

LATENCY_S: Final = 0.01
BEGIN_S: Final = 0.5
"""By then members have found each other."""
GAP_S: Final = 0.004
AFTER_S: Final = 4.0
"""For how long after the first operation something may deviate."""
NODES_MAX: Final = 2
OPERATIONS_MAX: Final = 3
_LONG_S: Final = 1e6
KNOBS: Final = Knobs(
    ack_repeat_s=1.0,
    silence_s_min=2.5,
    silence_s_max=2.5,
    retry_s_max=1.0,
    greet_s=1.0,
    push_timeout_s=1.0,
    reoffer_s=_LONG_S,
    collect_s=_LONG_S,
)


def cases(nodes: int, operations: int) -> list[Plan]:
    """All plans with so many nodes and up to so many operations.

    On one key: writes and deletions at all members, a write first, for there is nothing to delete before; with two
    nodes the first that is named is n1, for they are alike. On a key each: writes alone, at least two.
    """
    members = (LEADER, *(f"n{number}" for number in range(1, nodes + 1)))
    plans: list[Plan] = []
    for length in range(1, operations + 1):
        for asked in product(members, repeat=length):
            if not _is_first_of_its_kind(asked):
                continue
            kinds = product((False, True), repeat=length - 1)
            plans += [_plan(nodes, tuple(_on_one_key(asked, (False, *deletes)))) for deletes in kinds]
            if length > 1:
                writes = tuple(Write(member, f"users/{number}", number) for number, member in enumerate(asked))
                plans.append(_plan(nodes, writes))
    return plans


def _is_first_of_its_kind(asked: tuple[str, ...]) -> bool:
    nodes = tuple(dict.fromkeys(member for member in asked if member != LEADER))
    return nodes == tuple(sorted(nodes)) and (not nodes or nodes[0] == "n1")


def _on_one_key(asked: tuple[str, ...], deletes: tuple[bool, ...]) -> Iterator[Workload]:
    for number, (member, is_delete) in enumerate(zip(asked, deletes, strict=True)):
        yield Delete(member, "users/a") if is_delete else Write(member, "users/a", number)


def _plan(nodes: int, operations: tuple[Workload, ...]) -> Plan:
    steps = tuple(Step(round(BEGIN_S + number * GAP_S, 3), operation) for number, operation in enumerate(operations))
    return Plan(
        seed=1,
        nodes=nodes,
        keys=("users/*",),
        durability="full",
        weather=Conditions(latency=ConstantLatency(base_s=LATENCY_S)),
        knobs=KNOBS,
        steps=steps,
        safety_s=BEGIN_S + AFTER_S,
        liveness_s=30.0,
    )
