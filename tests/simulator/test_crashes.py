"""Members killed at random moments while clients write, in virtual time, on disks that fail, tear and forget.

As `tests/e2e/test_crashes.py` with processes. Every acknowledged write is accounted for: nothing is lost, nothing comes
back, though tombstones are collected all the time. On disks that sync every commit nothing is gone, either.
"""

from collections import Counter

import pytest

from pivot.config import Knobs
from simulator import Plan, Run, confirm, crash, delete, disk, push, restart, write
from simulator.experiment.operations import Operation
from simulator.experiment.plan import LEADER, Durability, Step
from simulator.world.rng import Stream, Streams

MEMBERS = (LEADER, "n1", "n2")
KEYS = ("settings", "users/ann", "users/bob", "users/eve")
UNTIL_S = 20.0
BUDGETS = [25, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]


def operation(chance: Stream, number: int) -> Operation:
    member, key = chance.choice(MEMBERS), chance.choice(KEYS)
    match chance.below(4):
        case 0:
            return push(member, "users/*", number)
        case 1:
            return delete(member, "users/*" if chance.chance(0.1) else key)
        case _:
            return write(member, key, number)


def crashes(chance: Stream) -> list[Step]:
    steps: list[Step] = []
    at_s = 1.0
    while at_s < UNTIL_S - 2:
        victims = MEMBERS if chance.chance(0.2) else (chance.choice(MEMBERS),)  # now and then the lights go out
        back_s = at_s + chance.uniform(0.0, 1.5)
        steps += [Step(round(at_s, 6), crash(victim)) for victim in victims]
        steps += [Step(round(back_s + chance.uniform(0.0, 0.5), 6), restart(victim)) for victim in victims]
        at_s = back_s + chance.uniform(0.1, 1.5)
    return steps


def troubles(chance: Stream, *, lies: bool) -> list[Step]:
    steps: list[Step] = []
    for member in MEMBERS:
        begin_s, end_s = chance.uniform(1, 8), chance.uniform(8, UNTIL_S - 1)
        fail, slow_s = chance.choice((0.0, 0.1, 0.5)), chance.choice((0.0, 0.05))
        bad = disk(member, fail=fail, slow_s=slow_s, lies=lies and member != LEADER)
        steps += [Step(round(begin_s, 3), bad), Step(round(end_s, 3), disk(member))]
    return steps


def plan(seed: int, durability: Durability, *, lies: bool = False) -> Plan:
    chance = Streams(seed).stream("crashes")
    work = [
        Step(round(0.5 + number * 0.08 + chance.uniform(0, 0.08), 6), operation(chance, number))
        for number in range(200)
    ]
    confirms = [Step(float(at_s), confirm(LEADER)) for at_s in range(1, 20, 3)]
    steps = (*work, *crashes(chance), *troubles(chance, lies=lies), *confirms)
    knobs = Knobs(collect_s=0.5)
    return Plan(seed=seed, nodes=2, durability=durability, knobs=knobs, steps=steps, safety_s=UNTIL_S)


@pytest.mark.parametrize("seeds", BUDGETS)
@pytest.mark.parametrize(("durability", "lies"), [("full", False), ("full", True), ("normal", False)])
def test_no_acknowledged_write_is_lost_when_members_are_killed(
    durability: Durability, lies: bool, seeds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fates: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    kills = 0
    for seed in range(seeds):
        run = Run.of(plan(seed, durability, lies=lies))
        assert run.verdict == "ok", run
        kills += sum(step.operation == crash(member) for step in run.plan.steps for member in MEMBERS)
        fates.update(line.fate for line in run.ledger)
        reached.update(run.outcome.reached)
    with capsys.disabled():
        print(f"\n{durability}{', nodes lie' if lies else ''}: {kills} kills, {dict(fates)} changes; {dict(reached)}")  # noqa: T201
    assert fates["lost"] == 0
    assert (reached["versions gone"] > 0) == (lies or durability == "normal")
    assert (fates["gone"] > 0) == (lies or durability == "normal")
    assert sum(fates.values()) > 5 * kills
    assert (reached["commits lost"] > 0) == (lies or durability == "normal")
    for what in ("commits torn", "commits failed", "commits slowed", "commits unanswered", "tombstones collected"):
        assert reached[what] > 0, what
