"""World: a plan being played: members, network, clients, and the faults that happen to them.

Layer: simulator/experiment. Members are the real ones, in virtual time, on a simulated network, disk and clock; they
cannot tell. Everything that happens, also what clients and the nemesis do, is an event of the one heap, so it does not
matter which runtime runs them.
Start at `play`.
"""

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Final, assert_never, final

from pivot.core.entry import Entry
from pivot.core.notices import ActorRestarted, Collected, Conflict, Diverged, Notice, Reissued, Rejected, Withdrawn
from pivot.core.questions import ConfirmFollowers, Result
from simulator.errors import crash_site
from simulator.experiment.clients import PATIENCE_NS, Clients
from simulator.experiment.course import Course, is_call_of
from simulator.experiment.history import final_stamps, ledger
from simulator.experiment.host import Host
from simulator.experiment.losses import Losses
from simulator.experiment.nemesis import Nemesis
from simulator.experiment.observer import Observer
from simulator.experiment.operations import (
    Confirm,
    Delete,
    Fault,
    Join,
    Push,
    Read,
    SetDisk,
    Settle,
    Workload,
    Write,
)
from simulator.experiment.outcome import LostUpdate, Outcome
from simulator.experiment.plan import Plan
from simulator.runtimes import kernel
from simulator.runtimes.base import Runtime, RuntimeName
from simulator.world.disk import DiskStatistics
from simulator.world.network import Network
from simulator.world.rng import Streams
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
                kernel.run(begin, max_events=events_max(plan), at_once_max=at_once_max(plan))
            case "trio":
                from simulator.runtimes import trio

                trio.run(begin, seed=plan.seed, max_events=events_max(plan), at_once_max=at_once_max(plan))
            case _:
                assert_never(runtime)
    except Exception as error:
        if not worlds:
            raise
        return worlds[0].crashed(error)
    outcome = worlds[0].outcome
    assert outcome is not None, "it ends with its outcome"
    return outcome


def events_max(plan: Plan) -> int:
    """How many events a run may have: some twenty times what drawn plans need, so only what feeds itself gets there."""
    idle = len(plan.members) * (plan.safety_s + plan.liveness_s)
    return 50_000 + 2_000 * len(plan.steps) + round(50 * idle)


def at_once_max(plan: Plan) -> int:
    """How many events one instant of a run may have; above that, time is taken to stand still for ever."""
    return 10_000 + 500 * len(plan.steps)


@final
class World:
    """One run of one plan.

    Attributes:
        outcome: what it left behind; None until it ends.
        plan: what is played.
        course: its deviations.
    """

    def __init__(
        self, plan: Plan, runtime: Runtime, *, keep_trace: bool, watcher: Callable[[], None] | None = None
    ) -> None:
        """Make everything ready.

        Args:
            plan: what is played.
            runtime: what runs the members.
            keep_trace: whether every event is kept.
            watcher: called at every turn after the last deviation of the safety phase; see `course`.
        """
        self.outcome: Outcome | None = None
        self._watcher = watcher
        self.plan = plan
        self._runtime = runtime
        self._heap = heap = runtime.heap
        self._trace = Trace(keep=keep_trace)
        streams = Streams(plan.seed)
        self._network = Network(heap, plan.topology(), streams, self._trace)
        self._hosts = {name: Host(name, plan, runtime, streams, self._network) for name in plan.members}
        slowest_s = max((s.operation.trouble.slow_s for s in plan.steps if isinstance(s.operation, SetDisk)), default=0)
        self._clients = Clients(heap, self._trace, patience_ns=PATIENCE_NS + round(4e9 * slowest_s))
        self._losses = Losses()
        self._conflicts: list[LostUpdate] = []
        self._counts: Counter[str] = Counter()
        self._observer = Observer(plan, heap, self._network)
        self._nemesis = Nemesis(
            plan,
            heap,
            self._trace,
            network=self._network,
            hosts=self._hosts,
            losses=self._losses,
            observer=self._observer,
            counts=self._counts,
            launch=self._launch,
        )
        self.course = Course(
            plan.deviations,
            heap,
            network=self._network,
            nemesis=self._nemesis,
            clients=self._clients,
            asks=lambda call: is_call_of(call, self._do),
        )
        self._broken: list[str] = []
        self._crashes: list[str] = []
        self._settled = True
        self._steps = deque(sorted(plan.steps, key=attrgetter("at_s")))
        self._late_ns = 0  # what `settle` took so far
        self._safe_ns = 0
        self._converged_ns: int | None = None
        self._marks: tuple[str, list[tuple[int, int]]] = ("", [])  # leader and hosts when they were compared last
        self._was_quiet = False

    def begin(self) -> None:
        """Schedule everything: a safety phase, then a liveness phase; see `Plan`."""
        self.course.begin(self._watcher)
        late = [step.operation.member for step in self.plan.steps if isinstance(step.operation, Join)]
        for host in (host for host in self._hosts.values() if host.name not in late):
            self._heap.call_soon(partial(self._nemesis.machines.start, host))
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
        self._safe_ns = round(self.plan.safety_s * 1e9) + self._late_ns
        self._heap.post_at(self._safe_ns, self._be_safe)
        self._heap.post_at(last_ns + LOOK_NS, self._look)

    def _settle(self, begin_ns: int) -> None:
        """Look again and again until all members that run are equal and have nothing left to offer."""
        now_ns = self._heap.now_ns
        quiet = self._quiet()
        if not quiet and now_ns < begin_ns + round(self.plan.liveness_s * 1e9):
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
        is_late = now_ns >= self._safe_ns + round(self.plan.liveness_s * 1e9)
        is_over = self._converged_ns is not None and now_ns > self._safe_ns
        if self._observer.silent(converged=is_over) or is_late:
            self.outcome = self._outcome()
            self._runtime.finish()
        else:
            self._heap.post_at(now_ns + LOOK_NS, self._look)

    def _be_safe(self) -> None:
        """The safety phase is over."""
        self.course.end()
        self._nemesis.end()

    # What happens ------------------------------------------------------------------------------------------------

    def _do(self, operation: Workload | Confirm | Fault) -> None:
        match operation:
            case Write() | Push() | Delete() | Read():
                host = self._hosts[operation.member]
                self._nemesis.machines.note_operation(host)
                self._clients.ask(host, operation)
            case Confirm():
                member = self._hosts[operation.member].member
                if member is not None:
                    member.ask(ConfirmFollowers(), _do_not_care)
            case _:
                self._nemesis.strike(operation)

    def _launch(self, host: Host) -> bool:
        return host.start(self._notice)

    def _notice(self, member: str, notice: Notice) -> None:
        match notice:
            case Conflict():
                self._counts["conflicts"] += 1
                winner, loser = notice.winner, notice.loser
                self._conflicts.append(LostUpdate(member, winner.key, winner.stamp, loser.stamp))
            case Reissued():
                self._losses.note_reissue(notice.key, notice.before, notice.after)
                self._losses.appeared[notice.key, notice.after] = None
                self._counts["versions written again"] += 1
            case Rejected():
                self._counts["versions rejected"] += 1
            case Withdrawn():
                host = self._hosts[member]
                self._losses.note_withdrawal(
                    notice.key, notice.stamp, limit=host.clock() + round(self.plan.knobs.ahead_s_max * 1e9)
                )
                self._counts["versions withdrawn"] += 1
            case Collected():
                self._counts["tombstones collected"] += notice.dropped
            case Diverged():
                self._counts["repairs"] += 1
                if not self._nemesis.machines.lied:
                    self._broken.append(f"{member} had all of {notice.collection} and yet not the same")
            case ActorRestarted():
                self._crashes.append(f"{notice.actor} of {member} crashed: {notice.error}")
            case _:
                pass

    # What is there -----------------------------------------------------------------------------------------------

    @property
    def time_s(self) -> float:
        """Virtual time, s."""
        return self._heap.now_ns / 1e9

    def at_rest(self) -> bool:
        """Whether clients have asked for everything and know what came of it, and all members have converged."""
        records = self._clients.records
        asked = sum(isinstance(step.operation, Workload) for step in self.plan.steps)
        return len(records) == asked and all(record.answered_s is not None for record in records) and self._converged()

    def _converged(self) -> bool:
        """Whether all members run, are equal and have nothing left to offer."""
        return all(host.running for host in self._hosts.values()) and self._quiet()

    def _quiet(self) -> bool:
        """Whether all members that run are equal and have nothing left to offer; compared when something changed."""
        marks = (self._nemesis.machines.leader, [host.mark() for host in self._hosts.values()])
        if marks != self._marks:
            self._marks, self._was_quiet = marks, self._compare()
        return self._was_quiet

    def _compare(self) -> bool:
        """Whether all members that run are equal and have nothing left to offer."""
        hosts = [host for host in self._hosts.values() if host.member is not None]
        if any(host.member is not None and host.member.outbox_size() for host in hosts):
            return False
        tables = [host.table() for host in hosts]
        if not all(same_versions(tables[0], table) for table in tables[1:]):
            return False
        leader = self._hosts[self._nemesis.machines.leader]
        # A leader in a new life may not have heard yet of deletions that its nodes know.
        return leader.member is None or all(knows({**leader.collected(), **leader.table()}, t) for t in tables)

    def crashed(self, error: Exception) -> Outcome:
        """What there is when a run was ended by a crash of our own code."""
        self._crashes.append(f"at {self._heap.now_ns / 1e9:.3f} s the run ended: {crash_site(error)}")
        self._converged_ns = None
        return self._outcome()

    def _outcome(self) -> Outcome:
        tables = {name: host.table() for name, host in self._hosts.items() if host.member is not None}
        leader = self._hosts[self._nemesis.machines.leader]
        for host in self._hosts.values():
            self._observer.measure(host)
        collected = {**self._observer.deletions(), **leader.collected()}
        there = {**collected, **tables.get(leader.name, {})}
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
            conflicts=tuple(self._conflicts),
            observations=self._observer.observations(),
            losses=self._losses,
            broken=tuple(self._broken),
            crashes=tuple(self._crashes),
            reached=self._reached(),
            leader=self._nemesis.machines.leader,
            potency=self._nemesis.potency(),
            settled=self._settled,
            network=self._network.statistics(),
            trace=self._trace.events,
        )

    def _reached(self) -> dict[str, int]:
        reached = self._nemesis.reached()
        reached.update(self._counts)
        for host in self._hosts.values():
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
