"""HTTP on loopback ends as the simulator does: the same value of every key, the same fate of every write.

Plans have keys with names, operations at least 100 ms apart, and faults that a TCP proxy can play: links that are cut
and heal. Stamps and times differ; which operation won, and which of them replaced which, must not.
"""

import pytest
import trio

from simulator import Plan, Run, delete, heal, isolate, write
from simulator.experiment.history import LedgerLine
from simulator.experiment.operations import Operation
from simulator.experiment.plan import Step
from simulator.live.cluster import live_cluster
from simulator.live.player import LiveOutcome, play_live
from simulator.world.rng import Streams

PLANS = 20
WITHIN_S = 60.0
GAP_S = 0.15
KEYS = ("settings", "users/a", "users/b")
SLICE = (3,)
"""Seeds that are always played; all of them are the long form."""


def drawn(seed: int) -> Plan:
    """Writes and deletions at all members, some of which are cut off for a while.

    A key is deleted at most once, and where it was written first: there it lives, however slow messages are.
    """
    chance = Streams(seed).stream("sameness")
    nodes = 1 + chance.below(2)
    members = ("leader", *(f"n{number}" for number in range(1, nodes + 1)))
    home: dict[str, str] = {}
    deleted: list[str] = []
    steps: list[tuple[float, Operation]] = []
    at_s = 0.5
    for number in range(12):
        at_s += GAP_S
        if number in (3, 7):
            steps.append((at_s, isolate(chance.choice(members))))
        if number in (6, 10):
            steps.append((at_s, heal()))
        key, member = chance.choice(KEYS), chance.choice(members)
        if key in home and key not in deleted and chance.chance(0.3):
            steps.append((at_s, delete(home[key], key)))
            deleted.append(key)
        else:
            home.setdefault(key, member)
            steps.append((at_s, write(member, key, {"n": number})))
    return Plan(
        seed=seed, nodes=nodes, steps=tuple(Step(round(t, 3), o) for t, o in steps), safety_s=round(at_s + 1, 3)
    )


def fates(ledger: tuple[LedgerLine, ...]) -> list[tuple[int, str, str, int]]:
    return [(line.id, line.key, line.fate, line.by) for line in ledger]


@pytest.mark.parametrize(
    "seed", [*SLICE, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(PLANS) if seed not in SLICE)]
)
def test_a_plan_ends_over_http_as_in_the_simulator(seed: int) -> None:
    plan = drawn(seed)
    run = Run.of(plan)

    async def play() -> LiveOutcome:
        async with live_cluster(plan, proxied=True) as cluster:
            return await play_live(cluster, within_s=WITHIN_S)

    live = trio.run(play)
    assert run.verdict == "ok"
    assert live.converged_s is not None
    assert live.state == run.state
    assert fates(live.ledger) == fates(run.ledger)


def test_the_plans_are_about_something() -> None:
    runs = [Run.of(drawn(seed)) for seed in range(PLANS)]
    assert all(run.outcome.potency["isolate"] for run in runs)
    kinds = {line.fate for run in runs for line in run.ledger}
    assert kinds == {"won", "superseded"}
    assert sum(record.kind == "delete" and bool(record.changes) for run in runs for record in run.outcome.records) > 20
    assert sum(bool(run.outcome.conflicts) for run in runs) > PLANS / 2
