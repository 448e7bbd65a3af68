"""Player: the steps of a plan, one after another, on a live cluster.

Layer: simulator/live. The same plans as in the simulator, as far as real processes can play them: all but bad disks and
cuts of one direction. Members are killed (SIGKILL), wiped and restarted, stopped (SIGSTOP) and let go on; links between
the leader and nodes are cut by proxies; wall clocks are set wrong while their processes run. Start at `play_live`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, assert_never

import msgspec
import trio

from pivot.client import Client, Item
from pivot.errors import NotFoundError, RefusedError, TransportError
from pivot.types import JsonValue
from simulator.errors import LiveClusterError
from simulator.experiment.history import Kind, LedgerLine, Record, ledger
from simulator.experiment.losses import Losses
from simulator.experiment.operations import (
    Confirm,
    Crash,
    Delete,
    Fault,
    Heal,
    Isolate,
    Operation,
    Partition,
    Pause,
    Push,
    Read,
    Restart,
    Resume,
    Settle,
    Skew,
    Wipe,
    Workload,
    Write,
)
from simulator.experiment.plan import LEADER
from simulator.live.cluster import LiveCluster

_LOOK_S: Final = 0.05


class LiveOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan left behind in a live cluster.

    Attributes:
        converged_s: how long after the last step all members were equal and had nothing left to offer, s; None = not
            in time.
        tables: member -> key -> entry at the end.
        records: what clients saw.
        ledger: what became of every acknowledged write.
    """

    converged_s: float | None
    tables: dict[str, dict[str, Item[JsonValue]]]
    records: tuple[Record, ...]
    ledger: tuple[LedgerLine, ...]

    @property
    def reads(self) -> tuple[JsonValue, ...]:
        """What reads found, in order; None where there was nothing."""
        return tuple(record.value for record in self.records if record.kind == "read")

    @property
    def state(self) -> dict[str, dict[str, JsonValue]]:
        """Member -> key -> value at the end; deleted keys are absent."""
        return {
            member: {key: item.data for key, item in sorted(table.items())} for member, table in self.tables.items()
        }


async def play_live(
    cluster: LiveCluster, *, within_s: float, tell: Callable[[Operation | None], None] = lambda _: None
) -> LiveOutcome:
    """Play the cluster's plan: each step at its time, or as soon as what came before is done.

    Args:
        cluster: a live cluster, just started.
        within_s: how long members may take to become equal, s.
        tell: called with each step before it is played, and with None after the last.

    Raises:
        LiveClusterError: a step cannot be played by real processes, or members did not become equal at a `settle`.
    """
    records: list[Record] = []
    begin_s = trio.current_time()
    for step in sorted(cluster.plan.steps, key=lambda step: step.at_s):
        await trio.sleep_until(begin_s + step.at_s)
        tell(step.operation)
        match step.operation:
            case Write() | Push() | Delete() | Read() as operation:
                record = await ask_live(cluster, len(records) + 1, operation, trio.current_time() - begin_s)
                record.answered_s = trio.current_time() - begin_s
                records.append(record)
            case Confirm() as operation:
                await cluster.confirm(operation.member)
            case Settle():
                if await _time_until(cluster.settled, within_s) is None:
                    raise LiveClusterError(f"members did not become equal within {within_s:g} s")
            case _ as fault:
                await _fault(cluster, fault)
    tell(None)
    converged_s = await _time_until(cluster.settled, within_s)
    tables = await cluster.tables()
    return LiveOutcome(
        converged_s=converged_s,
        tables=tables,
        records=tuple(records),
        ledger=tuple(ledger(records, _final_stamps(records, tables.get(LEADER, {})), _written_again(cluster))),
    )


def _written_again(cluster: LiveCluster) -> Losses:
    """What members say, in their logs, that they wrote again under another stamp."""
    losses = Losses()
    for name in cluster.plan.members:
        for said in cluster.said(name):
            if said.get("event") == "reissued":
                reissued = msgspec.convert(said, type=_Reissued)
                losses.note_reissue(reissued.key, reissued.before, reissued.after)
    return losses


class _Reissued(msgspec.Struct):
    key: str
    before: int
    after: int


async def _fault(cluster: LiveCluster, fault: Fault) -> None:
    nodes = cluster.plan.members[1:]
    if getattr(fault, "for_s", None) is not None or getattr(fault, "how", None) not in (None, "drop"):
        raise LiveClusterError(f"real processes cannot play {fault!r}: say when it ends by another operation")
    match fault:
        case Crash():
            await cluster.kill(fault.member)
        case Restart():
            await cluster.start(fault.member)
        case Heal():
            cluster.heal()
        case Isolate():
            for node in nodes if fault.member == LEADER else (fault.member,):
                cluster.cut(node)
        case Partition():
            # Links are between the leader and nodes only: who is in another group than the leader is cut from it.
            ours = next((group for group in fault.groups if LEADER in group), ())
            for node in (member for group in fault.groups if group is not ours for member in group):
                cluster.cut(node)
        case Wipe():
            await cluster.wipe(fault.member)
        case Pause():
            cluster.pause(fault.member)
        case Resume():
            cluster.resume(fault.member)
        case Skew():
            cluster.skew(fault.member, fault.ahead_s)
        case _:
            raise LiveClusterError(f"real processes cannot play {fault!r}")


async def _time_until(condition: Callable[[], Awaitable[bool]], within_s: float) -> float | None:
    """How long it takes until a condition holds, s; None when it takes longer than `within_s`."""
    begin_s = trio.current_time()
    with trio.move_on_after(within_s):
        while not await condition():  # noqa: ASYNC110 - the condition is in other processes
            await trio.sleep(_LOOK_S)
        return trio.current_time() - begin_s
    return None


async def ask_live(cluster: LiveCluster, number: int, operation: Workload, now_s: float) -> Record:
    """Let a client do one operation; returns what it saw."""
    kind: Kind
    match operation:
        case Write():
            kind, target, value = "write", operation.key, operation.value
        case Push():
            kind, target, value = "push", operation.pattern, operation.value
        case Delete():
            kind, target, value = "delete", operation.pattern, None
        case Read():
            kind, target, value = "read", operation.key, None
        case _:
            assert_never(operation)
    record = Record(id=number, member=operation.member, kind=kind, target=target, value=value, invoked_s=now_s)
    try:
        client = cluster.client(operation.member)
        match operation:
            case Write():
                record.changes[target] = (await client.set(target, operation.value)).stamp
            case Push():
                written = await client.push(target, operation.value)
                record.changes[target[:-1] + written.index] = written.stamp
            case Delete():
                record.changes = await _delete(client, target)
            case Read():
                record.value = await _read(client, target)
        record.outcome = "ok"
    except RefusedError as error:
        record.outcome = "fail" if error.status in (400, 413, 429, 503) else "info"
        record.reason = str(error)
    except TransportError as error:
        record.outcome, record.reason = "info", str(error)
    return record


async def _read(client: Client, key: str) -> JsonValue:
    try:
        return (await client.get(key)).data
    except NotFoundError:
        return None


async def _delete(client: Client, pattern: str) -> dict[str, int]:
    """Delete a key or all that a glob matches; returns key -> stamp of what was there.

    Over HTTP a delete says only its greatest stamp, so every key of a glob is given that one.
    """
    if "*" in pattern:
        keys = [item.path for item in await client.get_list(pattern)]
        return dict.fromkeys(keys, (await client.delete(pattern)).stamp)
    try:
        return {pattern: (await client.delete(pattern)).stamp}
    except NotFoundError:
        return {}


def _final_stamps(records: list[Record], table: Mapping[str, Item[JsonValue]]) -> dict[str, tuple[int, bool]]:
    """Key -> (stamp, deleted) at the end; a key that is absent was deleted last by the greatest acknowledged delete."""
    stamps: dict[str, tuple[int, bool]] = {}
    for record in records:
        if record.kind == "delete":
            for key, stamp in record.changes.items():
                stamps[key] = max(stamps.get(key, (0, True)), (stamp, True))
    stamps.update({key: (max(item.created, item.updated), False) for key, item in table.items()})
    return stamps
