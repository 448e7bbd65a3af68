"""Instance: how a program sets up what a server replicates, and what it asks of that while the server runs.

Layer: server. Start at `setup`, then `get_instance`.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final, final

import msgspec
import trio

from pivot.config import Config, Key
from pivot.core.notices import Notice
from pivot.errors import ConfigError
from pivot.paths import matches
from pivot.server.answers import ASK_DEADLINE_S
from pivot.server.server import Server
from pivot.server.status import PeerStatus, Status
from pivot.server.storage import KeyHook, Storage
from pivot.transport.http_client import normalize_url
from pivot.types import Address

EVENTS_MAX: Final = 1000
"""Most events that wait for one who listens."""


def setup(server: Server, config: Config) -> "Instance":
    """Say what a server replicates and with whom, before it runs; hooks that it has stay.

    Raises:
        ConfigError: the server runs, was set up already, or a setting cannot be; names it.
    """
    if server.is_running:
        raise ConfigError("the server runs already; setup comes before")
    if server.is_set_up:
        raise ConfigError(f"the server was set up already, for keys {', '.join(server.config.collections())}")
    config = msgspec.structs.replace(
        config,
        keys=tuple(map(_normalized, config.keys)),
        cluster_url=normalize_url(config.cluster_url) if config.cluster_url else "",
        extra_node_urls=tuple(map(normalize_url, config.extra_node_urls)),
    )
    server.configure(config)
    return Instance(server)


def _normalized(key: Key) -> Key:
    return msgspec.structs.replace(key, cluster_url=normalize_url(key.cluster_url)) if key.cluster_url else key


def get_instance(server: Server) -> "Instance":
    """What replicates for a server.

    Raises:
        ConfigError: it was not set up.
    """
    if not server.is_set_up:
        raise ConfigError("the server was not set up: call setup(server, Config(...)) first")
    return Instance(server)


@final
class Instance:
    """What replicates for one server; a handle, of which there may be many."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def attach(
        self, storage: Storage, *, after_write: KeyHook | None = None, before_read: KeyHook | None = None
    ) -> None:
        """Have the server start a storage that its keys name, and hook it up: at once if the server runs, else with it.

        Args:
            storage: the `database` of one or more keys, or the server's own.
            after_write: see `Storage.after_write`.
            before_read: see `Storage.before_read`.

        Raises:
            ConfigError: it is the storage of no key.
            StorageError: it cannot be opened.
        """
        server = self._server
        if storage is not server.storage and all(key.database is not storage for key in server.config.keys):
            raise ConfigError(f"{storage!r} is the database of no key of this server")
        if after_write is not None:
            storage.after_write(after_write)
        if before_read is not None:
            storage.before_read(before_read)
        if storage is server.storage:
            return
        if storage not in server.attached:
            server.attached.append(storage)
        if server.is_running:
            await server.live.start(storage)

    async def before_read(self, pattern: str) -> None:
        """Have what the leaders of this key or glob have, within `Config.sync_on_read`; reads of the server do it.

        For what a program reads in its own way.
        """
        await self._server.live.before_read(pattern)

    def sync_callback(self, key: str) -> None:
        """Exchange with the leader of a key, soon; writes of the server do it by themselves.

        A hook for what a program writes in its own way, and what starts a node with `auto_sync_on_start=False`.
        """
        live = self._server.live
        for member in live.stores.members:
            member.pull(path for path in member.config.collections() if matches(path, key))

    def add_extra_node_url(self, url: str) -> None:
        """Watch, and call, a node that is not registered: at once if the server runs, and whenever it does.

        Raises:
            ConfigError: it is no address.
        """
        server, address = self._server, normalize_url(url)
        urls = dict.fromkeys([*server.config.extra_node_urls, address])
        server.configure(msgspec.structs.replace(server.config, extra_node_urls=tuple(urls)))
        if server.is_running:
            server.live.roster.add(Address(address))

    async def status(self) -> Status:
        """What the server is and holds now.

        Raises:
            NotRunningError, ActorError, DeadlineError: see `pivot.errors`.
        """
        return await self._server.live.board.status(deadline_s=ASK_DEADLINE_S)

    @property
    def health(self) -> tuple[PeerStatus, ...]:
        """Everybody the server exchanges with, and whether he answers; nodes that are called are in `status().nodes`.

        Raises:
            NotRunningError: it does not run.
        """
        return self._server.live.board.peers()

    @asynccontextmanager
    async def events(self) -> AsyncGenerator[trio.MemoryReceiveChannel[Notice], None]:
        """Everything that people want to know, as it happens; what is above `EVENTS_MAX` is dropped."""
        send, receive = trio.open_memory_channel[Notice](EVENTS_MAX)

        def take(notice: Notice) -> None:
            with suppress(trio.WouldBlock):
                send.send_nowait(notice)

        self._server.notices.append(take)
        try:
            async with receive:
                yield receive
        finally:
            self._server.notices.remove(take)
