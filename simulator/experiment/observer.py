"""Observer: what is seen of each member from outside while a plan is played: versions, restarts, queues, silence.

Layer: simulator/experiment. It sees what a member shows to those who watch it, and what a store knows before a crash
and after it was opened again; it never looks at how a member decides. The world feeds it, checkers read it.
Start at `Observer.follow`; `Observations` is what comes of it.
"""

from functools import partial
from typing import Final, final

import msgspec

from pivot.core.entry import Entry
from pivot.core.leading import PENDING_MAX
from pivot.types import StoreId
from simulator.experiment.host import Host
from simulator.experiment.plan import Plan
from simulator.world.chance import START_NS
from simulator.world.heap import EventHeap
from simulator.world.network import Network

SILENCE_NS: Final = 4_000_000_000
"""How long nothing may be said until it counts as silence: 4 s, longer than anything repeats itself that should not."""
IDLE: Final = ("heartbeat", "ack")
"""What is said, and repeated, though there is nothing to say."""
LINK_MAX: Final = 512
"""Most messages of one kind, other than pages, that may be under way on one link."""
ASKED_MAX: Final = PENDING_MAX + 64
"""Most answers and timers of its own that may wait in the mailbox of an actor, beside what others left there."""


@final
class Sighting(msgspec.Struct, frozen=True, gc=False):
    """A member shows a version as committed.

    Attributes:
        at_ns: when, virtual time.
        member: which one.
        life: number of its process, from 1.
        store: id of its store.
        entry: the version.
        withdrawn: whether this says that the member forgot the live version with this stamp, which is no version.
    """

    at_ns: int
    member: str
    life: int
    store: StoreId
    entry: Entry
    withdrawn: bool = False


@final
class Reopening(msgspec.Struct, frozen=True):
    """A member's store was opened again.

    Attributes:
        at_ns: when, virtual time.
        member: which one.
        had: key -> version that it knew when it last ended, tombstones included.
        shown: likewise, with tombstones that it had collected before.
        has: key -> version that it knows now.
        excuse: why something may be missing; empty = nothing may.
    """

    at_ns: int
    member: str
    had: dict[str, Entry]
    shown: dict[str, Entry]
    has: dict[str, Entry]
    excuse: str


@final
class Gauge(msgspec.Struct, frozen=True):
    """How full something bounded ever was.

    Attributes:
        what: which queue, of whom.
        peak: most that it ever held.
        limit: most that it may hold.
    """

    what: str
    peak: int
    limit: int


@final
class Observations(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the members.

    Attributes:
        sightings: every version that a member showed, in order.
        reopenings: every time that a store was opened again, in order.
        gauges: how full queues were.
        lowest_ns: member -> how far its wall clock ever was behind true time, as a number <= 0.
        upset_ns: when a fault first touched the world; None = never.
        equal_s: when all was converged for the first time after the faults, perhaps not for good; None = never.
        silent_s: when there was silence after convergence; None = never.
        talk: kind of message -> how many were sent after `equal_s`, other than what may be repeated.
    """

    sightings: tuple[Sighting, ...] = ()
    reopenings: tuple[Reopening, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    lowest_ns: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    upset_ns: int | None = None
    equal_s: float | None = None
    silent_s: float | None = None
    talk: dict[str, int] = msgspec.field(default_factory=dict[str, int])


@final
class Observer:
    """Watches all members of one run."""

    def __init__(self, plan: Plan, heap: EventHeap, network: Network) -> None:
        self._heap = heap
        self._network = network
        # A repeated subscription begins anew with an empty window, and the weather may repeat every page.
        self._pages_max = LINK_MAX if keeps_messages(plan) else 4 * plan.knobs.page_window * len(plan.keys)
        self._sightings: list[Sighting] = []
        self._reopenings: list[Reopening] = []
        self._gauges: dict[str, Gauge] = {}
        self._lowest_ns: dict[str, int] = {}
        self._upset_ns: int | None = None
        self._shown: dict[str, dict[str, Entry]] = {}
        self._had: dict[str, dict[str, Entry]] = {}
        self._excuses: dict[str, str] = {}
        self._equal_s: float | None = None
        self._said: dict[str, int] = {}
        self._said_before: dict[str, int] = {}
        self._quiet_since_ns = 0
        self._silent_s: float | None = None

    # Members -----------------------------------------------------------------------------------------------------

    def follow(self, host: Host) -> None:
        """A process of a host has just started."""
        assert host.member is not None, "it has started"
        host.member.watch(partial(self._saw, host, host.lives))
        self._heap.call_soon(partial(self._opened, host, host.lives))

    def ended(self, host: Host, had: dict[str, Entry], excuse: str) -> None:
        """A process of a host ended, or its disk was lost.

        Args:
            host: whose.
            had: what it knew.
            excuse: why its next process may know less; empty = it may not.
        """
        known = self._had.setdefault(host.name, {})
        for key, entry in had.items():  # a disk may be lost that had lost something before
            old = known.get(key)
            if old is None or old.version < entry.version:
                known[key] = entry
        if excuse:
            self._excuses[host.name] = excuse

    def upset(self) -> None:
        """A fault begins."""
        if self._upset_ns is None:
            self._upset_ns = self._heap.now_ns

    def measure(self, host: Host) -> None:
        """Look at a host's clock and queues; before its process ends, and now and then."""
        offset_ns = host.clock() - START_NS - self._heap.now_ns
        if offset_ns < self._lowest_ns.get(host.name, 0):
            self._lowest_ns[host.name] = offset_ns
        if host.member is not None:
            for actor, mailbox in host.member.statistics().items():
                self._note_gauge(f"the mailbox of {actor} of {host.name}", mailbox.peak, mailbox.limit + ASKED_MAX)

    def _note_gauge(self, what: str, peak: int, limit: int) -> None:
        old = self._gauges.get(what)
        if old is None or old.peak < peak:
            self._gauges[what] = Gauge(what, peak, limit)

    def _saw(self, host: Host, life: int, entries: tuple[Entry, ...]) -> None:
        assert host.member is not None, "it shows something"
        shown, at_ns, store = self._shown.setdefault(host.name, {}), self._heap.now_ns, host.member.store
        for entry in entries:
            old = shown.get(entry.key)
            # A tombstone that was written is later than what its writer had, so this one only says "forgotten".
            withdrawn = (
                entry.deleted
                and old is not None
                and not old.deleted
                and (old.stamp, old.created, old.origin) == (entry.stamp, entry.created, entry.origin)
            )
            if not withdrawn:
                shown[entry.key] = entry
            self._sightings.append(Sighting(at_ns, host.name, life, store, entry, withdrawn))

    def _opened(self, host: Host, life: int) -> None:
        """Its store is open: what it knows now is what the disk gave back."""
        if host.member is None or host.lives != life:
            return
        self.measure(host)
        has = host.table()
        shown, at_ns = self._shown.setdefault(host.name, {}), self._heap.now_ns
        for entry in has.values():  # a commit may be kept though nobody was told
            old = shown.get(entry.key)
            if old is None or old.version != entry.version:
                self._sightings.append(Sighting(at_ns, host.name, life, host.member.store, entry))
        had, excuse = self._had.pop(host.name, {}), self._excuses.pop(host.name, "")
        self._shown[host.name] = dict(has)
        if life > 1:
            self._reopenings.append(Reopening(at_ns, host.name, had, shown | had, has, excuse))

    # Silence -----------------------------------------------------------------------------------------------------

    def silent(self, *, converged: bool) -> bool:
        """Whether all has been said for `SILENCE_NS`; to be asked again and again once all is converged."""
        said = {label: count for label, count in self._network.sent_by_label.items() if label not in IDLE}
        if converged and self._equal_s is None:
            self._equal_s, self._said_before = self._heap.now_ns / 1e9, said
        if said != self._said or not converged:
            self._said, self._quiet_since_ns = said, self._heap.now_ns
        if self._heap.now_ns - self._quiet_since_ns < SILENCE_NS:
            return False
        self._silent_s = self._heap.now_ns / 1e9
        return True

    def observations(self) -> Observations:
        """What was seen so far."""
        for link in self._network.links():
            for label, peak in link.peaks.items():
                limit = self._pages_max if label == "page" else LINK_MAX
                self._note_gauge(f"{label} messages under way from {link.src} to {link.dst}", peak, limit)
        before = self._said_before
        return Observations(
            sightings=tuple(self._sightings),
            reopenings=tuple(self._reopenings),
            gauges=tuple(self._gauges.values()),
            lowest_ns=dict(self._lowest_ns),
            upset_ns=self._upset_ns,
            equal_s=self._equal_s,
            silent_s=self._silent_s,
            talk={label: count - before.get(label, 0) for label, count in self._said.items()},
        )


def keeps_messages(plan: Plan) -> bool:
    """Whether links keep messages, or copies of them, so long that those of several subscriptions may be under way."""
    if any(weather.duplication_s or weather.reordering or weather.bandwidth for weather in plan.weathers()):
        return True
    kept = {"weather", "flap", "swizzle"}
    operations = [step.operation for step in plan.steps]
    return any(str(each.__struct_config__.tag) in kept or getattr(each, "how", "") == "hold" for each in operations)
