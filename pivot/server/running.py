"""Running: the parts of a server while it runs, started and stopped in order, all in one nursery.

Layer: server. The actors live in our nursery beside the web server, never in the web framework's: a dead actor ends the
whole, it does not leave a server that answers 200. Start at `Running.run`.

    start   connections, storages (the own one first), hooks of `on_start`, the web server
    stop    no new requests, streams end, requests finish within the grace time, hooks of `on_stop`, storages
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Final, NamedTuple, TypeAlias, final

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from pivot.actors.entropy import Entropy
from pivot.actors.member import Member
from pivot.actors.tasks import run_member
from pivot.actors.trio_timeline import TrioTimeline
from pivot.actors.wallclock import WallClock
from pivot.config import ClientSettings, Config, Key
from pivot.core.entry import Entry
from pivot.core.notices import CaughtUp, Notice
from pivot.engine.base import StorageEngine
from pivot.errors import BadKeyError, DeadlineError
from pivot.legacy.activities import Activities
from pivot.legacy.leader import OriginalLeader
from pivot.legacy.rest import Rest
from pivot.paths import overlap
from pivot.server.afterwards import AfterWrites
from pivot.server.answers import ASK_DEADLINE_S
from pivot.server.backup import add_backup_route
from pivot.server.cluster import add_cluster_routes
from pivot.server.data import add_data_routes
from pivot.server.desk import Desk
from pivot.server.encoding import add_encoding
from pivot.server.filters import Filters
from pivot.server.hub import Hub
from pivot.server.limits import Janitor
from pivot.server.openapi import add_openapi_route
from pivot.server.operating import add_operator_routes
from pivot.server.page import add_page_routes
from pivot.server.probes import add_probe_routes
from pivot.server.pulling import Puller
from pivot.server.registering import register
from pivot.server.root import add_root_route
from pivot.server.roster import Roster
from pivot.server.shown import Show
from pivot.server.status import StatusBoard
from pivot.server.statusfeed import STATUS_KEY, StatusFeed
from pivot.server.storage import Storage
from pivot.server.stores import Stores
from pivot.server.subscriptions import add_subscription_routes
from pivot.transport.choosing import ChoosingTransport
from pivot.transport.hosting import host
from pivot.transport.http import POST_BYTES_MAX, HttpTransport
from pivot.transport.http_client import HttpClient
from pivot.transport.http_server import add_transport_routes, error_response
from pivot.types import Address, MemberId

GRACE_S: Final = 0.5
"""How long requests may take to finish when we stop, and then hooks; the whole takes 2.5 times as long at most."""
Hook: TypeAlias = Callable[[], Awaitable[object] | object]
"""Called at the start or the stop of a server; a plain function, or one that is awaited."""
logger = logging.getLogger("pivot.hooks")


class _Part(NamedTuple):
    """A member that runs one storage, and its ways to others."""

    member: Member
    native: HttpTransport
    choosing: ChoosingTransport


@final
class Running:
    """A server that runs.

    Attributes:
        stores: what it keeps.
        board: what it knows of itself.
        hub: who watches what.
        roster: who is registered.
        puller: has what its leaders have, when somebody says so.
        url: where it listens; empty before it does.
    """

    def __init__(
        self,
        config: Config,
        storage: Storage,
        *,
        wall: WallClock,
        entropy: Entropy,
        listeners: Iterable[Callable[[Notice], None]],
        filters: Filters,
    ) -> None:
        """Prepare.

        Args:
            config: what it replicates and with whom; its URLs are normalized.
            storage: keeps what no key names another for.
            wall: its wall clock.
            entropy: its chance.
            listeners: called with every notice; may grow.
            filters: what judges clients and nodes; may grow.
        """
        self.url = ""
        self._config = config
        self._wall = wall
        self._entropy = entropy
        self._listeners = listeners
        self._name = config.name or entropy.new_id()
        self._timeline = TrioTimeline()
        client = config.client
        settings = client if isinstance(client, ClientSettings) else ClientSettings()
        self._client = HttpClient(
            connect_s=settings.connect_s,
            total_s=settings.total_s,
            custom=None if isinstance(client, ClientSettings) else client,
        )
        self._nursery: trio.Nursery | None = None
        self._starting = trio.Lock()
        self._transports: list[HttpTransport] = []
        self._choosing: list[ChoosingTransport] = []
        self._elsewhere: dict[str, HttpTransport] = {}
        self._filters = filters
        self.hub = Hub(self._entries, self._show_of)
        keys = tuple(key for key in config.keys if key.database in (None, storage))
        self._activities = Activities()
        self._advertised = ""
        self._own = self._part(keys, config.nodes_key, self._name)
        self._storage = storage
        self._engine = storage.engine(entropy)
        self.stores = Stores(config, self._own.member, storage)
        self.roster = Roster(self._own.member, self._client, self._own.choosing, self._activities)
        self.puller = Puller(self.stores)
        self.board = StatusBoard(
            self.stores,
            roster=self.roster,
            transports=self._choosing,
            durability=self._engine.durability,
            peers_max=config.knobs.peers_max,
        )
        self.stores.before_reads.append(self.before_read)
        self._desk = Desk(self.stores, filters, wall)
        self._janitor = Janitor(self.stores, filters.limits, wall)
        self._status = StatusFeed(self.board, wall, deadline_s=ASK_DEADLINE_S)
        self._nodes_known = trio.Event()
        self.app = self._web()

    def _part(self, keys: tuple[Key, ...], nodes_key: str, name: str) -> _Part:
        """A member that keeps these keys, connected to everything here."""
        config = msgspec.structs.replace(self._config, keys=keys, nodes_key=nodes_key)
        leaders = tuple(Address(url) for url in config.upstreams().values() if url)
        transport = HttpTransport(self._client, leaders=leaders, silence_s=config.knobs.silence_s_max)

        def stand_in(leader: Address, nursery: trio.Nursery) -> OriginalLeader:
            rest = Rest(self._client, leader, writer=leader, originator=lambda: self._advertised)
            return OriginalLeader(rest, member, nursery=nursery)

        choosing = ChoosingTransport(
            transport, self._client, original=stand_in, leaders=leaders, allowed=config.protocols
        )
        self._transports.append(transport)
        self._choosing.append(choosing)
        member = Member(
            config,
            member=MemberId(name),
            transport=choosing,
            timeline=self._timeline,
            wall=self._wall,
            entropy=self._entropy,
        )
        member.watch(self.hub.publish)
        member.on_notice(self._notice)
        return _Part(member, transport, choosing)

    async def run(
        self,
        listen: str,
        *,
        stop: trio.Event,
        attached: Iterable[Storage],
        on_start: Iterable[Hook],
        on_stop: Iterable[Hook],
        advertise: str = "",
        grace_s: float = GRACE_S,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until told to stop.

        Args:
            listen: `host:port`; port 0 lets the system pick. The bound URL is the start value of this task.
            stop: set when it is to stop.
            attached: storages that start with it, beside its own.
            on_start: called before it listens, one after another; what they raise ends it.
            on_stop: called in reverse order when it listens no more; what they raise is logged.
            advertise: `host:port` to register under the nodes key, `auto` = where we listen; empty = do not.
            grace_s: see `GRACE_S`.
            task_status: see `trio.Nursery.start`.

        Raises:
            StorageError: a store cannot be opened.
            OSError: the address cannot be listened on.
        """

        async def wind_down() -> None:
            await stop.wait()
            self.hub.close()
            for transport in self._transports:
                transport.close_downlinks()

        async with self._client, trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._timeline.run)
            await self._live(self._own, self._storage, self._engine)
            for storage in attached:
                await self.start(storage)
            nursery.start_soon(self.hub.run)
            nursery.start_soon(self._janitor.run)
            nursery.start_soon(self.roster.run)
            nursery.start_soon(self._status.run, self.hub)
            for hook in on_start:
                await _call(hook)
            async with trio.open_nursery() as web:
                self.url = await web.start(partial(host, self.app, listen, shutdown=wind_down, grace_s=grace_s))
                if advertise:
                    self._advertised = self.url.removeprefix("http://") if advertise == "auto" else advertise
                    nursery.start_soon(partial(register, self.stores, self._advertised, known=self._nodes_known))
                task_status.started(self.url)
            with trio.move_on_after(grace_s) as patience:
                for hook in reversed(tuple(on_stop)):
                    await _call_at_stop(hook)
            if patience.cancelled_caught:
                logger.warning("hooks of on_stop took longer than %g s and were cancelled", grace_s)
            nursery.cancel_scope.cancel()

    async def before_read(self, pattern: str) -> None:
        """Let a read wait, for `sync_on_read` at most, for leaders with which we are not in step."""
        if not self._config.sync_on_read:
            return
        paths = [path for path in self.puller.followed if overlap(path, pattern) and not self.board.is_whole(path)]
        if paths:
            with trio.move_on_after(self._config.sync_on_read), suppress(DeadlineError):
                await self.puller.pull(paths)

    async def start(self, storage: Storage) -> None:
        """Start a storage that keys of ours name; no harm when it runs.

        Raises:
            StorageError: it cannot be opened.
        """
        async with self._starting:  # who attaches it twice at once waits for the first
            if self.stores.runs(storage):
                return
            keys = tuple(key for key in self._config.keys if key.database is storage)
            # Peers know a store by this name, so it must be the same at every start.
            part = self._part(keys, "", f"{self._name}+{keys[0].path}")
            await self._live(part, storage, storage.engine(self._entropy))
            self.board.listen(part.member)
            self._elsewhere.update((key.path, part.native) for key in keys)
            self.stores.add((key.path for key in keys), part.member, storage)

    async def _live(self, part: _Part, storage: Storage, engine: StorageEngine) -> None:
        """Let a member run its storage until we stop."""
        assert self._nursery is not None, "the server runs"
        member = part.member
        await self._nursery.start(part.native.run)
        await self._nursery.start(part.choosing.run)
        for hooks in (storage.after_writes, self._filters.after_writes):
            afterwards = AfterWrites(hooks)
            member.watch(afterwards.written)
            self._nursery.start_soon(afterwards.run)
        member.watch(self._janitor.written)
        await self._nursery.start(run_member, member, engine)

    def _web(self) -> QuartTrio:
        app = QuartTrio("pivot")
        app.config["MAX_CONTENT_LENGTH"] = POST_BYTES_MAX  # what Quart keeps of a body; routes look closer: `read_body`
        app.url_map.merge_slashes = False
        add_transport_routes(app, self._own.native, self._elsewhere, judge=self._filters.pushed)
        add_backup_route(app, self.stores.own)
        add_operator_routes(app, self.stores, self.board)
        add_cluster_routes(app, self._desk, self.puller, self._activities)
        add_probe_routes(app, self.board, self.roster, self._own.native)
        add_page_routes(app)
        add_openapi_route(app)

        @app.before_request
        async def refuse_what_the_router_misreads() -> Response | None:
            path = request.scope["path"]  # `request.path` has lost leading separators, and so has the router
            if path.startswith("//"):
                return error_response(HTTPStatus.BAD_REQUEST, str(BadKeyError(path[1:41], "begins with a separator")))
            if "\n" in path:  # no route's path matches it
                return error_response(HTTPStatus.BAD_REQUEST, str(BadKeyError(path[1:41], "has a line break")))
            return None

        @app.get("/_pivot/<path:route>")
        async def nothing(route: str) -> Response:
            return error_response(HTTPStatus.NOT_FOUND, f"there is no route /_pivot/{route}")

        @app.errorhandler(HTTPException)
        async def refuse(error: HTTPException) -> Response:
            return error_response(HTTPStatus(error.code or 500), error.description or "no reason given")

        add_encoding(app)
        add_root_route(app, self._desk, self.hub)
        add_data_routes(app, self._desk)
        add_subscription_routes(app, self.hub, self._wall)
        return app

    async def _entries(self, pattern: str) -> tuple[Entry, ...]:
        """What a subscription to a key or glob begins with."""
        return (await self._status.entry(),) if pattern == STATUS_KEY else await self._desk.watched(pattern)

    def _show_of(self, pattern: str) -> Show | None:
        return None if pattern == STATUS_KEY else self._desk.show(pattern)

    def _notice(self, notice: Notice) -> None:
        if isinstance(notice, CaughtUp) and notice.collection == self._config.nodes_key:
            self._nodes_known.set()
        self.puller.hear(notice)
        for listener in tuple(self._listeners):
            listener(notice)


async def _call(hook: Hook) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result


async def _call_at_stop(hook: Hook) -> None:
    try:
        await _call(hook)
    except Exception:
        logger.exception("a hook of on_stop failed")
