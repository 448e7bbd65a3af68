"""Host: the machine of one member: its process, while it runs, and what stays when that ends: disk and clock.

Layer: simulator/experiment. Start at `Host.start`.
"""

from collections.abc import Callable, Mapping
from typing import final

from pivot.actors.member import Member
from pivot.core.collection import Change
from pivot.core.entry import Entry
from pivot.core.notices import Notice
from pivot.errors import StorageError
from pivot.types import Epoch, MemberId, StoreId
from simulator.experiment.plan import LEADER, Plan
from simulator.runtimes.base import Process, Runtime
from simulator.world.chance import SimulatedEntropy, SkewedClock
from simulator.world.contents import Contents
from simulator.world.disk import Disk, DiskStatistics, Trouble
from simulator.world.drive import DiskDrive, Drive, MemoryDrive
from simulator.world.network import Network
from simulator.world.pulse import Pulse
from simulator.world.rng import Streams
from simulator.world.transport import SimulatedTransport, names


@final
class Host:
    """The machine of one member.

    Attributes:
        name: the member's.
        clock: its wall clock.
        disk: what it keeps; None = nothing, so far or at all.
        lives: how many processes it started.
        forgot: whether the latest crash took something that was kept.
        member: the member, while its process runs or is stopped.
        pulse: of the latest process.
        held: how many events earlier processes missed while they were stopped.
        upstream: whom it follows; empty = it leads.
        copy: a copy of its disk that was made once; None = none was.
    """

    def __init__(self, name: str, plan: Plan, runtime: Runtime, streams: Streams, network: Network) -> None:
        self.name = MemberId(name)
        self.clock = SkewedClock(runtime.heap)
        self.disk: Disk | None = None
        self.lives = 0
        self.forgot = False
        self.member: Member | None = None
        self.pulse = Pulse(runtime.heap)
        self._plan = plan
        self._runtime = runtime
        self._streams = streams
        self._network = network
        self._process: Process | None = None
        self._trouble = Trouble()
        self._seen: dict[str, Entry] = {}
        self._earlier = DiskStatistics()
        self._held = self._slowed = self._garbled = 0
        self._transport: SimulatedTransport | None = None
        self._burden_ns = 0
        self.upstream = "" if name == LEADER else LEADER
        self.copy: Contents | None = None

    @property
    def running(self) -> bool:
        """Whether its process runs and is not stopped."""
        return self.member is not None and not self.pulse.stopped

    @property
    def held(self) -> int:
        """How many events waited for its processes while they were stopped."""
        return self._held + self.pulse.held

    @property
    def slowed(self) -> int:
        """How many events happened late to its processes because its processor is slow."""
        return self._slowed + self.pulse.slowed

    @property
    def garbled(self) -> int:
        """How many messages its processes could not read."""
        return self._garbled + (0 if self._transport is None else self._transport.refused)

    def start(self, on_notice: Callable[[str, Notice], None]) -> bool:
        """Start its process; False when there is one."""
        if self.member is not None:
            return False
        kept = self.table()
        self.lives += 1
        self._held += self.pulse.held
        self._slowed += self.pulse.slowed
        self._garbled = self.garbled
        self._transport = None
        self.pulse = Pulse(self._runtime.heap)
        self.pulse.burden(self._burden_ns)
        entropy = SimulatedEntropy(self._streams.stream("member", self.name, self.lives))
        self._transport = SimulatedTransport(
            self.name, self._network, deliver=self.pulse.deliver, names=names(self._plan.members)
        )
        self.member = member = Member(
            self._plan.config(self.upstream),
            member=self.name,
            transport=self._transport,
            timeline=self.pulse,
            wall=self.clock,
            entropy=entropy,
        )
        member.on_notice(lambda notice: on_notice(self.name, notice))
        if not self.upstream:
            self._see(tuple(kept.values()))  # a crash may have left there what nobody was told
            member.watch(self._see)
        self._process = self._runtime.start(member, self._drive(entropy))
        return True

    def _drive(self, entropy: SimulatedEntropy) -> Drive:
        durability = self._plan.durability
        if durability == "memory":
            return MemoryDrive(store=StoreId(entropy.new_id()), epoch=Epoch(entropy.new_id()))
        if self.disk is None:
            store, epoch = StoreId(entropy.new_id()), Epoch(entropy.new_id())
            chance = self._streams.stream("disk", self.name, self.lives)
            self.disk = Disk(store=store, epoch=epoch, durability=durability, chance=chance)
            self.disk.trouble = self._trouble
        return DiskDrive(self.disk, self._runtime.heap, pulse=self.pulse, new_id=entropy.new_id)

    def crash(self) -> tuple[Change, ...]:
        """End its process without warning; returns changes that are on its disk though nobody was told."""
        self._network.detach(self.name)
        self.pulse.end()
        assert self._process is not None, f"{self.name} runs"
        self._process.kill()
        self.member = None
        unheard: tuple[Change, ...] = ()
        self.forgot = True
        if self.disk is not None:
            lost = self.disk.statistics.lost
            unheard = self.disk.crash()
            self.forgot = self.disk.statistics.lost > lost
        if self.forgot:
            self._seen.clear()  # the next life may not know what was collected in this one
        return unheard

    def stop(self) -> tuple[Change, ...]:
        """End its process in good order: what it kept is safe."""
        if self.disk is not None:
            self.disk.under_way = ()
            self.disk.sync()
        return self.crash()

    def put_back(self) -> None:
        """Put the copy of its disk back in its place; its process does not run."""
        assert self.copy is not None, "a copy was made"
        assert self.disk is not None, "the disk was copied"
        self.disk.put_back(self.copy)
        self.forgot = True
        self._seen.clear()

    def set_burden(self, burden_ns: int) -> None:
        """Let its processor take so much longer for each event, ns."""
        self._burden_ns = burden_ns
        self.pulse.burden(burden_ns)

    def refused(self) -> str:
        """Why its store cannot be opened; empty = it can."""
        try:
            if self.disk is not None:
                self.disk.check()
        except StorageError as error:
            return str(error)
        return ""

    def lose_disk(self) -> None:
        """Everything it kept is gone."""
        if self.disk is not None:
            self._earlier = self.disk_statistics()
        self.disk = None
        self._seen.clear()

    def set_trouble(self, trouble: Trouble) -> None:
        """Let its disk misbehave, this one and whatever replaces it."""
        self._trouble = trouble
        if self.disk is not None:
            self.disk.trouble = trouble

    def table(self) -> dict[str, Entry]:
        """Key -> version that it has, tombstones included: of its process, else on its disk."""
        if self.member is not None:
            return self.member.table()
        return {} if self.disk is None else self.disk.table()

    def collected(self) -> dict[str, Entry]:
        """Key -> tombstone that was collected in this life of its store; its floor stands for them."""
        table = self.table()
        return {key: entry for key, entry in self._seen.items() if entry.deleted and key not in table}

    def mark(self) -> tuple[int, int]:
        """Equal as long as its process, if it has one, holds the same."""
        return (self.lives, -2 if self.member is None else self.member.commits())

    def take_over(self, collected: Mapping[str, Entry]) -> None:
        """Lead from now on: what the leader before had collected is not here, and has been deleted all the same."""
        self._see(tuple(collected.values()))

    def disk_statistics(self) -> DiskStatistics:
        """What became of the commits of all its disks."""
        if self.disk is None:
            return self._earlier
        now = self.disk.statistics
        return DiskStatistics(
            *(getattr(self._earlier, name) + getattr(now, name) for name in DiskStatistics.__struct_fields__)
        )

    def _see(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            old = self._seen.get(entry.key)
            if old is None or old.version < entry.version:
                self._seen[entry.key] = entry
