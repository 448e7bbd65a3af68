"""Verbs: how people write what happens in a plan; each returns an operation.

Layer: simulator/experiment. Times are s. `for_s` is how long a fault lasts; without it, it lasts until another verb
ends it, at last until the safety phase is over. `how` is what a cut does to messages: `drop`, `hold` or `reset`.
"""

from collections.abc import Iterable

from pivot.types import JsonValue
from simulator.experiment.operations import (
    Backup,
    Burden,
    Calm,
    Confirm,
    Crash,
    CutLinks,
    CutOneWay,
    Delete,
    Drift,
    Flap,
    Heal,
    Isolate,
    Join,
    Jump,
    Partition,
    Pause,
    Promote,
    Push,
    Read,
    Replace,
    Restart,
    Restore,
    Resume,
    Ring,
    RollingRestart,
    Rot,
    SetDisk,
    Settle,
    SimpleCut,
    Skew,
    SmallestCut,
    Stop,
    Swizzle,
    Weather,
    Wipe,
    Write,
)
from simulator.world.chance import FROZEN_PPM
from simulator.world.cut import Difference
from simulator.world.disk import Trouble
from simulator.world.latency import Latency
from simulator.world.link import How


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


def settle() -> Settle:
    """Wait until all members that run are equal; what follows is that much later."""
    return Settle()


def partition(*groups: Iterable[str], for_s: float | None = None, how: How = "drop") -> Partition:
    """Cut all links between different groups; members in no group keep theirs."""
    return Partition(tuple(tuple(sorted(group)) for group in groups), for_s=for_s, how=how)


def hold(*groups: Iterable[str], for_s: float | None = None) -> Partition:
    """Hold all messages between different groups until `release`, then let them go on in order."""
    return partition(*groups, for_s=for_s, how="hold")


def release() -> Heal:
    """Let what is held go on."""
    return Heal("hold")


def isolate(member: str, *, for_s: float | None = None, how: How = "drop") -> Isolate:
    """Cut all links of `member`."""
    return Isolate(member, for_s=for_s, how=how)


def cut_one_way(
    sources: Iterable[str], destinations: Iterable[str], *, for_s: float | None = None, how: How = "drop"
) -> CutOneWay:
    """Cut the links from `sources` to `destinations`, not the way back."""
    return CutOneWay(tuple(sorted(sources)), tuple(sorted(destinations)), for_s=for_s, how=how)


def cut_links(*links: tuple[str, str], for_s: float | None = None, how: How = "drop") -> CutLinks:
    """Cut these links, each (from, to)."""
    return CutLinks(links, for_s=for_s, how=how)


def bridge(
    left: Iterable[str], member: str, right: Iterable[str], *, for_s: float | None = None, how: How = "drop"
) -> Partition:
    """Cut all links between two groups, but none of `member`, which both can still reach."""
    groups = [[other for other in group if other != member] for group in (left, right)]
    return partition(*groups, for_s=for_s, how=how)


def ring(*members: str, for_s: float | None = None, how: How = "drop") -> Ring:
    """Leave to these members only the links to their neighbours, the last and the first being some, too."""
    return Ring(members, for_s=for_s, how=how)


def smallest_cut(
    member: str, target: str, *, weighted: bool = False, for_s: float | None = None, how: How = "drop"
) -> SmallestCut:
    """Cut the fewest links, or those of the least weight, without which `member` cannot reach `target`."""
    return SmallestCut(member, target, weighted, for_s=for_s, how=how)


def flap(
    cut: SimpleCut, *, period_s: float = 1.0, duty: float = 0.5, jitter: float = 0.0, for_s: float | None = None
) -> Flap:
    """Make `cut` and heal it again every `period_s`; it lasts `duty` of that; periods differ by at most `jitter`."""
    return Flap(cut, period_s, duty, jitter, for_s=for_s)


def swizzle(
    members: Iterable[str], healed: Iterable[str], *, gap_s: float = 1.0, for_s: float | None = None, how: How = "drop"
) -> Swizzle:
    """Isolate `members` one after another, then let them come back in the order `healed`."""
    return Swizzle(tuple(members), tuple(healed), gap_s, for_s=for_s, how=how)


def heal() -> Heal:
    """Heal all links."""
    return Heal()


def weather(
    difference: Difference, sources: Iterable[str] = (), destinations: Iterable[str] = (), *, for_s: float | None = None
) -> Weather:
    """Let links from `sources` to `destinations` (none = all) have other weather."""
    return Weather(difference, tuple(sorted(sources)), tuple(sorted(destinations)), for_s=for_s)


def slow(
    latency: Latency, sources: Iterable[str] = (), destinations: Iterable[str] = (), *, for_s: float | None = None
) -> Weather:
    """Let messages need another time."""
    return weather(Difference(latency=latency), sources, destinations, for_s=for_s)


def lose(
    loss: float, sources: Iterable[str] = (), destinations: Iterable[str] = (), *, for_s: float | None = None
) -> Weather:
    """Lose messages with this probability."""
    return weather(Difference(loss=loss), sources, destinations, for_s=for_s)


def duplicate(
    duplication: float,
    sources: Iterable[str] = (),
    destinations: Iterable[str] = (),
    *,
    later_s: float = 0.0,
    for_s: float | None = None,
) -> Weather:
    """Let messages arrive twice with this probability, the copy `later_s` later."""
    difference = Difference(duplication=duplication, duplication_s=later_s)
    return weather(difference, sources, destinations, for_s=for_s)


def reorder(
    reordering: float,
    sources: Iterable[str] = (),
    destinations: Iterable[str] = (),
    *,
    by_s: float = 0.1,
    for_s: float | None = None,
) -> Weather:
    """Keep messages back by `by_s` with this probability, so that later ones overtake them."""
    return weather(Difference(reordering=reordering, reordering_s=by_s), sources, destinations, for_s=for_s)


def corrupt(
    corruption: float, sources: Iterable[str] = (), destinations: Iterable[str] = (), *, for_s: float | None = None
) -> Weather:
    """Change the content of messages with this probability."""
    return weather(Difference(corruption=corruption), sources, destinations, for_s=for_s)


def throttle(
    bandwidth: float,
    sources: Iterable[str] = (),
    destinations: Iterable[str] = (),
    *,
    queue_bytes: int = 2**20,
    for_s: float | None = None,
) -> Weather:
    """Let only so many bytes per second leave, and at most `queue_bytes` wait."""
    difference = Difference(bandwidth=bandwidth, queue_bytes=queue_bytes)
    return weather(difference, sources, destinations, for_s=for_s)


def calm() -> Calm:
    """Let all links have the weather that the plan says."""
    return Calm()


def crash(member: str, *, for_s: float | None = None) -> Crash:
    """End `member` without warning."""
    return Crash(member, for_s=for_s)


def stop(member: str, *, for_s: float | None = None) -> Stop:
    """End `member` in good order."""
    return Stop(member, for_s=for_s)


def restart(member: str) -> Restart:
    """Start `member` again."""
    return Restart(member)


def rolling_restart(*members: str, down_s: float = 0.5, gap_s: float = 0.5) -> RollingRestart:
    """Stop members in good order and start them again, one after another."""
    return RollingRestart(members, down_s, gap_s)


def wipe(member: str, *, for_s: float | None = None) -> Wipe:
    """End `member` without warning, and lose its disk."""
    return Wipe(member, for_s=for_s)


def replace(member: str) -> Replace:
    """Let another machine take the place of `member` under the same address, with an empty disk."""
    return Replace(member)


def join(member: str) -> Join:
    """Start `member` for the first time."""
    return Join(member)


def backup(member: str) -> Backup:
    """Copy the disk of `member`."""
    return Backup(member)


def restore(member: str) -> Restore:
    """Put the copy of its disk back in its place, and start `member` with it."""
    return Restore(member)


def promote(member: str) -> Promote:
    """Let all others follow `member`."""
    return Promote(member)


def pause(member: str, *, for_s: float | None = None) -> Pause:
    """Stop `member`'s process (SIGSTOP)."""
    return Pause(member, for_s=for_s)


def resume(member: str) -> Resume:
    """Let `member`'s process go on (SIGCONT)."""
    return Resume(member)


def burden(member: str, slow_s: float, *, for_s: float | None = None) -> Burden:
    """Let `member`'s processor take `slow_s` longer for each event."""
    return Burden(member, slow_s, for_s=for_s)


def disk(
    member: str,
    *,
    slow_s: float = 0.0,
    fail: float = 0.0,
    fail_sync: float = 0.0,
    full: bool = False,
    lies: bool = False,
    for_s: float | None = None,
) -> SetDisk:
    """Set how `member`'s disk misbehaves from now on; without any trouble it is a good one again."""
    return SetDisk(member, Trouble(slow_s=slow_s, fail=fail, fail_sync=fail_sync, full=full, lies=lies), for_s=for_s)


def fill_disk(member: str, *, for_s: float | None = None) -> SetDisk:
    """Let `member`'s disk have no space left."""
    return disk(member, full=True, for_s=for_s)


def rot(member: str) -> Rot:
    """Let a bit on `member`'s disk flip."""
    return Rot(member)


def skew(member: str, ahead_s: float, *, for_s: float | None = None) -> Skew:
    """Set how far `member`'s wall clock is ahead."""
    return Skew(member, ahead_s, for_s=for_s)


def jump(member: str, by_s: float, *, for_s: float | None = None) -> Jump:
    """Let `member`'s wall clock jump; negative: back."""
    return Jump(member, by_s, for_s=for_s)


def drift(member: str, ppm: float, *, for_s: float | None = None) -> Drift:
    """Let `member`'s wall clock go too fast by so many millionths."""
    return Drift(member, ppm, for_s=for_s)


def freeze(member: str, *, for_s: float | None = None) -> Drift:
    """Let `member`'s wall clock stand still."""
    return Drift(member, FROZEN_PPM, for_s=for_s)
