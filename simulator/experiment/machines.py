"""Machines: what goes wrong with the machine of one member: its process, disk and clock; and who leads.

Layer: simulator/experiment (Trio-free). What ends with a process, because no other store has it, is noted here.
Start at `Machines.upset`, then `Machines._end`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias, assert_never, final

from pivot.core.collection import Change, DropRow
from simulator.experiment.host import Host
from simulator.experiment.losses import Losses
from simulator.experiment.observer import Observer
from simulator.experiment.operations import (
    Backup,
    Burden,
    ClockFault,
    Crash,
    Drift,
    Fault,
    Join,
    Jump,
    Pause,
    ProcessFault,
    Promote,
    Replace,
    Restart,
    Restore,
    Resume,
    RollingRestart,
    Rot,
    SetDisk,
    Skew,
    Stop,
    Upset,
    Wipe,
)
from simulator.experiment.plan import LEADER, Plan
from simulator.world.disk import Trouble
from simulator.world.heap import EventHeap
from simulator.world.trace import Trace

End: TypeAlias = Literal["crash", "stop", "wipe", "restore"]
"""How a process ends: without warning; in good order; and its disk is lost; and an older copy takes its place."""


@final
class Machines:
    """All machines of one run, and what happens to them.

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
        hosts: Mapping[str, Host],
        losses: Losses,
        observer: Observer,
        counts: Counter[str],
        felt: dict[str, int],
        launch: Callable[[Host], bool],
    ) -> None:
        """Begin with machines that are all right.

        Args:
            plan: what is played.
            heap: virtual time.
            trace: where everything is noted.
            hosts: the machines.
            losses: where is noted what ends with the only store that had it.
            observer: is told of upsets and ends.
            counts: how often what happened.
            felt: kind of fault -> how much it has touched.
            launch: starts the process of a host; False when there is one.
        """
        self.leader = LEADER
        self.lied = False
        self._plan = plan
        self._heap = heap
        self._trace = trace
        self._hosts = hosts
        self._losses = losses
        self._observer = observer
        self._counts = counts
        self._felt = felt
        self._launch = launch
        self._states: dict[tuple[str, str], Upset] = {}  # (member, what of it) -> what set it last

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

    def repair(self) -> None:
        """Let nothing be broken any more."""
        for host in self._hosts.values():
            host.clock.correct()
            host.set_trouble(Trouble())
            host.set_burden(0)
            self._heap.call_soon(partial(self._resume, host))
            self._heap.call_soon(partial(self.start, host))

    def note_operation(self, host: Host) -> None:
        """A client asks a member."""
        fault = self._states.get((host.name, "clock"))
        if host.clock.is_wrong:
            self._counts["operations under a wrong clock"] += 1
            self._observer.measure(host)
            if fault is not None:
                self._felt[tag_of(fault)] += 1

    def upset(self, fault: Upset) -> None:
        """Let something happen to one machine now."""
        host = self._hosts[fault.member]
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

    def stop_for(self, host: Host, fault: RollingRestart) -> None:
        """Stop a process in good order, and start it after a while."""
        self._felt[tag_of(fault)] += host.member is not None
        self._end(host, "stop")
        self._after(fault.down_s, partial(self._start_again, host, host.lives))

    def _resume(self, host: Host) -> None:
        if host.member is not None and host.pulse.stopped:
            self._trace.record(self._heap.now_ns, "resumed", host.name)
            host.pulse.go_on()

    def promote(self, fault: Promote) -> None:
        """Let everybody follow another leader."""
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

    def _after(self, delay_s: float | None, call: Callable[[], None]) -> None:
        if delay_s is not None:
            self._heap.post_at(self._heap.now_ns + round(delay_s * 1e9), call)


def tag_of(fault: Fault) -> str:
    """What a kind of fault is called in plans."""
    return str(fault.__struct_config__.tag)
