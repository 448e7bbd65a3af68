"""World: a plan being played: members, network, clients, and the faults that happen to them.

Layer: simulator/experiment. Members are the real ones, on Trio in virtual time, on a simulated network, disk and clock;
they cannot tell. Everything that happens, also what clients and the nemesis do, is an event of the one heap.
Start at `play`.
"""

from functools import partial
from operator import attrgetter
from typing import Final, Literal, assert_never, final

import msgspec
import trio

from pivot.actors.member import Member
from pivot.core.entry import Entry, canonical
from pivot.core.events import Conflict, Failed, Notice, PushItem, Put, Question, Remove, Result, Written
from pivot.engine.base import StorageEngine
from pivot.engine.memory import MemoryEngine
from pivot.types import Epoch, MemberId, StoreId
from simulator.experiment.history import LedgerLine, Record, final_stamps, ledger
from simulator.experiment.plan import (
    LEADER,
    Crash,
    CutOneWay,
    Delete,
    Fault,
    Heal,
    Isolate,
    Partition,
    Plan,
    Push,
    Restart,
    Settle,
    Skew,
    Workload,
    Write,
)
from simulator.loop import run, sleep_until
from simulator.world.chance import SimulatedEntropy, SkewedClock
from simulator.world.disk import Disk, SimulatedEngine
from simulator.world.heap import EventHeap
from simulator.world.network import Network, NetworkStatistics
from simulator.world.rng import Streams
from simulator.world.topology import star
from simulator.world.trace import Trace, TraceEvent
from simulator.world.transport import SimulatedTransport

LOOK_NS: Final = 100_000_000
"""How often the world looks whether it has converged: 0.1 s."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a played plan left behind.

    Attributes:
        hash: rolling hash over everything that happened.
        events: how many events that were.
        converged_s: when all members were equal for good, and nothing was left to say; None = never.
        ended_s: virtual time at the end.
        tables: member -> key -> version at the end, tombstones included.
        records: what clients saw.
        ledger: what became of every acknowledged write.
        conflicts: lost updates that members reported.
        settled: whether members became equal in time at every `settle`.
        network: what the network did.
        trace: every event, when they were kept.
    """

    hash: str
    events: int
    converged_s: float | None
    ended_s: float
    tables: dict[str, dict[str, Entry]]
    records: tuple[Record, ...]
    ledger: tuple[LedgerLine, ...]
    conflicts: int
    settled: bool
    network: NetworkStatistics
    trace: tuple[TraceEvent, ...]


def play(plan: Plan, *, keep_trace: bool = False) -> Outcome:
    """Play a plan on Trio in virtual time.

    Args:
        plan: what to play.
        keep_trace: whether every event is kept; memory then grows with the run.

    Raises:
        SimulationError: the run itself went wrong.
        Exception: a member crashed for good, which is our bug.
    """

    async def main(heap: EventHeap) -> Outcome:
        world = World(plan, heap, keep_trace=keep_trace)
        return await world.play()

    return run(main, seed=plan.seed)


@final
class _Host:
    """The machine of one member: what stays when its process ends."""

    def __init__(self, name: str, clock: SkewedClock) -> None:
        self.name = MemberId(name)
        self.clock = clock
        self.disk: Disk | None = None
        self.lives = 0
        self.member: Member | None = None
        self.process = trio.CancelScope()


@final
class World:
    """One run of one plan."""

    def __init__(self, plan: Plan, heap: EventHeap, *, keep_trace: bool) -> None:
        self._plan = plan
        self._heap = heap
        self._trace = Trace(keep=keep_trace)
        self._streams = Streams(plan.seed)
        topology = star(LEADER, plan.members[1:], plan.weather)
        self._network = Network(heap, topology, self._streams, self._trace)
        self._hosts = {name: _Host(name, SkewedClock(heap)) for name in plan.members}
        self._records: list[Record] = []
        self._gone: dict[str, int] = {}
        self._conflicts = 0
        self._settled = True
        self._nursery: trio.Nursery | None = None

    async def play(self) -> Outcome:
        """Safety phase, then liveness phase; see `Plan`."""
        plan, heap = self._plan, self._heap
        converged_ns: int | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for host in self._hosts.values():
                heap.call_soon(partial(self._start, host))
            last_ns = late_ns = 0
            for step in sorted(plan.steps, key=attrgetter("at_s")):
                last_ns = round(step.at_s * 1e9) + late_ns
                if isinstance(step.operation, Settle):
                    await sleep_until(last_ns)
                    late_ns += await self._settle()
                else:
                    heap.post_at(last_ns, partial(self._do, step.operation))
            safe_ns = round(plan.safety_s * 1e9) + late_ns
            heap.post_at(safe_ns, self._end_faults)
            end_ns = safe_ns + round(plan.liveness_s * 1e9)
            await sleep_until(last_ns)
            while heap.now_ns < end_ns:
                await sleep_until(heap.now_ns + LOOK_NS)
                if not self._converged():
                    converged_ns = None
                elif converged_ns is None:
                    converged_ns = heap.now_ns
                if converged_ns is not None and heap.now_ns > safe_ns:
                    break
            outcome = self._outcome(converged_ns)
            nursery.cancel_scope.cancel()
        return outcome

    async def _settle(self) -> int:
        """Wait until all members that run are equal and have nothing left to offer; returns how long it took, ns."""
        begin_ns = self._heap.now_ns
        end_ns = begin_ns + round(self._plan.liveness_s * 1e9)
        while not self._quiet():
            if self._heap.now_ns >= end_ns:
                self._settled = False
                break
            await sleep_until(self._heap.now_ns + LOOK_NS)
        return self._heap.now_ns - begin_ns

    # Members -----------------------------------------------------------------------------------------------------

    def _start(self, host: _Host) -> None:
        assert self._nursery is not None, "the world is being played"
        if host.member is not None:
            return
        host.lives += 1
        entropy = SimulatedEntropy(self._streams.stream("member", host.name, host.lives))
        engine: StorageEngine
        if self._plan.durability == "memory":
            engine = MemoryEngine(store=StoreId(entropy.new_id()), epoch=Epoch(entropy.new_id()))
        else:
            if host.disk is None:
                host.disk = Disk(store=StoreId(entropy.new_id()), epoch=Epoch(entropy.new_id()))
            engine = SimulatedEngine(host.disk, self._heap)
        host.member = Member(
            self._plan.config("" if host.name == LEADER else LEADER),
            member=host.name,
            engine=engine,
            transport=SimulatedTransport(host.name, self._network),
            timeline=self._heap,
            wall=host.clock,
            entropy=entropy,
        )
        host.member.on_notice(self._notice)
        self._trace.record(self._heap.now_ns, "started", host.name)
        host.process = trio.CancelScope()
        self._nursery.start_soon(self._run, host, host.member)

    async def _run(self, host: _Host, member: Member) -> None:
        with host.process:
            await member.run()

    def _crash(self, host: _Host) -> None:
        if host.member is None:
            return
        self._count_gone(host)
        self._network.detach(host.name)
        host.process.cancel()
        host.member = None
        self._trace.record(self._heap.now_ns, "crashed", host.name)

    def _count_gone(self, host: _Host) -> None:
        """Note what ends with this member because no other store has it, or anything greater."""
        if host.disk is not None or host.member is None:
            return
        others = [h.member.table() for h in self._hosts.values() if h is not host and h.member is not None]
        for key, entry in host.member.table().items():
            if not any(key in table and table[key].version >= entry.version for table in others):
                self._gone[key] = max(self._gone.get(key, 0), entry.stamp)

    def _notice(self, notice: Notice) -> None:
        if isinstance(notice, Conflict):
            self._conflicts += 1

    # What happens ------------------------------------------------------------------------------------------------

    def _do(self, operation: Workload | Fault) -> None:
        match operation:
            case Write() | Push() | Delete():
                self._ask(operation)
            case _:
                self._fault(operation)

    def _fault(self, fault: Fault) -> None:
        label = str(fault.__struct_config__.tag)
        self._trace.record(self._heap.now_ns, "fault", "", label=label, payload=msgspec.json.encode(fault))
        match fault:
            case Partition():
                self._network.partition(fault.groups)
            case Isolate():
                self._network.isolate(fault.member)
            case CutOneWay():
                self._network.cut_one_way(fault.sources, fault.destinations)
            case Heal():
                self._network.heal()
            case Crash():
                self._crash(self._hosts[fault.member])
            case Restart():
                self._start(self._hosts[fault.member])
            case Skew():
                self._hosts[fault.member].clock.offset_ns = round(fault.ahead_s * 1e9)
            case _:
                assert_never(fault)

    def _end_faults(self) -> None:
        """The safety phase is over: nothing is broken any more."""
        self._network.heal()
        self._network.calm()
        for host in self._hosts.values():
            host.clock.offset_ns = 0
            self._start(host)

    def _ask(self, operation: Write | Push | Delete) -> None:
        question: Question
        kind: Literal["write", "push", "delete"]
        match operation:
            case Write():
                kind, target, value = "write", operation.key, operation.value
                question = Put(target, canonical(msgspec.json.encode(value)))
            case Push():
                kind, target, value = "push", operation.pattern, operation.value
                question = PushItem(target, canonical(msgspec.json.encode(value)))
            case Delete():
                kind, target, value = "delete", operation.pattern, None
                question = Remove(target)
            case _:
                assert_never(operation)
        now_ns = self._heap.now_ns
        record = Record(
            id=len(self._records) + 1,
            member=operation.member,
            kind=kind,
            target=target,
            value=value,
            invoked_s=now_ns / 1e9,
        )
        self._records.append(record)
        self._trace.record(now_ns, "op", operation.member, label=kind, why="invoke", payload=target.encode())
        member = self._hosts[operation.member].member
        if member is None:
            record.outcome, record.reason = "fail", f"{operation.member} does not run"
            return
        member.ask(question, partial(self._answered, record))

    def _answered(self, record: Record, result: Result) -> None:
        match result:
            case Written():
                record.outcome = "ok"
                record.changes = dict(zip(result.keys, result.stamps, strict=True))
            case Failed():
                record.outcome = "info" if result.code == "stopped" else "fail"
                record.reason = result.reason
            case _:
                raise AssertionError(f"a write was answered with {result!r}")
        stamps = msgspec.json.encode(record.changes)
        self._trace.record(
            self._heap.now_ns, "op", record.member, label=record.kind, why=record.outcome, payload=stamps
        )

    # What is there -----------------------------------------------------------------------------------------------

    def _tables(self) -> dict[str, dict[str, Entry]]:
        return {name: host.member.table() for name, host in self._hosts.items() if host.member is not None}

    def _converged(self) -> bool:
        """Whether all members run, are equal and have nothing left to offer."""
        return all(host.member is not None for host in self._hosts.values()) and self._quiet()

    def _quiet(self) -> bool:
        """Whether all members that run are equal and have nothing left to offer."""
        members = [host.member for host in self._hosts.values() if host.member is not None]
        return not any(member.outbox_size() for member in members) and self._equal()

    def _equal(self) -> bool:
        """Whether all members that run show users the same."""
        tables = list(self._tables().values())
        return all(same_versions(tables[0], table) for table in tables[1:])

    def _outcome(self, converged_ns: int | None) -> Outcome:
        tables = self._tables()
        return Outcome(
            hash=self._trace.hash,
            events=self._trace.count,
            converged_s=None if converged_ns is None else converged_ns / 1e9,
            ended_s=self._heap.now_ns / 1e9,
            tables=tables,
            records=tuple(self._records),
            ledger=tuple(ledger(self._records, final_stamps(tables.get(LEADER, {})), self._gone)),
            conflicts=self._conflicts,
            settled=self._settled,
            network=self._network.statistics(),
            trace=self._trace.events,
        )


def same_versions(one: dict[str, Entry], other: dict[str, Entry]) -> bool:
    """Whether two tables show users the same, tombstones counted as absence."""
    return {key: e.version for key, e in one.items() if not e.deleted} == {
        key: e.version for key, e in other.items() if not e.deleted
    }
