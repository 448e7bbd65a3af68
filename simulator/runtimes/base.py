"""Runtime: what a world needs of whatever runs its members. Two of them give the same run: `trio` and `kernel`.

Layer: simulator (runtimes). Both keep these rules, which is why they agree:

- Everything that happens is an event of the one heap. One event wakes at most one actor, which runs to its next wait
  before the next event happens.
- A batch is what is in the mailbox then.
- A commit ends as an event, or at once.
"""

from typing import Final, Literal, Protocol, TypeAlias

from pivot.actors.member import Member
from simulator.world.drive import Drive
from simulator.world.heap import EventHeap

MAX_EVENTS: Final = 50_000_000
"""Default limit of one run: minutes of real time, so only a runaway gets there."""
RuntimeName: TypeAlias = Literal["kernel", "trio"]


class Process(Protocol):
    """A member that was started."""

    def kill(self) -> None:
        """End it without warning; whoever waits for its answers hears that it stopped."""
        ...


class Runtime(Protocol):
    """Runs members."""

    @property
    def heap(self) -> EventHeap:
        """Virtual time, and all that is scheduled in it."""
        ...

    def start(self, member: Member, drive: Drive) -> Process:
        """Let a member live. Called by an event of the heap, which starts no other."""
        ...

    def finish(self) -> None:
        """End the run after this event."""
        ...
