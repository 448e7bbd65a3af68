"""Nemesis: what goes wrong while a plan is played, and what ends with it.

Layer: simulator/experiment (Trio-free). A fault that has an end ends by itself, and only itself: what came after it on
the same machine stays. How much each kind has touched is its *potency*: a fault that touched nothing proves nothing.
Start at `Nemesis.strike`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import assert_never, final

import msgspec

from simulator.experiment.deviation import LoseNext, Postpone, RepeatNext, Twist
from simulator.experiment.host import Host
from simulator.experiment.losses import Losses
from simulator.experiment.machines import Machines, tag_of
from simulator.experiment.observer import Observer
from simulator.experiment.operations import (
    REPAIRS,
    Calm,
    CutLinks,
    CutOneWay,
    Fault,
    Flap,
    Heal,
    Isolate,
    LinkFault,
    Partition,
    Promote,
    Ring,
    RollingRestart,
    SmallestCut,
    Swizzle,
    Weather,
)
from simulator.experiment.plan import Plan
from simulator.experiment.soundness import cut_by, weathered
from simulator.world.cut import Change as Rain
from simulator.world.cut import Cut
from simulator.world.heap import EventHeap
from simulator.world.network import Network
from simulator.world.rng import Streams
from simulator.world.trace import Trace

_WRITES = ("push", "page", "repair")


@final
class Nemesis:
    """Everything that goes wrong in one run.

    Attributes:
        machines: what happens to those.
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
        self._plan = plan
        self._heap = heap
        self._trace = trace
        self._network = network
        self._hosts = hosts
        self._observer = observer
        self._streams = Streams(plan.seed)
        self._felt: dict[str, int] = {}  # kind of fault -> how much it has touched
        self._causes: list[tuple[str, Cut | Rain]] = []
        self._ongoing: dict[int, Flap | Swizzle | RollingRestart] = {}
        self._begun = 0
        self.machines = Machines(
            plan,
            heap,
            trace,
            hosts=hosts,
            losses=losses,
            observer=observer,
            counts=counts,
            felt=self._felt,
            launch=launch,
        )

    def note(self, what: Fault | Twist) -> None:
        """Take down that something goes wrong now."""
        tag = str(what.__struct_config__.tag)
        self._trace.record(self._heap.now_ns, "fault", "", label=tag, payload=msgspec.json.encode(what))
        self._observer.upset()
        if isinstance(what, Postpone | LoseNext | RepeatNext):
            self._felt[tag] = self._felt.get(tag, 0) + 1
        elif not isinstance(what, REPAIRS):
            self._felt.setdefault(tag, 0)

    def strike(self, fault: Fault) -> None:
        """Let a fault happen now."""
        self.note(fault)
        match fault:
            case Flap() | Swizzle() | RollingRestart():
                self._begin(fault)
            case Promote():
                self.machines.promote(fault)
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
                self.machines.upset(fault)

    def end(self) -> None:
        """The safety phase is over: nothing is broken any more."""
        self._ongoing.clear()
        self._network.heal()
        self._network.calm()
        self.machines.repair()

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
                    self._while(number, begin_s, partial(self.machines.stop_for, host, fault))

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
