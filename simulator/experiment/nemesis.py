"""Nemesis: what goes wrong while a plan is played, and what ends with it.

Layer: simulator/experiment (Trio-free). A fault that has an end ends by itself, and only itself: what came after it on
the same machine stays. How much each kind has touched is its *potency*: a fault that touched nothing proves nothing.
Start at `Nemesis.strike`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias, assert_never, final

import msgspec

from pivot.core.collection import Change, DropRow
from simulator.experiment.host import Host
from simulator.experiment.losses import Losses
from simulator.experiment.observer import Observer
from simulator.experiment.operations import (
    REPAIRS,
    Backup,
    Burden,
    Calm,
    ClockFault,
    Crash,
    CutLinks,
    CutOneWay,
    Drift,
    Fault,
    Flap,
    Heal,
    Isolate,
    Join,
    Jump,
    LinkFault,
    Partition,
    Pause,
    ProcessFault,
    Promote,
    Replace,
    Restart,
    Restore,
    Resume,
    Ring,
    RollingRestart,
    Rot,
    SetDisk,
    Skew,
    SmallestCut,
    Stop,
    Swizzle,
    Upset,
    Weather,
    Wipe,
)
from simulator.experiment.plan import LEADER, Plan
from simulator.experiment.soundness import cut_by, weathered
from simulator.world.cut import Change as Rain
from simulator.world.cut import Cut
from simulator.world.disk import Trouble
from simulator.world.heap import EventHeap
from simulator.world.network import Network
from simulator.world.rng import Streams
from simulator.world.trace import Trace

End: TypeAlias = Literal["crash", "stop", "wipe", "restore"]
"""How a process ends: without warning; in good order; and its disk is lost; and an older copy takes its place."""
_WRITES = ("push", "page", "repair")


@final
class Nemesis:
    """Everything that goes wrong in one run.

    Attributes:
        leader: who leads now, or will when it runs.
        lied: whether a disk ever said that it had synced what it had not.
    """

    def __init__(
        self,
        plan: Plan,
        heap: EventHeap,
        trace: Trace,
        *,
        network: Network,
        hosts: Mapping[str, Host],
        losses: Losses,
        observer: Observer,
        counts: Counter[str],
        launch: Callable[[Host], bool],
    ) -> None:
        """Do nothing yet.

        Args:
            plan: what is played.
            heap: virtual time.
            trace: where everything is noted.
            network: all links.
            hosts: all machines.
            losses: where is noted what ends with the only store that had it.
            observer: is told of upsets and ends.
            counts: how often what happened.
            launch: starts the process of a host; False when there is one.
        """
        self.leader = LEADER
        self.lied = False
        self._plan = plan
        self._heap = heap
        self._trace = trace
        self._network = network
        self._hosts = hosts
        self._losses = losses
        self._observer = observer
        self._counts = counts
        self._launch = launch
        self._streams = Streams(plan.seed)
        self._felt: dict[str, int] = {}  # kind of fault -> how much it has touched
        self._causes: list[tuple[str, Cut | Rain]] = []
        self._ongoing: dict[int, Flap | Swizzle | RollingRestart] = {}
        self._begun = 0
        self._states: dict[tuple[str, str], Upset] = {}  # (member, what of it) -> what set it last

    def strike(self, fault: Fault) -> None:
        """Let a fault happen now."""
        tag = tag_of(fault)
        self._trace.record(self._heap.now_ns, "fault", "", label=tag, payload=msgspec.json.encode(fault))
        self._observer.upset()
        if not isinstance(fault, REPAIRS):
            self._felt.setdefault(tag, 0)
        match fault:
            case Flap() | Swizzle() | RollingRestart():
                self._begin(fault)
            case Promote():
                self._promote(fault)
            case (
                Partition()
                | Isolate()
                | CutOneWay()
                | CutLinks()
                | Ring()
                | SmallestCut()
                | Heal()
                | Weather()
                | Calm()
            ):
                self._upset_links(fault)
            case _:
                self._upset(self._hosts[fault.member], fault)

    def end(self) -> None:
        """The safety phase is over: nothing is broken any more."""
        self._ongoing.clear()
        self._network.heal()
        self._network.calm()
        for host in self._hosts.values():
            host.clock.correct()
            host.set_trouble(Trouble())
            host.set_burden(0)
            self._heap.call_soon(partial(self._resume, host))
            self._heap.call_soon(partial(self.start, host))

    def start(self, host: Host) -> None:
        """Start a process, unless there is one; a machine whose store cannot be opened gets an empty disk before."""
        refused = host.refused() if host.member is None else ""
        if refused:
            self._trace.record(self._heap.now_ns, "state", host.name, label="not opened", why=refused)
            self._felt["rot"] = self._felt.get("rot", 0) + 1
            self._end(host, "wipe")
        if self._launch(host):
            self._trace.record(self._heap.now_ns, "started", host.name)
            self._observer.follow(host)

    def note_operation(self, host: Host) -> None:
        """A client asks a member."""
        fault = self._states.get((host.name, "clock"))
        if host.clock.is_wrong:
            self._counts["operations under a wrong clock"] += 1
            if fault is not None:
                self._felt[tag_of(fault)] += 1

    def potency(self) -> dict[str, int]:
        """Kind of fault -> how much it has touched, in messages, events, commits, operations or processes.

        `conditions` is the weather of the plan itself. Repairs are no faults.
        """
        felt, network = Counter(self._felt), self._network.statistics()
        if any(conditions.is_foul for conditions in self._plan.weathers()):
            touched = network.lost.get("loss", 0) + network.lost.get("queue", 0)
            felt["conditions"] = touched + network.duplicated + network.corrupted
        for tag, cause in self._causes:
            felt[tag] += cause.lost + cause.held if isinstance(cause, Cut) else cause.touched
        for host in self._hosts.values():
            disk = host.disk_statistics()
            for tag, touched in (
                ("pause", host.held),
                ("burden", host.slowed),
                ("disk", disk.failed + disk.slowed + disk.lied),
            ):
                if tag in felt:
                    felt[tag] += touched
        return {tag: felt[tag] for tag in sorted(felt)}

    def reached(self) -> Counter[str]:
        """How often what happened to messages and machines."""
        network = self._network.statistics()
        reached = Counter({f"messages lost: {why}": count for why, count in network.lost.items()})
        reached["messages duplicated"] = network.duplicated
        reached["messages corrupted"] = network.corrupted
        reached["messages held"] = network.held
        stopped = self._network.stopped_by_label
        reached["messages with writes that met a cut"] = sum(stopped.get(label, 0) for label in _WRITES)
        for host in self._hosts.values():
            reached["events held by stopped processes"] += host.held
            reached["events late on slow processors"] += host.slowed
            reached["messages refused by the codec"] += host.garbled
        return reached

    # Links -------------------------------------------------------------------------------------------------------

    def _upset_links(self, fault: LinkFault) -> None:
        match fault:
            case Partition() | Isolate() | CutOneWay() | CutLinks() | Ring() | SmallestCut():
                cut = self._network.cut(cut_by(fault, self._network.topology), tag_of(fault), fault.how)
                self._causes.append((tag_of(fault), cut))
                self._after(fault.for_s, cut.heal)
            case Weather():
                links = weathered(fault, self._network.topology)
                rain = self._network.change(links, fault.difference)
                self._causes.append((tag_of(fault), rain))
                self._after(fault.for_s, rain.end)
            case Heal():
                for number, ongoing in tuple(self._ongoing.items()):
                    if fault.how in (None, how_of(ongoing)) and not isinstance(ongoing, RollingRestart):
                        del self._ongoing[number]
                self._network.heal(fault.how)
            case Calm():
                self._network.end_changes()
            case Flap() | Swizzle():
                raise AssertionError("it goes on for a while")
            case _:
                assert_never(fault)

    # What goes on for a while ------------------------------------------------------------------------------------

    def _begin(self, fault: Flap | Swizzle | RollingRestart) -> None:
        self._begun = number = self._begun + 1
        self._ongoing[number] = fault
        match fault:
            case Flap():
                self._flap(fault, number, 0)
            case Swizzle():
                self._swizzle(fault, number)
            case RollingRestart():
                for place, member in enumerate(fault.members):
                    host, begin_s = self._hosts[member], place * (fault.down_s + fault.gap_s)
                    self._while(number, begin_s, partial(self._stop_for, host, fault.down_s, tag_of(fault)))

    def _flap(self, flap: Flap, number: int, cycle: int) -> None:
        links = cut_by(flap.cut, self._network.topology)
        cut = self._network.cut(links, tag_of(flap), flap.cut.how)
        self._causes.append((tag_of(flap), cut))
        # Keyed by the fault itself: another fault more or less does not change when it flaps.
        unit = self._streams.stream("flap", msgspec.json.encode(flap).decode()).unit_at(cycle)
        period_s = flap.period_s * (1 + flap.jitter * (2 * unit - 1))
        self._after(period_s * flap.duty, cut.heal)
        self._while(number, max(period_s, 1e-3), partial(self._flap, flap, number, cycle + 1))
        if cycle == 0:
            self._after(flap.for_s, partial(self._ongoing.pop, number, None))

    def _swizzle(self, fault: Swizzle, number: int) -> None:
        cuts: dict[str, Cut] = {}

        def isolate(member: str) -> None:
            cuts[member] = self._network.isolate(member, tag_of(fault), fault.how)
            self._causes.append((tag_of(fault), cuts[member]))

        def heal(member: str) -> None:
            cuts[member].heal()

        def end() -> None:
            self._ongoing.pop(number, None)
            for cut in cuts.values():
                cut.heal()

        for place, member in enumerate(fault.members):
            self._while(number, place * fault.gap_s, partial(isolate, member))
        for place, member in enumerate(fault.healed, len(fault.members)):
            self._while(number, place * fault.gap_s, partial(heal, member))
        self._after(fault.for_s, end)

    def _after(self, delay_s: float | None, call: Callable[[], object]) -> None:
        if delay_s is not None:
            self._heap.post_at(self._heap.now_ns + round(delay_s * 1e9), lambda: _ignore(call()))

    def _while(self, number: int, delay_s: float, call: Callable[[], None]) -> None:
        """Do something later, if that fault still goes on then."""
        self._after(delay_s, lambda: call() if number in self._ongoing else None)

    # Machines ----------------------------------------------------------------------------------------------------

    def _upset(self, host: Host, fault: Upset) -> None:
        match fault:
            case Skew() | Jump() | Drift():
                self._upset_clock(host, fault)
            case SetDisk():
                host.set_trouble(fault.trouble)
                self.lied = self.lied or fault.trouble.lies
                self._set(host, "disk", fault, fault.for_s, lambda: host.set_trouble(Trouble()))
            case Rot():
                if host.disk is not None:
                    host.disk.rot()
            case Backup():
                host.copy = None if host.disk is None else host.disk.copy()
            case _:
                self._upset_process(host, fault)

    def _upset_clock(self, host: Host, fault: ClockFault) -> None:
        match fault:
            case Skew():
                host.clock.set_offset(round(fault.ahead_s * 1e9))
            case Jump():
                host.clock.set_offset(host.clock.offset_ns + round(fault.by_s * 1e9))
            case Drift():
                host.clock.set_drift(fault.ppm)
        self._set(host, "clock", fault, fault.for_s, host.clock.correct)

    def _upset_process(self, host: Host, fault: ProcessFault) -> None:
        match fault:
            case Crash() | Stop() | Wipe():
                self._felt[tag_of(fault)] += host.member is not None
                self._end(host, "crash" if isinstance(fault, Crash) else "stop" if isinstance(fault, Stop) else "wipe")
                self._after(fault.for_s, partial(self._start_again, host, host.lives))
            case Restart() | Join():
                self.start(host)
            case Replace():
                self._felt[tag_of(fault)] += host.member is not None
                self._end(host, "wipe")
                self._heap.call_soon(partial(self.start, host))
            case Restore():
                if host.copy is not None and host.disk is not None:
                    self._felt[tag_of(fault)] += 1
                    self._end(host, "restore")
                    self._heap.call_soon(partial(self.start, host))
            case Pause():
                if host.running:
                    host.pulse.stop()
                    self._trace.record(self._heap.now_ns, "paused", host.name)
                self._set(host, "pulse", fault, fault.for_s, partial(self._resume, host))
            case Resume():
                self._states.pop((host.name, "pulse"), None)
                self._resume(host)
            case Burden():
                host.set_burden(round(fault.slow_s * 1e9))
                self._set(host, "burden", fault, fault.for_s, partial(host.set_burden, 0))
            case _:
                assert_never(fault)

    def _set(self, host: Host, what: str, fault: Upset, for_s: float | None, undo: Callable[[], None]) -> None:
        """A fault has set a state, which ends after `for_s` unless another one has set it since."""
        self._states[host.name, what] = fault
        self._after(for_s, lambda: undo() if self._states.get((host.name, what)) is fault else None)

    def _start_again(self, host: Host, lives: int) -> None:
        if host.lives == lives:
            self.start(host)

    def _stop_for(self, host: Host, down_s: float, tag: str) -> None:
        self._felt[tag] += host.member is not None
        self._end(host, "stop")
        self._after(down_s, partial(self._start_again, host, host.lives))

    def _resume(self, host: Host) -> None:
        if host.member is not None and host.pulse.stopped:
            self._trace.record(self._heap.now_ns, "resumed", host.name)
            host.pulse.go_on()

    def _promote(self, fault: Promote) -> None:
        self._felt[tag_of(fault)] += fault.member != self.leader
        # The new leader begins without the floor that stood for what the old one had collected.
        collected = self._hosts[self.leader].collected()
        tables = [host.table() for host in self._hosts.values()]
        living = [{key: entry for key, entry in table.items() if not entry.deleted} for table in tables]
        self._counts["versions gone"] += self._losses.note_loss(collected, living)
        self._hosts[fault.member].take_over(collected)
        self.leader = fault.member
        run = [host for host in self._hosts.values() if host.member is not None]
        for host in self._hosts.values():
            host.upstream = "" if host.name == fault.member else fault.member
        for host in run:
            self._heap.call_soon(partial(self._end, host, "stop"))
        for host in run:
            self._heap.call_soon(partial(self.start, host))

    def _end(self, host: Host, how: End) -> None:
        """End a process, and note what ends with it because no other store has it, or anything greater."""
        ran = host.member is not None
        if not ran and how in ("crash", "stop"):
            return
        self._observer.measure(host)
        before, collected = host.table(), host.collected()
        unheard: tuple[Change, ...] = ()
        known = before
        if ran:
            self._trace.record(self._heap.now_ns, "stopped" if how == "stop" else "crashed", host.name)
            unheard = host.stop() if how == "stop" else host.crash()
            self._losses.note_appearance(before, unheard)
        if how == "wipe":
            host.lose_disk()
            self._counts["versions wiped"] += len(before)
        elif how == "restore":
            host.put_back()
        left = [other.table() for other in self._hosts.values()]
        if how != "wipe" and not host.forgot:
            dropped = [change.key for change in unheard if isinstance(change, DropRow)]
            known = {key: entry for key, entry in before.items() if key not in dropped}
            left.append({key: before[key] for key in dropped if key in before})  # its floor stands for them
        else:
            # The floor that stood for what was collected may be lost; who has such a tombstone still may drop it yet,
            # for word of that floor may be on its way.
            living = [{key: entry for key, entry in table.items() if not entry.deleted} for table in left]
            self._counts["versions gone"] += self._losses.note_loss(collected, living)
        self._counts["versions gone"] += self._losses.note_loss(before, left)
        self._observer.ended(host, known, self._excuse(host, how))

    def _excuse(self, host: Host, how: End) -> str:
        """Why a member may know less when it starts again; empty = it may not."""
        if how == "wipe":
            return "its disk is lost"
        if how == "restore":
            return "an older copy is on its disk"
        if self._plan.durability == "memory" or (self._plan.durability == "normal" and (how == "crash" or host.forgot)):
            return f"its durability is {self._plan.durability}"
        return "its disk lied" if host.disk_statistics().lied else ""


def tag_of(fault: Fault) -> str:
    """What a kind of fault is called in plans."""
    return str(fault.__struct_config__.tag)


def how_of(fault: Flap | Swizzle | RollingRestart) -> str:
    """What a fault does to messages; empty = nothing."""
    match fault:
        case Flap():
            return fault.cut.how
        case Swizzle():
            return fault.how
        case RollingRestart():
            return ""


def _ignore(result: object) -> None:
    """What a call returned is not wanted."""
