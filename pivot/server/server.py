"""Server: what a program makes, says what it wants to, runs, and reads and writes.

Layer: server. A `Server` remembers wishes (storage, configuration, hooks) and carries them out each time it runs; what
runs is in `running`. Nothing is shared between two servers of a process. Start at `Server.serve`.
"""

import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar, final, overload

import msgspec
import trio

from pivot.actors.entropy import Entropy, SystemEntropy
from pivot.actors.wallclock import WallClock, system_clock
from pivot.client import Ack, Written
from pivot.config import Config
from pivot.core.entry import Entry
from pivot.core.notices import Notice
from pivot.core.patching import VALUE_BYTES_MAX
from pivot.core.questions import Written as Stored
from pivot.errors import BadValueError, NotFoundError, NotRunningError, UnreachableError, root_reason
from pivot.paths import check_key, check_list, check_pattern, is_glob, last_segment
from pivot.replies import Item
from pivot.server.filters import Filters
from pivot.server.running import GRACE_S, Hook, Running
from pivot.server.storage import Storage
from pivot.server.watches import watching
from pivot.types import JsonValue
from pivot.values import decoded, encoded
from pivot.watching import Watching

_T = TypeVar("_T")


@final
class Server:
    """One server: a leader, a node, or both, by key; see `pivot.setup`.

    Attributes:
        storage: keeps what no key names another storage for.
        config: what it replicates and with whom; nothing, before `setup`.
        attached: storages that start with it, beside its own.
        notices: called with everything people want to know of it.
        filters: what clients may do, and what is changed on the way.
    """

    def __init__(
        self, storage: Storage | None = None, *, wall: WallClock = system_clock, entropy: Entropy | None = None
    ) -> None:
        """Prepare a server; it touches nothing before it runs.

        Args:
            storage: where it keeps its entries; None = in memory.
            wall: its wall clock.
            entropy: its chance.
        """
        self.storage = storage or Storage.memory()
        self.config = Config()
        self.attached: list[Storage] = []
        self.notices: list[Callable[[Notice], None]] = []
        self.filters = Filters()
        self._wall = wall
        self._entropy = entropy or SystemEntropy()
        self._on_start: list[Hook] = []
        self._on_stop: list[Hook] = []
        self._is_set_up = False
        self._running: Running | None = None

    @property
    def live(self) -> Running:
        """What runs.

        Raises:
            NotRunningError: nothing does.
        """
        if self._running is None:
            raise NotRunningError("the server does not run: use it within `running`, or while `serve` runs")
        return self._running

    @property
    def is_set_up(self) -> bool:
        """Whether it was told what to replicate; see `pivot.setup`."""
        return self._is_set_up

    def configure(self, config: Config) -> None:
        """Take what it is to replicate, from `pivot.setup`."""
        self.config, self._is_set_up = config, True

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._running is not None

    def on_start(self, hook: Hook) -> None:
        """Call `hook`, too, when storages run and before the first request is taken; what it raises ends the server."""
        self._on_start.append(hook)

    def on_stop(self, hook: Hook) -> None:
        """Call `hook`, too, when no request is taken any more, the last one first; storages still run."""
        self._on_stop.append(hook)

    # Running -----------------------------------------------------------------------------------------------------

    async def serve(
        self,
        listen: str,
        *,
        advertise: str = "",
        grace_s: float = GRACE_S,
        stop: trio.Event | None = None,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

        Prints `listening on http://...` when it takes requests.

        Args:
            listen: `host:port`; port 0 lets the system pick.
            advertise: `host:port` to register under the nodes key, `auto` = where it listens; empty = do not.
            grace_s: how long requests may take to finish at the end, s, and hooks of `on_stop` after them.
            stop: set when it is to stop without a signal.
            task_status: see `trio.Nursery.start`; its value is the URL.

        Raises:
            StorageError: a store cannot be opened.
            UnreachableError: the address cannot be listened on.
        """
        ending = trio.Event() if stop is None else stop
        async with trio.open_nursery() as nursery:
            await nursery.start(_stop_on_signals, ending)
            async with self._serving(listen, advertise=advertise, grace_s=grace_s, stop=ending) as url:
                print(f"listening on {url}", flush=True)  # noqa: T201 - what scripts wait for
                task_status.started(url)
                await ending.wait()
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def running(self, listen: str, *, advertise: str = "", grace_s: float = GRACE_S) -> AsyncGenerator[str, None]:
        """Serve while the block runs, whose value is the URL; then drain. Arguments and errors as of `serve`."""
        stop = trio.Event()
        async with self._serving(listen, advertise=advertise, grace_s=grace_s, stop=stop) as url:
            yield url

    @asynccontextmanager
    async def _serving(
        self, listen: str, *, advertise: str, grace_s: float, stop: trio.Event
    ) -> AsyncGenerator[str, None]:
        if self._running is not None:
            raise NotRunningError(f"the server runs already, at {self._running.url}; it can run once at a time")
        running = self._running = Running(
            self.config,
            self.storage,
            wall=self._wall,
            entropy=self._entropy,
            listeners=self.notices,
            filters=self.filters,
        )
        run = partial(
            running.run,
            listen,
            stop=stop,
            attached=self.attached,
            on_start=self._on_start,
            on_stop=self._on_stop,
            advertise=advertise,
            grace_s=grace_s,
        )
        try:
            async with trio.open_nursery() as nursery:
                try:
                    url: str = await nursery.start(run)
                except* OSError as errors:
                    raise UnreachableError(f"cannot listen on {listen}: {root_reason(errors)}") from errors
                try:
                    yield url
                finally:
                    stop.set()
        finally:
            self._running = None

    # Data --------------------------------------------------------------------------------------------------------

    @overload
    async def get(self, key: str) -> Item[JsonValue]: ...

    @overload
    async def get(self, key: str, *, type: type[_T]) -> Item[_T]: ...

    async def get(self, key: str, *, type: type[_T] | None = None) -> Item[_T] | Item[JsonValue]:  # noqa: A002
        """Read one entry.

        Args:
            key: which one.
            type: what its value is: a dataclass, a msgspec struct, or anything else msgspec knows; None = plain JSON.

        Raises:
            BadKeyError: it is no key.
            NotFoundError: there is no such entry.
            BadValueError: its value is not of that type.
            NotRunningError, ActorError, DeadlineError: see `pivot.errors`.
        """
        found = await self.live.stores.read(check_key(key))
        if not found:
            raise NotFoundError("this server", 404, f"key {key!r} is not here")
        return _item(found[0], type)

    @overload
    async def get_list(self, pattern: str) -> list[Item[JsonValue]]: ...

    @overload
    async def get_list(self, pattern: str, *, type: type[_T]) -> list[Item[_T]]: ...

    async def get_list(
        self,
        pattern: str,
        *,
        type: type[_T] | None = None,  # noqa: A002
    ) -> list[Item[_T]] | list[Item[JsonValue]]:
        """Read all entries that a glob matches, newest first; as `get`."""
        found = await self.live.stores.read(check_pattern(pattern))
        return [_item(entry, type) for entry in found]

    async def set(self, key: str, value: object, *, ack: Ack | None = None, ack_timeout_s: float = 5.0) -> Written:
        """Create or replace one entry.

        Args:
            key: which one.
            value: anything msgspec can make JSON of: plain values, dataclasses, structs, dates.
            ack: `leader` waits until the leader has it as well; see `Written.acked`.
            ack_timeout_s: for how long at most, s.

        Raises:
            BadKeyError: it is no key, or has no leader.
            BadValueError: it cannot be JSON, or is too long.
            StorageError, MailboxBusyError: certainly not written.
            ActorStoppedError, DeadlineError: not known.
            NotRunningError: the server does not run.
        """
        stores = self.live.stores
        check_key(key)
        return await self._written(partial(stores.put, key, _kept(value)), key, ack, ack_timeout_s)

    async def push(self, pattern: str, value: object, *, ack: Ack | None = None, ack_timeout_s: float = 5.0) -> Written:
        """Create a new entry in a list such as `users/*`; its `index` is in what is returned. As `set`."""
        stores = self.live.stores
        check_list(pattern)
        return await self._written(partial(stores.push, pattern, _kept(value)), pattern, ack, ack_timeout_s)

    async def patch(self, key: str, value: object, *, ack: Ack | None = None, ack_timeout_s: float = 5.0) -> Written:
        """Merge an object into the one that an entry has: members of objects merge, the rest is replaced; as `set`.

        Raises:
            NotFoundError: there is no such entry.
            BadValueError: the two do not fit.
        """
        stores = self.live.stores
        check_key(key)
        return await self._written(partial(stores.patch, key, _kept(value)), key, ack, ack_timeout_s)

    async def delete(self, pattern: str, *, ack: Ack | None = None, ack_timeout_s: float = 5.0) -> Written:
        """Delete an entry, or all that a glob matches; as `set`.

        Raises:
            NotFoundError: there is no such entry (never for a glob).
        """
        stores = self.live.stores
        written = await self._written(partial(stores.remove, check_pattern(pattern)), pattern, ack, ack_timeout_s)
        return msgspec.structs.replace(written, index="")

    @asynccontextmanager
    async def watch(self, pattern: str) -> AsyncGenerator[Watching, None]:
        """Open a subscription to a key or glob; iterate what it gives for each new state. It ends with the server.

        Raises:
            BadKeyError: it is no pattern.
            NotRunningError, ActorError, DeadlineError: see `pivot.errors`.
        """
        async with watching(self.live.hub, check_pattern(pattern)) as states:
            yield states

    async def _written(
        self, write: Callable[[], Awaitable[Stored]], pattern: str, ack: Ack | None, ack_timeout_s: float
    ) -> Written:
        stores = self.live.stores
        if ack is not None:
            stores.check_has_leader(pattern)
        stored = await write()
        if not stored.keys and not is_glob(pattern):
            raise NotFoundError("this server", 404, f"key {pattern!r} is not here")
        acked = ack is None or await stores.wait_confirmed(stored, timeout_s=ack_timeout_s)
        return Written(last_segment(stored.keys[0]) if stored.keys else "", stored.stamp, acked)


def _item(entry: Entry, wanted: type[_T] | None) -> Item[_T]:
    data = decoded(entry.key, entry.data, wanted)
    return Item(entry.created, entry.updated, last_segment(entry.key), entry.key, data)


def _kept(value: object) -> str:
    data = encoded(value)
    size = len(data.encode())
    if size > VALUE_BYTES_MAX:
        raise BadValueError(f"has {size} bytes, at most {VALUE_BYTES_MAX} are allowed")
    return data


async def _stop_on_signals(stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                sys.exit(128 + number)
            stop.set()
