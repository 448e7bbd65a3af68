"""Course: lets the deviations of a plan happen while it is played, and shows the turns after them to whoever watches.

Layer: simulator/experiment (Trio-free). A *turn* is a moment at which the next event could as well be another one: a
message arrives, a commit ends, or a client asks. Start at `Course.begin`.
"""

from collections.abc import Callable
from functools import partial
from typing import assert_never, final

from simulator.experiment.clients import Clients
from simulator.experiment.deviation import Deviation, LoseNext, Postpone, RepeatNext, Twist
from simulator.experiment.nemesis import Nemesis
from simulator.experiment.operations import Crash, Isolate, Wipe
from simulator.world.drive import DiskDrive
from simulator.world.heap import EventHeap
from simulator.world.network import Network


@final
class Course:
    """The deviations of one run."""

    def __init__(
        self,
        deviations: tuple[Deviation, ...],
        heap: EventHeap,
        *,
        network: Network,
        nemesis: Nemesis,
        clients: Clients,
        asks: Callable[[Callable[[], None]], bool],
    ) -> None:
        """Do nothing yet.

        Args:
            deviations: in the order in which they happen.
            heap: the events.
            network: what carries messages.
            nemesis: what lets faults happen.
            clients: are told that answers may take longer.
            asks: whether a scheduled call lets a client ask.
        """
        self._left = list(deviations)
        self._heap = heap
        self._network = network
        self._nemesis = nemesis
        self._clients = clients
        self._asks = asks
        self._watcher: Callable[[], None] | None = None

    def begin(self, watcher: Callable[[], None] | None = None) -> None:
        """Wait for the first deviation; `watcher` is called at every turn after the last one."""
        self._watcher = watcher
        if self._left:
            self._heap.interrupt(self._left[0].after, self._deviate)
        elif watcher is not None:
            self._heap.interrupt(self._heap.executed, self._look)

    def end(self) -> None:
        """Let nothing deviate any more."""
        self._left.clear()
        self._watcher = None

    def is_turn(self) -> bool:
        """Whether the next event is one that may be postponed."""
        call = self._heap.next_call()
        return call is not None and (
            DiskDrive.ends_commit(call) or self._asks(call) or self._network.arrival(call) is not None
        )

    def is_arrival(self) -> bool:
        """Whether the next event is the arrival of a message."""
        call = self._heap.next_call()
        return call is not None and self._network.arrival(call) is not None

    def _deviate(self) -> None:
        if self._left:
            self._let(self._left.pop(0).what)
            self.begin(self._watcher)

    def _let(self, what: Twist) -> None:
        match what:
            case Postpone() | LoseNext() | RepeatNext():
                self._nemesis.note(what)
                self._twist(what)
            case Crash() | Wipe() | Isolate():
                self._nemesis.strike(what)
            case _:
                assert_never(what)

    def _twist(self, what: Postpone | LoseNext | RepeatNext) -> None:
        heap, network = self._heap, self._network
        call = heap.next_call()
        flight = None if call is None else network.arrival(call)
        match what:
            case Postpone():
                if call is not None:
                    by_ns = round(what.by_s * 1e9)
                    heap.postpone_next(by_ns)
                    self._clients.excused_ns += by_ns
            case LoseNext():
                if flight is not None:
                    heap.take_next()
                    network.lose(flight)
            case RepeatNext():
                if flight is not None:
                    network.repeat(flight, heap.now_ns + round(what.by_s * 1e9))
            case _:
                assert_never(what)

    def _look(self) -> None:
        if self._watcher is None:
            return
        if self.is_turn():
            self._watcher()
        if self._watcher is not None:
            self._heap.interrupt(self._heap.executed + 1, self._look)


def is_call_of(call: Callable[[], None], method: Callable[..., None]) -> bool:
    """Whether a scheduled call is one of this method, with its arguments."""
    return isinstance(call, partial) and call.func == method
