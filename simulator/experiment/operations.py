"""Operations: what can happen in a plan, as plain data; people write them with the verbs of `verbs`.

Layer: simulator/experiment. A fault that sets a state is a block: it has a start (the time of its step), a target, and
an end: after `for_s`, or when an operation ends it, at last with the safety phase. Start at `Operation`.
"""

from typing import Final, TypeAlias

import msgspec

from pivot.types import JsonValue
from simulator.world.cut import Difference
from simulator.world.disk import Trouble
from simulator.world.link import How


class _Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="do"):
    """Something that happens at a time."""


class Write(_Operation, frozen=True, tag="write"):
    """A client sets a key at a member."""

    member: str
    key: str
    value: JsonValue
    client: str = ""


class Push(_Operation, frozen=True, tag="push"):
    """A client adds an entry to a list at a member."""

    member: str
    pattern: str
    value: JsonValue
    client: str = ""


class Delete(_Operation, frozen=True, tag="delete"):
    """A client deletes a key, or all that a glob matches, at a member."""

    member: str
    pattern: str
    client: str = ""


class Read(_Operation, frozen=True, tag="read"):
    """A client reads a key at a member."""

    member: str
    key: str
    client: str = ""


class Confirm(_Operation, frozen=True, tag="confirm"):
    """The operator of a leader says that the list of its followers is complete: tombstones may be collected."""

    member: str


class _Lasting(_Operation, frozen=True, kw_only=True):
    """A fault that sets a state.

    Attributes:
        for_s: how long, s; None = until another operation ends it. With the safety phase it ends in any case.
    """

    for_s: float | None = None


class _Cut(_Lasting, frozen=True, kw_only=True):
    """A fault that cuts links.

    Attributes:
        how: what becomes of messages: `drop` loses them, `hold` keeps them until it heals and lets them go on in
            order, `reset` loses them, also those under way, and both sides hear of it.
    """

    how: How = "drop"


class Partition(_Cut, frozen=True, tag="partition"):
    """Cut all links between different groups; members in no group keep theirs (a bridge is such a member)."""

    groups: tuple[tuple[str, ...], ...]


class Isolate(_Cut, frozen=True, tag="isolate"):
    """Cut all links of a member."""

    member: str


class CutOneWay(_Cut, frozen=True, tag="cut_one_way"):
    """Cut the links from some members to others, not the way back."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]


class CutLinks(_Cut, frozen=True, tag="cut_links"):
    """Cut these links, each (from, to)."""

    links: tuple[tuple[str, str], ...]


class Ring(_Cut, frozen=True, tag="ring"):
    """Leave to these members only the links to their neighbours in this order, the first being one of the last."""

    members: tuple[str, ...]


class SmallestCut(_Cut, frozen=True, tag="smallest_cut"):
    """Cut the fewest links without which a member cannot reach another; `weighted` = of the least total weight."""

    member: str
    target: str
    weighted: bool = False


class Flap(_Lasting, frozen=True, tag="flap"):
    """Make a cut and heal it, again and again.

    Attributes:
        cut: what is cut.
        period_s: how long a cut and the pause after it take together, s.
        duty: which part of it the cut lasts.
        jitter: by which part a period may be longer or shorter.
    """

    cut: "SimpleCut"
    period_s: float = 1.0
    duty: float = 0.5
    jitter: float = 0.0


class Swizzle(_Cut, frozen=True, tag="swizzle"):
    """Isolate members one after another, then let them come back in another order.

    Attributes:
        members: in the order in which they are cut off.
        healed: the same in the order in which they come back.
        gap_s: how long after one the next, s.
    """

    members: tuple[str, ...]
    healed: tuple[str, ...]
    gap_s: float = 1.0


class Heal(_Operation, frozen=True, tag="heal"):
    """Heal all links; `how` = only of cuts that do this to messages."""

    how: How | None = None


class Weather(_Lasting, frozen=True, tag="weather"):
    """Let the links from some members to others have other weather; no members = all.

    Attributes:
        difference: what is other there than the plan says.
        sources: from where.
        destinations: to where.
    """

    difference: Difference
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()


class Calm(_Operation, frozen=True, tag="calm"):
    """Let all links have the weather that the plan says."""


class Crash(_Lasting, frozen=True, tag="crash"):
    """End a member without warning; what it has on disk stays. After `for_s` it starts again."""

    member: str


class Stop(_Lasting, frozen=True, tag="stop"):
    """End a member in good order; what it has on disk stays, synced. After `for_s` it starts again."""

    member: str


class Restart(_Operation, frozen=True, tag="restart"):
    """Start a member that does not run with what is on its disk; without a disk it starts empty."""

    member: str


class RollingRestart(_Operation, frozen=True, tag="rolling_restart"):
    """Stop members in good order and start them again, one after another.

    Attributes:
        members: in this order.
        down_s: how long each is away, s.
        gap_s: how long after the start of one the next is stopped, s.
    """

    members: tuple[str, ...]
    down_s: float = 0.5
    gap_s: float = 0.5


class Wipe(_Lasting, frozen=True, tag="wipe"):
    """End a member without warning, and lose its disk. After `for_s` it starts again, empty."""

    member: str


class Replace(_Operation, frozen=True, tag="replace"):
    """Another machine takes a member's place under the same address at once, with an empty disk."""

    member: str


class Join(_Operation, frozen=True, tag="join"):
    """Start a member for the first time: before, it does not run."""

    member: str


class Backup(_Operation, frozen=True, tag="backup"):
    """Copy a member's disk; the member may run meanwhile."""

    member: str


class Restore(_Operation, frozen=True, tag="restore"):
    """End a member without warning, put the copy of its disk back in its place, and start it."""

    member: str


class Promote(_Operation, frozen=True, tag="promote"):
    """Let all follow another leader: whoever runs is stopped in good order and started with the new configuration."""

    member: str


class Pause(_Lasting, frozen=True, tag="pause"):
    """Stop a member's process (SIGSTOP); what arrives meanwhile waits."""

    member: str


class Resume(_Operation, frozen=True, tag="resume"):
    """Let a stopped process go on (SIGCONT)."""

    member: str


class Burden(_Lasting, frozen=True, tag="burden"):
    """Let a member's processor take so much longer for each event, s; 0 = as it should."""

    member: str
    slow_s: float


class SetDisk(_Lasting, frozen=True, tag="disk"):
    """Set how a member's disk misbehaves; no trouble = it does not."""

    member: str
    trouble: Trouble = Trouble()


class Rot(_Operation, frozen=True, tag="rot"):
    """Let a bit on a member's disk flip; when its store is opened next, that is refused, and it gets an empty disk."""

    member: str


class Skew(_Lasting, frozen=True, tag="skew"):
    """Set how far a member's wall clock is ahead, s (negative: behind)."""

    member: str
    ahead_s: float


class Jump(_Lasting, frozen=True, tag="jump"):
    """Let a member's wall clock jump, s (negative: back)."""

    member: str
    by_s: float


class Drift(_Lasting, frozen=True, tag="drift"):
    """Let a member's wall clock go too fast by so many millionths (negative: too slow; -1,000,000: it stands still)."""

    member: str
    ppm: float


class Settle(_Operation, frozen=True, tag="settle"):
    """Wait until all members that run are equal and have nothing left to offer; what follows is that much later."""


Workload: TypeAlias = Write | Push | Delete | Read
SimpleCut: TypeAlias = Partition | Isolate | CutOneWay | CutLinks | Ring | SmallestCut
"""What cuts links once."""
LinkFault: TypeAlias = SimpleCut | Flap | Swizzle | Heal | Weather | Calm
"""What happens to links."""
ClockFault: TypeAlias = Skew | Jump | Drift
ProcessFault: TypeAlias = Crash | Stop | Restart | Wipe | Replace | Join | Restore | Pause | Resume | Burden
Upset: TypeAlias = ProcessFault | ClockFault | Backup | SetDisk | Rot
"""What happens to one member's machine."""
Fault: TypeAlias = LinkFault | Upset | RollingRestart | Promote
Operation: TypeAlias = Workload | Confirm | Fault | Settle
REPAIRS: Final = (Heal, Calm, Restart, Join, Resume, Backup)
"""What makes nothing worse."""


def named_by(operation: Operation) -> tuple[str, ...]:
    """Members that an operation names."""
    match operation:
        case Partition():
            return tuple(member for group in operation.groups for member in group)
        case CutOneWay() | Weather():
            return (*operation.sources, *operation.destinations)
        case CutLinks():
            return tuple(member for link in operation.links for member in link)
        case Ring() | RollingRestart():
            return operation.members
        case Swizzle():
            return (*operation.members, *operation.healed)
        case SmallestCut():
            return (operation.member, operation.target)
        case Flap():
            return named_by(operation.cut)
        case Heal() | Settle() | Calm():
            return ()
        case _:
            return (operation.member,)
