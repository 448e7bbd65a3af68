"""Nemesis: what goes wrong while a plan is played, and what ends with it.

Layer: simulator/experiment (Trio-free). Start at `Nemesis.strike`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import assert_never, final

import msgspec

from pivot.core.collection import Change, DropRow
from simulator.experiment.host import Host
from simulator.experiment.losses import Losses
from simulator.experiment.observer import Observer
from simulator.experiment.operations import (
    Crash,
    CutOneWay,
    Fault,
    Heal,
    Isolate,
    Partition,
    Pause,
    Restart,
    Resume,
    SetDisk,
    Skew,
    Wipe,
)
from simulator.experiment.plan import Plan
from simulator.world.disk import Trouble
from simulator.world.heap import EventHeap
from simulator.world.network import Network
from simulator.world.trace import Trace


@final
class Nemesis:
    """Everything that goes wrong in one run.

    Attributes:
        lied: whether a disk ever said that it had synced what it had not.
    """

    def __init__(
        self,
        plan: Plan,
        heap: EventHeap,
        trace: Trace,
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

    def strike(self, fault: Fault) -> None:
        """Let a fault happen now."""
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
                self.start(host)
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
                self.lied = self.lied or fault.trouble.lies
            case Skew():
                host.clock.offset_ns = round(fault.ahead_s * 1e9)
            case _:
                assert_never(fault)

    def start(self, host: Host) -> None:
        """Start a process, unless there is one."""
        if self._launch(host):
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
            unheard = host.crash()
            self._losses.note_appearance(before, unheard)
            self._trace.record(self._heap.now_ns, "crashed", host.name)
        if wipe:
            host.lose_disk()
            self._counts["versions wiped"] += len(before)
        left = [other.table() for other in self._hosts.values()]
        if not wipe and not host.forgot:
            dropped = [change.key for change in unheard if isinstance(change, DropRow)]
            known = {key: entry for key, entry in before.items() if key not in dropped}
            left.append({key: before[key] for key in dropped if key in before})  # its floor stands for them
        else:
            # The floor that stood for what was collected may be lost; who has such a tombstone still may drop it yet,
            # for word of that floor may be on its way.
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

    def end(self) -> None:
        """The safety phase is over: nothing is broken any more."""
        self._network.heal()
        self._network.calm()
        for host in self._hosts.values():
            host.clock.offset_ns = 0
            host.set_trouble(Trouble())
            self._resume(host)
            self.start(host)
