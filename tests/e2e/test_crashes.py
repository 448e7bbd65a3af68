"""Processes on disk, killed at random moments while clients write: every acknowledged write is accounted for.

Only the moments are random; who is killed and what is written follow a seed.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import trio

from pivot.engine.sqlite import FILE_NAME
from simulator.experiment.history import LedgerLine, Record, ledger
from simulator.experiment.operations import Workload
from simulator.experiment.plan import LEADER, Plan
from simulator.experiment.verbs import delete, push, write
from simulator.live.cluster import LiveCluster, live_cluster
from simulator.live.player import ask_live

WRITERS = 4
SETTLE_S = 90.0


def draw(chance: Random, member: str, number: int) -> Workload:
    key = chance.choice(["settings", "users/ann", "users/bob", "users/eve"])
    match chance.randrange(4):
        case 0:
            return push(member, "users/*", {"n": number})
        case 1:
            return delete(member, key)
        case _:
            return write(member, key, {"n": number})


async def play(kills: int, seed: int) -> tuple[list[Record], list[LedgerLine]]:
    """Write and kill; returns the history and what became of every acknowledged write."""
    plan = Plan(seed=seed, nodes=2, durability="full", safety_s=0.0)
    records: list[Record] = []
    async with live_cluster(plan) as cluster:
        async with trio.open_nursery() as nursery:
            for writer in range(WRITERS):
                nursery.start_soon(keep_writing, cluster, records, Random(f"writer {writer} of {seed}"))
            await kill_and_restart(cluster, kills, Random(f"killer of {seed}"))
            nursery.cancel_scope.cancel()
        for name in plan.members:
            await cluster.start(name)
        with trio.fail_after(SETTLE_S):
            while not await cluster.settled():  # noqa: ASYNC110 - the condition is in other processes
                await trio.sleep(0.2)
        await cluster.stop()
        return records, ledger(records, stamps_on_disk(cluster.folder / LEADER / FILE_NAME))


def stamps_on_disk(file: Path) -> dict[str, tuple[int, bool]]:
    """Key -> (stamp, deleted), tombstones included, as the leader kept them."""
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT key, max(created, updated), deleted FROM rows").fetchall()
    return {key: (stamp, bool(deleted)) for key, stamp, deleted in rows}


async def keep_writing(cluster: LiveCluster, records: list[Record], chance: Random) -> None:
    while True:
        member = chance.choice(cluster.plan.members)
        if member in cluster.running:
            number = len(records) + 1
            placeholder = Record(id=number, member=member, kind="write", target="", value=None, invoked_s=0.0)
            records.append(placeholder)
            with trio.CancelScope(shield=True):  # to its end, so that what is acknowledged is recorded
                operation = draw(chance, member, number)
                records[number - 1] = await ask_live(cluster, number, operation, trio.current_time())
        await trio.sleep(chance.uniform(0.0, 0.02))


async def kill_and_restart(cluster: LiveCluster, kills: int, chance: Random) -> None:
    for _ in range(kills):
        await trio.sleep(chance.uniform(0.1, 0.6))
        victims = [chance.choice(cluster.plan.members)]
        if chance.random() < 0.2:
            victims = list(cluster.plan.members)  # the lights go out
        for name in victims:
            await cluster.kill(name)
        await trio.sleep(chance.uniform(0.0, 0.5))
        for name in victims:
            await cluster.start(name)


@pytest.mark.parametrize(
    ("kills", "seed"),
    [(10, 1), pytest.param(100, 2, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
)
def test_no_acknowledged_write_is_lost_when_processes_are_killed(
    kills: int, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    records, lines = trio.run(play, kills, seed)
    assert [line for line in lines if line.fate not in ("won", "superseded")] == []
    unknown = sum(record.outcome == "info" for record in records)
    with capsys.disabled():
        print(f"\n{kills} kills, {len(records)} operations, {unknown} unknown, {len(lines)} changes accounted for")  # noqa: T201
    assert len(lines) > 5 * kills
