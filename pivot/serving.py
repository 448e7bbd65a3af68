"""Serving: `pivot serve`, from its settings to a running server; picks the real parts.

Layer: edge (composition root). Settings come from flags, then `PIVOT_*` variables, then the TOML file, then defaults.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Final, Literal, final

import msgspec
import structlog
import trio

from pivot.actors.wallclock import WallClock, system_clock
from pivot.config import NODE_NETWORKS, Config, ForeignCluster, Key, Knobs, Way
from pivot.errors import ConfigError
from pivot.logs import LogFormat, LogLevel, configure_logs, log_notice
from pivot.server.instance import setup
from pivot.server.registering import registration
from pivot.server.server import Server
from pivot.server.storage import Storage

FILE_BYTES_MAX: Final = 2**20
_DEFAULT_LISTEN: Final = "127.0.0.1:8080"
_WILDCARDS: Final = ("0.0.0.0", "[::]")  # noqa: S104 - to be refused


@final
class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `pivot serve` can be told; also the shape of the TOML file. None = not said here.

    Attributes:
        listen: `host:port`; port 0 lets the system pick.
        cluster_url: the leader's address; empty = this member leads.
        cluster_id: which cluster this is; empty matches any.
        foreign_cluster: what to do when the leader is of another cluster: `refuse`, `wipe` or `merge`.
        mesh: whether to read from other nodes while the leader is away; said nothing, yes.
        node_networks: where nodes that register may be; said nothing, loopback and private networks.
        protocols: what may be spoken with peers; said nothing, `native` and `2.0`.
        node_check_s: how often a leader looks whether registered nodes answer; said nothing, every 30 s.
        keys: collections, `[[keys]]` with `path`, and `cluster_url` or `local` where they have another leader.
        nodes_key: glob under which nodes register.
        advertise: `host:port` to register under the nodes key, or `auto`.
        name: how peers call this member.
        data: folder of the store; empty = in memory, gone with the process.
        durability: what an acknowledged write survives: `full` a power cut, `normal` the death of the process (a power
            cut may take the last ones), `memory` neither; said nothing, `full` with `data`, else `memory`.
        log: `text` or `json`.
        log_level: `debug`, `info`, `warning` or `error`.
        knobs: `[knobs]`, timings and limits.
    """

    listen: str | None = None
    cluster_url: str | None = None
    cluster_id: str | None = None
    foreign_cluster: ForeignCluster | None = None
    mesh: bool | None = None
    node_networks: tuple[str, ...] | None = None
    protocols: tuple[Way, ...] | None = None
    node_check_s: float | None = None
    keys: tuple[Key, ...] | None = None
    nodes_key: str | None = None
    advertise: str | None = None
    name: str | None = None
    data: str | None = None
    durability: Literal["full", "normal", "memory"] | None = None
    log: LogFormat | None = None
    log_level: LogLevel | None = None
    knobs: Knobs | None = None

    def over(self, other: "Settings") -> "Settings":
        """These settings, and `other`'s where these say nothing."""
        ours = {name: getattr(self, name) for name in self.__struct_fields__ if getattr(self, name) is not None}
        return msgspec.structs.replace(other, **ours)

    def config(self) -> Config:
        """What the member replicates and with whom.

        Raises:
            ConfigError: a setting contradicts another or cannot be; names it.
        """
        config = Config(
            keys=self.keys or (),
            nodes_key=self.nodes_key or "",
            cluster_url=self.cluster_url or "",
            cluster_id=self.cluster_id or "",
            foreign_cluster=self.foreign_cluster or "refuse",
            name=self.name or "",
            mesh=self.mesh is not False,
            node_networks=NODE_NETWORKS if self.node_networks is None else self.node_networks,
            protocols=("native", "2.0") if self.protocols is None else self.protocols,
            node_check_s=30.0 if self.node_check_s is None else self.node_check_s,
            knobs=self.knobs or Knobs(),
        )
        if self.advertise == "auto":
            registration(config.nodes_key, "localhost:1")
            if (self.listen or "").rpartition(":")[0] in _WILDCARDS:
                raise ConfigError(f"advertise is auto, but {self.listen!r} is no address that others can reach")
        elif self.advertise:
            registration(config.nodes_key, self.advertise)
        if config.cluster_url and not config.collections():
            raise ConfigError("a node that follows no key does nothing: give --key or --nodes-key")
        if self.durability == "memory" and self.data:
            raise ConfigError(
                f"durability is memory, but data is {self.data!r}: what is kept there survives the process"
            )
        if self.durability in ("full", "normal") and not self.data:
            raise ConfigError(f"durability is {self.durability}, but there is no folder to keep data in: give --data")
        return config

    def storage(self) -> Storage:
        """What keeps the member's store."""
        if self.data and self.durability != "memory":
            return Storage.sqlite(self.data, durability=self.durability or "full")
        return Storage.memory()


def read_settings(file: Path) -> Settings:
    """The settings of a TOML file.

    Raises:
        ConfigError: it cannot be read, is not TOML, or has a field or value that is not known; names it.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"config file {file}: {error.strerror}") from None
    if len(text) > FILE_BYTES_MAX:
        raise ConfigError(f"config file {file} has more than {FILE_BYTES_MAX} bytes")
    try:
        return msgspec.toml.decode(text, type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"config file {file}: {error}") from None


def serve(settings: Settings, *, until_stdin_ends: bool = False, wall: WallClock = system_clock) -> None:
    """Run a member until SIGTERM or SIGINT; a second signal ends it at once.

    Args:
        settings: what it replicates, where it listens, and so on.
        until_stdin_ends: whether it stops, too, when stdin ends. A program that starts members and gives each a pipe
            leaves none behind, even when it is killed.
        wall: its wall clock; tests skew it.

    Raises:
        ConfigError: the settings cannot be.
        StorageError: the store cannot be opened.
        UnreachableError: the address cannot be listened on.
    """
    server = Server(settings.storage(), wall=wall)
    setup(server, settings.config())
    server.notices.append(log_notice)
    configure_logs(settings.log or "text", settings.log_level or "info")
    trio.run(partial(_serve, server, settings, until_stdin_ends=until_stdin_ends))


async def _serve(server: Server, settings: Settings, *, until_stdin_ends: bool) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        if until_stdin_ends:
            nursery.start_soon(_stop_at_end_of_stdin, stop)

        async def run(*, task_status: trio.TaskStatus[str]) -> None:
            listen, advertise = settings.listen or _DEFAULT_LISTEN, settings.advertise or ""
            await server.serve(listen, advertise=advertise, stop=stop, task_status=task_status)
            nursery.cancel_scope.cancel()

        url = await nursery.start(run)
        member, leader = server.live.stores.own.id, server.config.cluster_url
        structlog.get_logger("pivot").info("serving", url=url, member=member, leader=leader)


async def _stop_at_end_of_stdin(stop: trio.Event) -> None:
    # Not `sys.stdin`: a thread that is left waiting in it would hold its lock while the interpreter ends.
    while await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 4096, abandon_on_cancel=True):
        pass
    stop.set()
