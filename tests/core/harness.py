"""Harness: a leader and its nodes over the real behaviours, with an adversary instead of a network, and no Trio.

Every method of `Cluster` is one thing that can happen; whoever drives it is the adversary (`schedules` draws at random,
`test_convergence` lets Hypothesis draw). After each one `check` holds what must be true at any moment:

- a store never goes back behind a version it has kept (the disks watch that), and a promised write is kept; only a
  version that is ahead of every clock may be replaced by an earlier one;
- what users see of a key is dropped only when somebody has deleted it, and what a leader has confirmed is not written
  again under another stamp;
- members that have everything are equal: a digest that differs, which they would mend, is a bug here;
- what a node believes its leader to have confirmed, the leader has, or something greater;
- what lies before a node's cursor, the node has.

`heal` ends the adversary: clocks are right, everything is delivered and timers run until nothing is missing, within a
bound of virtual time, and then all members are equal, no write that a surviving store held is gone, and nothing is
there that nobody wrote.
"""

from typing import Final, final

from pivot.core.entry import Entry
from pivot.core.events import LinkLost, Received
from pivot.core.messages import ToLeader
from pivot.core.notices import Diverged, Notice, Reissued
from pivot.core.questions import ConfirmFollowers, Decommission, Question, Result, Written
from pivot.types import Address, StoreId
from tests.core.host import COLLECTIONS, LEADER, Host, name_at
from tests.core.world import Bag, HandTimeline, StoppedError, Violation, WatchedDisk, read

HEAL_S: Final = 120
"""Virtual time within which a healed cluster must have converged."""


@final
class Cluster:
    """A leader and its nodes.

    Attributes:
        hosts: name -> member; the leader first.
        bag: what is under way.
        known: key -> greatest version that a store still holds.
        written: every version that was ever kept by the store that wrote it.
        buried: key -> greatest tombstone that was ever kept.
        notices: what people were told: (member, notice).
        forgetful: whether disks lose rows by themselves; then members may differ though nothing is on its way.
        acknowledged: how many writes were answered.
    """

    def __init__(self, nodes: int) -> None:
        self.bag = Bag()
        self.timeline = HandTimeline()
        self.known: dict[str, Entry] = {}
        self.written: dict[tuple[str, object], None] = {}
        self.buried: dict[str, Entry] = {}
        self.notices: list[tuple[str, Notice]] = []
        self.forgetful = False
        self.acknowledged = 0
        self._checked: list[tuple[StoreId, int]] = []
        self._copies: dict[str, WatchedDisk] = {}
        self._stores = 0
        self.hosts: dict[str, Host] = {}
        for name in (LEADER, *(f"node-{number}" for number in range(nodes))):
            self.hosts[name] = Host(
                name, self._new_disk(), timeline=self.timeline, bag=self.bag, on_notice=self._noticed
            )

    def _new_disk(self) -> WatchedDisk:
        self._stores += 1
        store = StoreId(f"store-{self._stores}")
        return WatchedDisk(store, self)

    # What the disks see ------------------------------------------------------------------------------------------

    def kept(self, store: StoreId, entry: Entry) -> None:
        """See `DiskWatcher.kept`."""
        if entry.origin == store:
            self.written[entry.key, entry.version] = None
        _raise(self.known, entry)
        if entry.deleted:
            _raise(self.buried, entry)

    def forgotten(self, store: StoreId, entry: Entry) -> None:
        """See `DiskWatcher.forgotten`."""
        grave = self.buried.get(entry.key)
        if grave is None or grave.version < entry.version:
            raise Violation(f"{store} forgets {entry}, which nobody has deleted: {grave}")

    def withdrawn(self, key: str) -> None:
        """See `DiskWatcher.withdrawn`; what others still hold counts on."""
        self.known.pop(key, None)
        for entry in self._held():
            if entry.key == key:
                _raise(self.known, entry)

    def _held(self) -> list[Entry]:
        disks = [host.disk for host in self.hosts.values()]
        return [entry for disk in disks for entry in (*disk.table().values(), *disk.collected.values())]

    def _noticed(self, name: str, notice: Notice) -> None:
        self.notices.append((name, notice))
        if isinstance(notice, Diverged) and not self.forgetful:
            raise Violation(f"{name} has everything and yet is not equal: {self._differences()}")
        if isinstance(notice, Reissued):
            disk = self.hosts[name].disk
            path = disk.rows[notice.key][0] if notice.key in disk.rows else ""
            if (disk.place(path).epoch, notice.key, notice.before) in disk.confirmed:
                raise Violation(f"{disk.store} writes again what its leader had confirmed: {notice}")

    # What can happen ---------------------------------------------------------------------------------------------

    def ask(self, name: str, question: Question) -> None:
        """A client writes at a member."""
        host = self.hosts[name]
        disk = host.disk
        host.board.ask(question, lambda result: self._answered(disk, result))

    def _answered(self, disk: WatchedDisk, result: Result) -> None:
        if not isinstance(result, Written):
            return
        self.acknowledged += 1
        for key, stamp in zip(result.keys, result.stamps, strict=True):
            if key not in disk.rows or disk.rows[key][1].entry.stamp < stamp:
                raise Violation(f"{disk.store} acknowledges {key} at {stamp}, which it has not kept")

    def work(self, name: str, actor: str = "", *, stop_after: int | None = None) -> None:
        """An actor of a member (empty = each) takes what waits for it; a machine may stop at a commit or an effect."""
        host = self.hosts[name]
        for each in (actor,) if actor else tuple(host.cores):
            if not host.inboxes[each].waiting:
                continue
            try:
                host.work(each, stop_after=stop_after)
            except StoppedError:
                self.crash(name, wiped=False)
                return

    def deliver(self, place: int, *, again: bool = False) -> None:
        """An envelope arrives; perhaps once more later."""
        line = self.bag.lines[place] if again else self.bag.lines.pop(place)
        envelope = read(line)
        host = self.hosts.get(name_at(envelope.target))
        if host is None:
            return  # nobody is there
        if isinstance(envelope.body, ToLeader) == host.leads:
            host.inboxes[host.role].offer(Received(envelope.sender, envelope.store, envelope.body))

    def drop(self, place: int) -> None:
        """An envelope is lost."""
        del self.bag.lines[place]

    def wait(self, seconds: float) -> None:
        """Time passes; timers that are due fire."""
        self.timeline.advance(self.timeline.now_s + seconds)

    def hint(self, name: str, peer: str) -> None:
        """A member's transport says that a peer cannot be reached."""
        host = self.hosts[name]
        host.inboxes[host.role].offer(LinkLost(Address(peer), "cut"))

    def confirm_followers(self) -> None:
        """The operator says that the leader's list of followers is complete, which need not be so."""
        self.hosts[LEADER].board.ask(ConfirmFollowers(), _ignore)

    def expire(self, number: int) -> None:
        """The leader forgets a follower, which may come back all the same."""
        store = StoreId(f"store-{1 + number % self._stores}")
        self.hosts[LEADER].board.ask(Decommission(store), _ignore)

    def revive(self, name: str, actor: str) -> None:
        """One actor, which is not storage, crashes and begins again."""
        self.hosts[name].revive(actor)

    def crash(self, name: str, *, wiped: bool) -> None:
        """A member stops and starts, perhaps with an empty disk, which is another store."""
        self._start_on(name, self._new_disk() if wiped else None)

    def copy(self, name: str) -> None:
        """Somebody makes a copy of what is on a member's disk."""
        self._copies[name] = self.hosts[name].disk.copy()

    def put_back(self, name: str) -> None:
        """A member stops and starts on its copy, if there is one: a disk that has lost the end of what it kept."""
        copy = self._copies.get(name)
        self._start_on(name, None if copy is None else copy.copy())

    def _start_on(self, name: str, disk: WatchedDisk | None) -> None:
        host = self.hosts[name]
        host.stop()
        if disk is not None:
            host.disk = disk
            self.known, self._checked = {}, []
            for entry in self._held():
                _raise(self.known, entry)
        host.start()

    # What must hold ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must be true at any moment."""
        kept = [(host.disk.store, host.disk.kept.commits) for host in self.hosts.values()]
        if self.forgetful or kept == self._checked:
            return
        self._checked = kept
        leader = self.hosts[LEADER].disk
        for host in self.hosts.values():
            if not host.leads:
                for path in COLLECTIONS:
                    if host.disk.place(path).epoch == leader.epoch:
                        _check_follower(host.disk, leader, path)

    def heal(self) -> None:
        """End of the adversary: clocks are right, and within `HEAL_S` nothing is missing, and all members are equal."""
        for host in self.hosts.values():
            host.disk.failing, host.disk.dying = 0, ""
            host.skew_ns = 0
        until_s = self.timeline.now_s + HEAL_S
        self._drain()
        while not self.converged():
            if self.timeline.now_s >= until_s:
                raise Violation(f"not converged after {HEAL_S} s: {self._differences()}")
            self.wait(0.5)
            self._drain()
        self.wait(3.0)
        self._drain()
        if not self.converged():
            raise Violation(f"does not stay converged: {self._differences()}")
        table = self.hosts[LEADER].disk.table()
        for key, entry in self.known.items():
            there = table.get(key)
            if there is None and entry.deleted:
                continue  # its tombstone was collected, or nobody had anything to delete
            if there is None or there.version != entry.version:
                raise Violation(f"{key} should be {entry}, it is {there}")
            if (key, entry.version) not in self.written:
                raise Violation(f"nobody wrote {entry}")

    def converged(self) -> bool:
        """Whether all show the same, everything is confirmed and everybody has read everything."""
        leader = self.hosts[LEADER].disk
        want = {key: entry.version for key, entry in leader.live().items()}
        heads: dict[str, int] = dict.fromkeys(COLLECTIONS, 0)
        for path in COLLECTIONS:
            heads[path] = leader.floor(path)
        for path, row in leader.rows.values():
            heads[path] = max(heads[path], row.seq)
        for host in self.hosts.values():
            if host.leads:
                continue
            if {key: entry.version for key, entry in host.disk.live().items()} != want:
                return False
            if any(row.acked is None for _, row in host.disk.rows.values()):
                return False
            places = {path: host.disk.place(path) for path in COLLECTIONS}
            if any((at.epoch, at.cursor) != (leader.epoch, heads[path]) for path, at in places.items()):
                return False
        return True

    def _drain(self) -> None:
        """Deliver everything, and let everybody work, until only time can bring more."""
        for _ in range(10_000):
            for name, host in self.hosts.items():
                while any(inbox.waiting for inbox in host.inboxes.values()):
                    self.work(name)
            if not self.bag.lines:
                return
            self.deliver(0)
            self.check()
        raise Violation(f"members talk without end: {self.bag.lines[:4]}")

    def _differences(self) -> dict[str, object]:
        return {
            host.name: (
                {key: (entry.version, row.acked) for key, (_, row) in host.disk.rows.items() for entry in (row.entry,)},
                host.disk.kept.places,
            )
            for host in self.hosts.values()
        }


def _raise(greatest: dict[str, Entry], entry: Entry) -> None:
    """Remember a version if it is the greatest of its key so far."""
    before = greatest.get(entry.key)
    if before is None or entry.version > before.version:
        greatest[entry.key] = entry


def _ignore(_: Result) -> None:
    """Nobody waits for that answer."""


def _check_follower(node: WatchedDisk, leader: WatchedDisk, path: str) -> None:
    """Hold what a node believes of its leader, in the life that it follows, against what the leader has."""
    cursor, floor = node.place(path).cursor, leader.floor(path)
    for key, (home, row) in node.rows.items():
        if home == path and row.acked is not None:
            kept = leader.rows.get(key)
            if kept is None and row.acked <= floor:
                continue  # deleted since, and its tombstone collected
            if kept is None or kept[1].entry.version < row.entry.version:
                raise Violation(f"{node.store} believes that {leader.store} confirmed {row}, it has {kept}")
    for key, (home, row) in leader.rows.items():
        if home == path and row.seq <= cursor:
            held = node.rows.get(key)
            if held is None and row.entry.deleted and row.seq <= floor:
                continue  # the node forgets a tombstone below the floor; ours is next
            if held is None or held[1].entry.version < row.entry.version:
                raise Violation(f"{node.store} read up to {cursor} without {row}, it has {held}")
