"""World: a plan being played: members, network, clients, and the faults that happen to them.

Layer: simulator/experiment. Members are the real ones, in virtual time, on a simulated network, disk and clock; they
cannot tell. Everything that happens, also what clients and the nemesis do, is an event of the one heap, so it does not
matter which runtime runs them.
Start at `play`.
"""

from collections import Counter, deque
from functools import partial
from operator import attrgetter
from typing import Final, assert_never, final

import msgspec

from pivot.core.collection import Change, DropRow
from pivot.core.entry import Entry
from pivot.core.notices import ActorRestarted, Collected, Conflict, Diverged, Notice, Reissued, Rejected, Withdrawn
from pivot.core.questions import ConfirmFollowers, Result
from simulator.errors import crash_site
from simulator.experiment.clients import PATIENCE_NS, Clients
from simulator.experiment.history import final_stamps, ledger
from simulator.experiment.host import Host
from simulator.experiment.losses import Losses
from simulator.experiment.observer import Observer
from simulator.experiment.operations import (
    Confirm,
    Crash,
    CutOneWay,
    Delete,
    Fault,
    Heal,
    Isolate,
    Partition,
    Pause,
    Push,
    Read,
    Restart,
    Resume,
    SetDisk,
    Settle,
    Skew,
    Wipe,
    Workload,
    Write,
)
from simulator.experiment.outcome import Outcome
from simulator.experiment.plan import LEADER, Plan
from simulator.runtimes import kernel
from simulator.runtimes.base import Runtime, RuntimeName
from simulator.world.disk import DiskStatistics, Trouble
from simulator.world.network import Network
from simulator.world.rng import Streams
from simulator.world.topology import star
from simulator.world.trace import Trace

LOOK_NS: Final = 100_000_000
"""How often the world looks whether it has converged: 0.1 s."""


def play(plan: Plan, *, keep_trace: bool = False, runtime: RuntimeName = "kernel") -> Outcome:
    """Play a plan.

    Args:
        plan: what to play.
        keep_trace: whether every event is kept; memory then grows with the run.
        runtime: what runs the members; it makes no difference but to how long it takes.

    Returns:
        What it left behind, also when a member crashed for good or the run had no end, which are our bugs.

    Raises:
        SimulationError: it could not begin.
    """
    worlds: list[World] = []

    def begin(runtime: Runtime) -> World:
        world = World(plan, runtime, keep_trace=keep_trace)
        worlds.append(world)
        world.begin()
        return world

    try:
        match runtime:
            case "kernel":
                kernel.run(begin)
            case "trio":
                from simulator.runtimes import trio

                trio.run(begin, seed=plan.seed)
            case _:
                assert_never(runtime)
    except Exception as error:
        if not worlds:
            raise
        return worlds[0].crashed(error)
    outcome = worlds[0].outcome
    assert outcome is not None, "it ends with its outcome"
    return outcome


@final
class World:
    """One run of one plan.

    Attributes:
        outcome: what it left behind; None until it ends.
    """

    def __init__(self, plan: Plan, runtime: Runtime, *, keep_trace: bool) -> None:
        self.outcome: Outcome | None = None
        self._plan = plan
        self._runtime = runtime
        self._heap = heap = runtime.heap
        self._trace = Trace(keep=keep_trace)
        streams = Streams(plan.seed)
        self._network = Network(heap, star(LEADER, plan.members[1:], plan.weather), streams, self._trace)
        self._hosts = {name: Host(name, plan, runtime, streams, self._network) for name in plan.members}
        slowest_s = max((s.operation.trouble.slow_s for s in plan.steps if isinstance(s.operation, SetDisk)), default=0)
        self._clients = Clients(heap, self._trace, patience_ns=PATIENCE_NS + round(4e9 * slowest_s))
        self._losses = Losses()
        self._counts: Counter[str] = Counter()
        self._lied = False
        self._observer = Observer(plan, self._heap, self._network)
        self._broken: list[str] = []
        self._crashes: list[str] = []
        self._settled = True
        self._steps = deque(sorted(plan.steps, key=attrgetter("at_s")))
        self._late_ns = 0  # what `settle` took so far
        self._safe_ns = 0
        self._converged_ns: int | None = None

    def begin(self) -> None:
        """Schedule everything: a safety phase, then a liveness phase; see `Plan`."""
        for host in self._hosts.values():
            self._heap.call_soon(partial(self._start, host))
        self._schedule()

    def _schedule(self) -> None:
        """Schedule what is left of the plan, up to the next `settle`, which may make the rest later."""
        last_ns = self._heap.now_ns
        while self._steps:
            step = self._steps.popleft()
            last_ns = round(step.at_s * 1e9) + self._late_ns
            if isinstance(step.operation, Settle):
                self._heap.post_at(last_ns, partial(self._settle, last_ns))
                return
            self._heap.post_at(last_ns, partial(self._do, step.operation))
        self._safe_ns = round(self._plan.safety_s * 1e9) + self._late_ns
        self._heap.post_at(self._safe_ns, self._end_faults)
        self._heap.post_at(last_ns + LOOK_NS, self._look)

    def _settle(self, begin_ns: int) -> None:
        """Look again and again until all members that run are equal and have nothing left to offer."""
        now_ns = self._heap.now_ns
        quiet = self._quiet()
        if not quiet and now_ns < begin_ns + round(self._plan.liveness_s * 1e9):
            self._heap.post_at(now_ns + LOOK_NS, partial(self._settle, begin_ns))
            return
        self._settled = self._settled and quiet
        self._late_ns += now_ns - begin_ns
        self._schedule()

    def _look(self) -> None:
        """Whether all members are equal for good; then, or when time is over, the run ends."""
        now_ns = self._heap.now_ns
        if not self._converged():
            self._converged_ns = None
        elif self._converged_ns is None:
            self._converged_ns = now_ns
        is_late = now_ns >= self._safe_ns + round(self._plan.liveness_s * 1e9)
        is_over = self._converged_ns is not None and now_ns > self._safe_ns
        if self._observer.silent(converged=is_over) or is_late:
            self.outcome = self._outcome()
            self._runtime.finish()
        else:
            self._heap.post_at(now_ns + LOOK_NS, self._look)

    # What happens ------------------------------------------------------------------------------------------------

    def _do(self, operation: Workload | Confirm | Fault) -> None:
        match operation:
            case Write() | Push() | Delete() | Read():
                host = self._hosts[operation.member]
                self._counts["operations under a wrong clock"] += host.clock.offset_ns != 0
                self._clients.ask(host, operation)
            case Confirm():
                member = self._hosts[operation.member].member
                if member is not None:
                    member.ask(ConfirmFollowers(), _do_not_care)
            case _:
                self._fault(operation)

    def _fault(self, fault: Fault) -> None:
        label = str(fault.__struct_config__.tag)
        self._trace.record(self._heap.now_ns, "fault", "", label=label, payload=msgspec.json.encode(fault))
        self._observer.upset()
        match fault:
            case Partition():
                self._network.partition(fault.groups)
            case Isolate():
                self._network.isolate(fault.member)
            case CutOneWay():
                self._network.cut_one_way(fault.sources, fault.destinations)
            case Heal():
                self._network.heal()
            case _:
                self._upset(self._hosts[fault.member], fault)

    def _upset(self, host: Host, fault: Crash | Restart | Wipe | Pause | Resume | SetDisk | Skew) -> None:
        match fault:
            case Crash():
                self._crash(host)
            case Restart():
                self._start(host)
            case Wipe():
                self._crash(host, wipe=True)
            case Pause():
                if host.running:
                    host.pulse.stop()
                    self._trace.record(self._heap.now_ns, "paused", host.name)
            case Resume():
                self._resume(host)
            case SetDisk():
                host.set_trouble(fault.trouble)
                self._lied = self._lied or fault.trouble.lies
            case Skew():
                host.clock.offset_ns = round(fault.ahead_s * 1e9)
            case _:
                assert_never(fault)

    def _start(self, host: Host) -> None:
        if host.start(self._notice):
            self._trace.record(self._heap.now_ns, "started", host.name)
            self._observer.follow(host)

    def _resume(self, host: Host) -> None:
        if host.member is not None and host.pulse.stopped:
            self._trace.record(self._heap.now_ns, "resumed", host.name)
            host.pulse.go_on()

    def _crash(self, host: Host, *, wipe: bool = False) -> None:
        """End a process, and note what ends with it because no other store has it, or anything greater."""
        ran = host.member is not None
        if not ran and not wipe:
            return
        self._observer.measure(host)
        before, collected = host.table(), host.collected()
        unheard: tuple[Change, ...] = ()
        known = before
        if ran:
            self._trace.record(self._heap.now_ns, "crashed", host.name)
            self._counts["processes crashed"] += 1
            unheard = host.crash()
            self._losses.note_appearance(before, unheard)
        if wipe:
            host.lose_disk()
            self._counts["versions wiped"] += len(before)
        left = [other.table() for other in self._hosts.values()]
        if self._plan.durability == "full" and not wipe:
            dropped = [change.key for change in unheard if isinstance(change, DropRow)]
            known = {key: entry for key, entry in before.items() if key not in dropped}
            left.append({key: before[key] for key in dropped if key in before})  # its floor stands for them
        else:
            # A new life begins without the floor that stood for what was collected; who has such a tombstone still may
            # drop it yet, for word of that floor may be on its way.
            living = [{key: entry for key, entry in table.items() if not entry.deleted} for table in left]
            self._counts["versions gone"] += self._losses.note_loss(collected, living)
        self._counts["versions gone"] += self._losses.note_loss(before, left)
        self._observer.ended(host, known, self._excuse(host, wipe=wipe))

    def _excuse(self, host: Host, *, wipe: bool) -> str:
        """Why a member may know less when it starts again; empty = it may not."""
        if wipe:
            return "its disk is lost"
        if self._plan.durability != "full":
            return f"its durability is {self._plan.durability}"
        return "its disk lied" if host.disk_statistics().lied else ""

    def _end_faults(self) -> None:
        """The safety phase is over: nothing is broken any more."""
        self._network.heal()
        self._network.calm()
        for host in self._hosts.values():
            host.clock.offset_ns = 0
            host.set_trouble(Trouble())
            self._heap.call_soon(partial(self._resume, host))
            self._heap.call_soon(partial(self._start, host))

    def _notice(self, member: str, notice: Notice) -> None:
        match notice:
            case Conflict():
                self._counts["conflicts"] += 1
            case Reissued():
                self._losses.note_reissue(notice.key, notice.before, notice.after)
                self._losses.appeared[notice.key, notice.after] = None
                self._counts["versions written again"] += 1
            case Rejected():
                self._counts["versions rejected"] += 1
            case Withdrawn():
                self._counts["versions withdrawn"] += 1
            case Collected():
                self._counts["tombstones collected"] += notice.dropped
            case Diverged():
                self._counts["repairs"] += 1
                if not self._lied:
                    self._broken.append(f"{member} had all of {notice.collection} and yet not the same")
            case ActorRestarted():
                self._crashes.append(f"{notice.actor} of {member} crashed: {notice.error}")
            case _:
                pass

    # What is there -----------------------------------------------------------------------------------------------

    def _converged(self) -> bool:
        """Whether all members run, are equal and have nothing left to offer."""
        return all(host.running for host in self._hosts.values()) and self._quiet()

    def _quiet(self) -> bool:
        """Whether all members that run are equal and have nothing left to offer."""
        hosts = [host for host in self._hosts.values() if host.member is not None]
        if any(host.member is not None and host.member.outbox_size() for host in hosts):
            return False
        tables = [host.table() for host in hosts]
        if not all(same_versions(tables[0], table) for table in tables[1:]):
            return False
        leader = self._hosts[LEADER]
        # A leader in a new life may not have heard yet of deletions that its nodes know.
        return leader.member is None or all(knows({**leader.collected(), **leader.table()}, t) for t in tables)

    def crashed(self, error: Exception) -> Outcome:
        """What there is when a run was ended by a crash of our own code."""
        self._crashes.append(f"at {self._heap.now_ns / 1e9:.3f} s the run ended: {crash_site(error)}")
        self._converged_ns = None
        return self._outcome()

    def _outcome(self) -> Outcome:
        tables = {name: host.table() for name, host in self._hosts.items() if host.member is not None}
        leader = self._hosts[LEADER]
        for host in self._hosts.values():
            self._observer.measure(host)
        collected = leader.collected()
        there = {**collected, **tables.get(LEADER, {})}
        return Outcome(
            hash=self._trace.hash,
            events=self._trace.count,
            converged_s=None if self._converged_ns is None else self._converged_ns / 1e9,
            ended_s=self._heap.now_ns / 1e9,
            tables=tables,
            outboxes={h.name: h.member.outbox_size() for h in self._hosts.values() if h.member is not None},
            collected=collected,
            records=tuple(self._clients.records),
            late=tuple(self._clients.late),
            ledger=tuple(ledger(self._clients.records, final_stamps(there), self._losses)),
            conflicts=self._counts["conflicts"],
            observations=self._observer.observations(),
            losses=self._losses,
            broken=tuple(self._broken),
            crashes=tuple(self._crashes),
            reached=self._reached(),
            settled=self._settled,
            network=self._network.statistics(),
            trace=self._trace.events,
        )

    def _reached(self) -> dict[str, int]:
        network = self._network.statistics()
        reached = Counter({f"messages lost: {why}": count for why, count in network.lost.items()})
        reached["messages duplicated"] = network.duplicated
        reached.update(self._counts)
        for host in self._hosts.values():
            reached["events held by stopped processes"] += host.held
            disk = host.disk_statistics()
            for name in DiskStatistics.__struct_fields__:
                reached[f"commits {name}"] += getattr(disk, name)
        return {what: count for what, count in sorted(reached.items()) if count}


def same_versions(one: dict[str, Entry], other: dict[str, Entry]) -> bool:
    """Whether two tables show users the same, tombstones counted as absence."""
    return {key: e.version for key, e in one.items() if not e.deleted} == {
        key: e.version for key, e in other.items() if not e.deleted
    }


def knows(one: dict[str, Entry], other: dict[str, Entry]) -> bool:
    """Whether a table has everything that another one has, tombstones too, or something greater."""
    return all(key in one and one[key].version >= entry.version for key, entry in other.items())


def _do_not_care(result: Result) -> None:
    """What comes of it shows in the run."""
