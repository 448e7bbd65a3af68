"""Fingerprint: a hash over all of a world that decides how it goes on, and what its checkers will say of that.

Layer: simulator (exploration). Theory of operation:

If two moments have one fingerprint, the same events follow and the same verdict, so the second need not be explored.
That holds only if nothing that matters is left out. So nothing is picked: the graph of objects is walked from the world
on, through every attribute, item, argument and closure, and what is left out is listed in `LEFT_OUT`, with the reason.
What can be neither walked nor left out is refused. So these are in it, among others:

    what will happen     every scheduled call with its time, in order: messages under way, commits, timers, asks
    every process        its store, staged rows too; its behaviours; its mailboxes; what it asked and was not answered
    every machine        its disk, clock, life, and how much chance it has used
    the network          cuts, connections, who is attached
    what was seen        all answers to clients and all versions that members showed, in order

Of what was seen only the order counts, so its times are replaced by their ranks. The checkers that measure time or
fullness (`staleness`, `quiescence`, `availability`, `bounded memory`) are those of the runs that are played to the end.
Objects that change are told apart by where they were met first, values by what they are.

Start at `fingerprint`.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final, cast, final

import msgspec

from simulator.errors import ExplorationError
from simulator.experiment.world import World
from simulator.world.heap import EventHeap

EVERYTHING: Final = ("*",)
LEFT_OUT: Final[Mapping[str, tuple[str, ...]]] = {
    # The same in all runs of one plan.
    "simulator.experiment.plan.Plan": EVERYTHING,
    "simulator.world.topology.Topology": EVERYTHING,
    "pivot.config.Config": EVERYTHING,
    "pivot.config.Knobs": EVERYTHING,
    # Takes down what happens, and decides nothing.
    "simulator.world.trace.Trace": EVERYTHING,
    "simulator.experiment.world.World": ("_converged_ns", "_counts", "_marks", "_was_quiet", "_watcher"),
    "simulator.experiment.observer.Observer": (
        "_equal_s", "_gauges", "_lowest_ns", "_network", "_pages_max", "_quiet_since_ns", "_said", "_said_before",
        "_silent_s", "_upset_ns",
    ),
    "simulator.experiment.nemesis.Nemesis": ("_causes", "_felt"),
    "simulator.experiment.machines.Machines": ("_counts", "_felt"),
    "simulator.experiment.host.Host": ("_earlier", "_garbled", "_held", "_slowed"),
    "simulator.experiment.clients.Clients": ("excused_ns",),
    "simulator.world.pulse.Pulse": ("held", "slowed"),
    "simulator.world.transport.SimulatedTransport": ("refused",),
    "simulator.world.network.Network": (
        "_corrupted", "_delivered", "_duplicated", "_held_ever", "_in_flight", "_in_flight_peak", "_lost", "_sent",
        "sent_by_label", "stopped_by_label",
    ),
    "simulator.world.network.Flight": ("message",),
    "pivot.actors.mailbox.Mailbox": ("_peak", "_refused", "_taken"),
    "pivot.core.store.Store": ("_glob_of", "_met", "commits", "conflicts"),
    # Belongs to the runtime, at rest between two events, or to the exploration.
    "simulator.runtimes.kernel._Kernel": EVERYTHING,
    "simulator.experiment.course.Course": EVERYTHING,
    # Of weather and disks that leave nothing to chance.
    "simulator.world.link.Link": ("_last_unit", "_stream", "_under_way", "messages", "peaks"),
    "simulator.world.disk.Disk": ("_failures", "_rot", "_syncs", "statistics"),
    # Follows from what is walked, or from the plan.
    "pivot.core.mesh.Mesh": ("_networks",),
    "simulator.world.heap.HeapTimer": ("_heap",),
    "pivot.core.collection.Collection": ("_digest",),
    "pivot.core.seqindex.SeqIndex": ("_order",),
    # Between two events nobody reads it before it is set again.
    "pivot.actors.actor.Actor": ("_batch", "_commits", "_now"),
    # The next of a series that is only compared with its earlier numbers, for equality.
    "pivot.core.asks.Asks": ("_next",),
    "pivot.actors.switchboard.Switchboard": ("_last_ask",),
    "pivot.core.following.Following": ("offered_all_s", "ordinal"),  # and the pause of `reoffer_s` outlasts the run
    # Without effect while `silence_s_min` is `silence_s_max`, and `member_ttl_s` outlasts the run.
    "pivot.core.health._Pulse": ("deviation_s", "gap_s"),
    "pivot.core.collection.Follower": ("heard_ns",),
}  # fmt: skip
"""Class -> attributes that are not walked."""


TIMES: Final[Mapping[str, tuple[str, ...]]] = {
    "simulator.experiment.history.Record": ("invoked_s", "answered_s"),
    "simulator.experiment.observer.Sighting": ("at_ns",),
    "simulator.experiment.observer.Reopening": ("at_ns",),
}
"""Class -> attributes that are times of what was seen, s or ns."""
AGING: Final[Mapping[str, tuple[str, ...]]] = {
    "pivot.core.following.Following": ("subscribed_s",),
    "pivot.core.leader._Peer": ("heard_s",),
    "pivot.core.node.NodeBehaviour": ("_heard_s",),
}
"""Class -> attributes that say when something was done last, s; when that was a heartbeat ago, it does not matter."""


def fingerprint(world: World) -> bytes:
    """16 bytes that are equal for two moments, each between two events, only if all is equal that matters.

    Raises:
        ExplorationError: there is something in the world that can be neither walked nor left out.
    """
    walk = _Walk(world.time_s - world.plan.knobs.heartbeat_s)
    walk.value(world)
    walk.rank_times()
    return blake2b(msgspec.msgpack.encode(walk.found), digest_size=16).digest()


@final
class _Walk:
    """One walk over a graph of objects."""

    def __init__(self, aged_s: float) -> None:
        self.found: list[object] = []
        self._aged_s = aged_s
        self._met: dict[int, int] = {}  # identity -> when it was met; the world keeps all of them alive meanwhile
        self._times: list[tuple[int, int]] = []  # place in `found`, time in ns

    def value(self, value: object) -> None:
        """Take down a value, or an object with all that it refers to."""
        kind = type(value)
        if kind in _ATOMS:
            self.found.append(value)
            return
        walk = _WALKS.get(kind)
        if walk is not None:
            walk(self, value)
            return
        anatomy = _ANATOMIES.get(kind) or _anatomy(kind)
        if not anatomy.frozen and self.is_known(value):
            return
        self.found.append(kind.__name__)
        if anatomy.whole:
            self.found.append(value)
            return
        names = vars(value) if anatomy.walked is None else anatomy.walked
        self.items([getattr(value, name, None) for name in names if name not in anatomy.left_out])
        for name in anatomy.aging:
            last_s: float = getattr(value, name)
            self.found.append(max(last_s, self._aged_s))
        for name in anatomy.times:
            time: float | None = getattr(value, name)
            if time is not None:
                self._times.append((len(self.found), time if isinstance(time, int) else round(time * 1e9)))
            self.found.append(None)

    def is_known(self, value: object) -> bool:
        """Whether an object was met before; its place is then taken down, and it need not be walked again."""
        number = self._met.setdefault(id(value), len(self._met))
        self.found.append(number)
        return number < len(self._met) - 1

    def rank_times(self) -> None:
        """Put their ranks in the place of times."""
        ranks = {time: rank for rank, time in enumerate(sorted(dict.fromkeys(time for _, time in self._times)))}
        for place, time in self._times:
            self.found[place] = ranks[time]

    # Kinds of objects --------------------------------------------------------------------------------------------

    def heap(self, heap: EventHeap) -> None:
        """All that will happen, and when; not how often what happened."""
        if not self.is_known(heap):
            self.found.append(heap.now_ns)
            self.items(heap.pending())

    def items(self, items: Sequence[object]) -> None:
        """Things in order."""
        found, walk = self.found, self.value
        found += ("[", len(items))
        for item in items:
            if type(item) in _ATOMS:  # most are, and a call costs more than they do
                found.append(item)
            else:
                walk(item)

    def mapping(self, mapping: Mapping[str, object]) -> None:
        """Keys and values, in the order in which one would meet them."""
        self.found.append("{")
        self.items([*mapping, *mapping.values()])

    def partial(self, call: "partial[object]") -> None:
        """A call, with its arguments."""
        self.value(call.func)
        self.items(call.args)
        self.mapping(call.keywords)

    def method(self, method: MethodType | BuiltinFunctionType) -> None:
        """A method, with its object."""
        self.found.append(method.__qualname__)
        self.value(method.__self__)

    def function(self, function: FunctionType) -> None:
        """A function, with what it took from around it."""
        self.found.append(function.__qualname__)
        self.items([cell.cell_contents for cell in function.__closure__ or ()])
        self.items(function.__defaults__ or ())

    def name(self, kind: type[object]) -> None:
        """A class."""
        self.found.append(kind.__qualname__)


_ATOMS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_WALKS: Final[dict[type[object], Callable[[_Walk, Any], None]]] = {
    EventHeap: _Walk.heap,
    tuple: _Walk.items,
    list: _Walk.items,
    deque: _Walk.items,
    dict: _Walk.mapping,
    Counter: _Walk.mapping,
    partial: _Walk.partial,
    MethodType: _Walk.method,
    BuiltinFunctionType: _Walk.method,
    FunctionType: _Walk.function,
    type: _Walk.name,
}


@final
class _Anatomy(msgspec.Struct, frozen=True, kw_only=True):
    """How objects of one class are walked.

    Attributes:
        frozen: whether they never change, so that one is as good as an equal one.
        whole: whether they are plain data all through, and are taken down as they are.
        walked: their attributes; None = whatever an object has.
        left_out: those that are not walked, or in another way.
        times: see `TIMES`.
        aging: see `AGING`.
    """

    frozen: bool = False
    whole: bool = False
    walked: tuple[str, ...] | None = ()
    left_out: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    aging: tuple[str, ...] = ()


_ANATOMIES: Final[dict[type[object], _Anatomy]] = {}


def _anatomy(kind: type[object]) -> _Anatomy:
    """Look at a class, once.

    Raises:
        ExplorationError: nobody knows how its objects are walked.
    """
    name = f"{kind.__module__}.{kind.__qualname__}"
    left_out, times, aging = LEFT_OUT.get(name, ()), TIMES.get(name, ()), AGING.get(name, ())
    frozen, walked = False, None
    if issubclass(kind, msgspec.Struct):
        frozen, walked = kind.__struct_config__.frozen, kind.__struct_fields__
    elif "__slots__" in vars(kind):
        walked = tuple(cast("Sequence[str]", vars(kind)["__slots__"]))
    elif issubclass(kind, Enum):
        frozen, walked = True, ("name",)
    elif name.partition(".")[0] not in ("pivot", "simulator"):
        raise ExplorationError(f"a world holds a {name}, and nobody knows how to walk that")
    if left_out == EVERYTHING:
        frozen, walked = True, ()
    # An entry, a message, an effect: plain data all through.
    whole = frozen and issubclass(kind, msgspec.Struct) and name.startswith("pivot.core.") and not left_out
    anatomy = _Anatomy(
        frozen=frozen, whole=whole, walked=walked, left_out=left_out + times + aging, times=times, aging=aging
    )
    _ANATOMIES[kind] = anatomy
    return anatomy
