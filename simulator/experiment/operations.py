"""Operations: what can happen in a plan, and the verbs by which people write it.

Layer: simulator/experiment. A fault sets a state that lasts until another one changes it, or the safety phase ends.
Start at `Operation`.
"""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from pivot.errors import PivotError
from pivot.paths import check_key, check_list, check_pattern
from pivot.types import JsonValue
from simulator.errors import BadPlanError
from simulator.world.disk import Trouble


class _Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
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


class Partition(_Operation, frozen=True, tag="partition"):
    """Cut all links between different groups."""

    groups: tuple[tuple[str, ...], ...]


class Isolate(_Operation, frozen=True, tag="isolate"):
    """Cut all links of a member."""

    member: str


class CutOneWay(_Operation, frozen=True, tag="cut_one_way"):
    """Cut the links from some members to others, not the way back."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]


class Heal(_Operation, frozen=True, tag="heal"):
    """Heal all links."""


class Crash(_Operation, frozen=True, tag="crash"):
    """End a member without warning; what it has on disk stays."""

    member: str


class Restart(_Operation, frozen=True, tag="restart"):
    """Start a crashed member with what is on its disk; without a disk it starts empty."""

    member: str


class Wipe(_Operation, frozen=True, tag="wipe"):
    """End a member without warning, and lose its disk."""

    member: str


class Pause(_Operation, frozen=True, tag="pause"):
    """Stop a member's process (SIGSTOP); what arrives meanwhile waits."""

    member: str


class Resume(_Operation, frozen=True, tag="resume"):
    """Let a stopped process go on (SIGCONT)."""

    member: str


class SetDisk(_Operation, frozen=True, tag="disk"):
    """Set how a member's disk misbehaves; no trouble = it does not."""

    member: str
    trouble: Trouble = Trouble()


class Skew(_Operation, frozen=True, tag="skew"):
    """Set how far a member's wall clock is ahead, s (negative: behind)."""

    member: str
    ahead_s: float


class Settle(_Operation, frozen=True, tag="settle"):
    """Wait until all members that run are equal and have nothing left to offer; what follows is that much later."""


Workload: TypeAlias = Write | Push | Delete | Read
Cut: TypeAlias = Partition | Isolate | CutOneWay | Heal
"""What happens to links."""
Upset: TypeAlias = Crash | Restart | Wipe | Pause | Resume | SetDisk | Skew
"""What happens to one member's machine."""
Fault: TypeAlias = Cut | Upset
Operation: TypeAlias = Workload | Confirm | Fault | Settle


def named_by(operation: Operation) -> tuple[str, ...]:
    """Members that an operation names."""
    match operation:
        case Partition():
            return tuple(member for group in operation.groups for member in group)
        case CutOneWay():
            return (*operation.sources, *operation.destinations)
        case Heal() | Settle():
            return ()
        case _:
            return (operation.member,)


def check_operation(path: str, operation: Operation, members: tuple[str, ...]) -> None:
    """Refuse what cannot be played.

    Raises:
        BadPlanError: names the path of the wrong field; `path` is that of the operation.
    """
    for member in named_by(operation):
        if member not in members:
            raise BadPlanError(path, f"names {member!r}, members are {', '.join(members)[:200]}")
    if isinstance(operation, Confirm) and operation.member != members[0]:
        raise BadPlanError(f"{path}.member", f"is {operation.member!r}, only {members[0]} has followers")
    try:
        match operation:
            case Write() | Read():
                check_key(operation.key)
            case Push():
                check_list(operation.pattern)
            case Delete():
                check_pattern(operation.pattern)
            case _:
                pass
    except PivotError as error:
        raise BadPlanError(path, str(error)) from None


def write(member: str, key: str, value: JsonValue, *, client: str = "") -> Write:
    """A client sets `key` at `member`; without a name it is the one client that only asks this member."""
    return Write(member, key, value, client)


def push(member: str, pattern: str, value: JsonValue, *, client: str = "") -> Push:
    """A client (see `write`) adds an entry to the list `pattern` at `member`."""
    return Push(member, pattern, value, client)


def delete(member: str, pattern: str, *, client: str = "") -> Delete:
    """A client (see `write`) deletes `pattern` at `member`."""
    return Delete(member, pattern, client)


def read(member: str, key: str, *, client: str = "") -> Read:
    """A client (see `write`) reads `key` at `member`."""
    return Read(member, key, client)


def confirm(member: str) -> Confirm:
    """The operator says that the list of `member`'s followers is complete."""
    return Confirm(member)


def partition(*groups: Iterable[str]) -> Partition:
    """Cut all links between different groups; members in no group keep theirs."""
    return Partition(tuple(tuple(sorted(group)) for group in groups))


def isolate(member: str) -> Isolate:
    """Cut all links of `member`."""
    return Isolate(member)


def cut_one_way(sources: Iterable[str], destinations: Iterable[str]) -> CutOneWay:
    """Cut the links from `sources` to `destinations`, not the way back."""
    return CutOneWay(tuple(sorted(sources)), tuple(sorted(destinations)))


def heal() -> Heal:
    """Heal all links."""
    return Heal()


def crash(member: str) -> Crash:
    """End `member` without warning."""
    return Crash(member)


def restart(member: str) -> Restart:
    """Start `member` again."""
    return Restart(member)


def wipe(member: str) -> Wipe:
    """End `member` without warning, and lose its disk."""
    return Wipe(member)


def pause(member: str) -> Pause:
    """Stop `member`'s process (SIGSTOP)."""
    return Pause(member)


def resume(member: str) -> Resume:
    """Let `member`'s process go on (SIGCONT)."""
    return Resume(member)


def disk(member: str, *, slow_s: float = 0.0, fail: float = 0.0, full: bool = False, lies: bool = False) -> SetDisk:
    """Set how `member`'s disk misbehaves from now on; without any trouble it is a good one again."""
    return SetDisk(member, Trouble(slow_s=slow_s, fail=fail, full=full, lies=lies))


def settle() -> Settle:
    """Wait until all members that run are equal; what follows is that much later."""
    return Settle()


def skew(member: str, ahead_s: float) -> Skew:
    """Set how far `member`'s wall clock is ahead, s."""
    return Skew(member, ahead_s)
