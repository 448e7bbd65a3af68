"""Server: one member over HTTP: actors, transport and web server in one nursery, started and stopped in order.

Layer: server. The actors live in our nursery beside the web server, never in the web framework's: a dead actor ends the
whole, it does not leave a server that answers 200. Start at `Server.run`.
"""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final, final

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from pivot.actors.entropy import Entropy
from pivot.actors.member import Member
from pivot.actors.ref import Ref
from pivot.actors.tasks import run_member
from pivot.actors.trio_timeline import TrioTimeline
from pivot.actors.wallclock import WallClock
from pivot.config import Config
from pivot.core.entry import Entry, canonical
from pivot.core.notices import CaughtUp, Notice
from pivot.core.questions import Entries, Get, ListAll, Put
from pivot.engine.base import StorageEngine
from pivot.errors import BadKeyError, ConfigError
from pivot.legacy.activities import Activities
from pivot.legacy.leader import OriginalLeader
from pivot.legacy.rest import Rest
from pivot.paths import is_glob
from pivot.server.answers import ASK_DEADLINE_S
from pivot.server.backup import add_backup_route
from pivot.server.cluster import add_cluster_routes
from pivot.server.data import add_data_routes
from pivot.server.encoding import add_encoding
from pivot.server.hub import Hub
from pivot.server.operating import add_operator_routes
from pivot.server.probes import add_probe_routes
from pivot.server.pulling import Puller
from pivot.server.root import add_root_route
from pivot.server.roster import Roster
from pivot.server.status import StatusBoard
from pivot.server.statusfeed import STATUS_KEY, StatusFeed
from pivot.server.subscriptions import add_subscription_routes
from pivot.transport.choosing import ChoosingTransport
from pivot.transport.hosting import host
from pivot.transport.http import POST_BYTES_MAX, HttpTransport
from pivot.transport.http_client import HttpClient
from pivot.transport.http_server import add_transport_routes, error_response
from pivot.types import Address, MemberId

GRACE_S: Final = 0.5
"""How long requests may take to finish when we stop; the whole stop takes 1.5 times as long at most, and some more."""
ADVERTISE_AFTER_S: Final = 5.0
"""How long a node that wants to register waits to see whether it is registered already."""


@final
class Server:
    """One member and its HTTP face.

    Attributes:
        member: the member.
        app: the web application; more routes may be added before it runs.
    """

    def __init__(self, config: Config, *, engine: StorageEngine, wall: WallClock, entropy: Entropy) -> None:
        """Prepare a server.

        Args:
            config: what it replicates and with whom; `cluster_url` is an http URL.
            engine: keeps its store.
            wall: its wall clock.
            entropy: its chance.
        """
        self._config = config
        self._engine = engine
        self._wall = wall
        self._hub = Hub(self._entries)
        self._timeline = TrioTimeline()
        self._client = HttpClient()
        leaders = tuple(Address(url) for url in config.upstreams().values() if url)
        self._transport = HttpTransport(self._client, leaders=leaders, silence_s=config.knobs.silence_s_max)
        self._advertised = ""
        self._choosing = ChoosingTransport(
            self._transport, self._client, original=self._original, leaders=leaders, allowed=config.protocols
        )
        self.member = Member(
            config,
            member=MemberId(config.name or entropy.new_id()),
            transport=self._choosing,
            timeline=self._timeline,
            wall=wall,
            entropy=entropy,
        )
        self.member.watch(self._hub.publish)
        self.member.on_notice(self._notice)
        self._nodes_known = trio.Event()
        self._activities = Activities()
        self._roster = Roster(self.member, self._client, self._choosing, self._activities)
        self._board = StatusBoard(
            self.member,
            roster=self._roster,
            transport=self._choosing,
            durability=engine.durability,
            peers_max=config.knobs.peers_max,
        )
        self._status = StatusFeed(self._board, wall, deadline_s=ASK_DEADLINE_S)
        self.app = self._web()

    async def run(
        self,
        listen: str,
        *,
        shutdown: Callable[[], Awaitable[object]],
        advertise: str = "",
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `shutdown` returns; then let requests finish, end streams, and stop.

        Args:
            listen: `host:port`; port 0 lets the system pick. The bound URL is the start value of this task.
            shutdown: waited for; its return begins the stop.
            advertise: `host:port` to register under the nodes key, `auto` = where we listen; empty = do not.
            task_status: see `trio.Nursery.start`.

        Raises:
            StorageError: the store cannot be opened.
            OSError: the address cannot be listened on.
        """

        async def wind_down() -> None:
            await shutdown()
            self._hub.close()
            self._transport.close_downlinks()

        async with self._client, trio.open_nursery() as nursery:
            await nursery.start(self._transport.run)
            await nursery.start(self._choosing.run)
            nursery.start_soon(self._timeline.run)
            await nursery.start(run_member, self.member, self._engine)
            nursery.start_soon(self._hub.run)
            nursery.start_soon(self._roster.run)
            nursery.start_soon(self._status.run, self._hub)
            async with trio.open_nursery() as web:
                url: str = await web.start(partial(host, self.app, listen, shutdown=wind_down, grace_s=GRACE_S))
                if advertise:
                    self._advertised = url.removeprefix("http://") if advertise == "auto" else advertise
                    nursery.start_soon(self._advertise, self._advertised)
                task_status.started(url)
            nursery.cancel_scope.cancel()

    def _web(self) -> QuartTrio:
        app = QuartTrio("pivot")
        app.config["MAX_CONTENT_LENGTH"] = POST_BYTES_MAX  # what Quart keeps of a body; routes look closer: `read_body`
        app.url_map.merge_slashes = False
        add_transport_routes(app, self._transport)
        add_backup_route(app, self.member)
        add_operator_routes(app, self.member, self._board)
        add_cluster_routes(app, self.member, Puller(self.member), self._activities)
        add_probe_routes(app, self._board, self._roster, self._transport)

        @app.before_request
        async def refuse_leading_separators() -> Response | None:
            path = request.scope["path"]  # `request.path` has lost them, and so has the router
            if path.startswith("//"):
                return error_response(HTTPStatus.BAD_REQUEST, str(BadKeyError(path[1:41], "begins with a separator")))
            return None

        @app.get("/_pivot/<path:route>")
        async def nothing(route: str) -> Response:
            return error_response(HTTPStatus.NOT_FOUND, f"there is no route /_pivot/{route}")

        @app.errorhandler(HTTPException)
        async def refuse(error: HTTPException) -> Response:
            return error_response(HTTPStatus(error.code or 500), error.description or "no reason given")

        add_encoding(app)
        add_root_route(app, self.member, self._hub)
        add_data_routes(app, self.member)
        add_subscription_routes(app, self._hub, self._wall)
        return app

    def _original(self, leader: Address, nursery: trio.Nursery) -> OriginalLeader:
        """What stands for a leader that speaks "2.0"."""
        rest = Rest(self._client, leader, writer=leader, originator=lambda: self._advertised)
        return OriginalLeader(rest, self.member, nursery=nursery)

    async def _entries(self, pattern: str) -> tuple[Entry, ...]:
        """What a subscription to a key or glob begins with."""
        if pattern == STATUS_KEY:
            return (await self._status.entry(),)
        question = ListAll(pattern) if is_glob(pattern) else Get(pattern)
        found = await Ref(self.member).ask(question, deadline_s=ASK_DEADLINE_S)
        assert isinstance(found, Entries), found
        return found.entries

    # Registering ---------------------------------------------------------------------------------------------------

    def _notice(self, notice: Notice) -> None:
        if isinstance(notice, CaughtUp) and notice.collection == self._config.nodes_key:
            self._nodes_known.set()

    async def _advertise(self, address: str) -> None:
        """Register under the nodes key, unless we are registered there already.

        A node waits until it knows its leader's entries (not for ever: it may start while the leader is away); else
        every start would write the entry again.
        """
        key, value = registration(self._config.nodes_key, address)
        if self._config.cluster_url:
            with trio.move_on_after(ADVERTISE_AFTER_S):
                await self._nodes_known.wait()
        storage = Ref(self.member)
        found = await storage.ask(Get(key), deadline_s=ASK_DEADLINE_S)
        assert isinstance(found, Entries), found
        if not found.entries or found.entries[0].data != value:
            await storage.ask(Put(key, value), deadline_s=ASK_DEADLINE_S)


def registration(nodes_key: str, address: str) -> tuple[str, str]:
    """Key and value (canonical JSON) under which a node at `host:port` registers; the same at every start.

    Raises:
        ConfigError: there is no nodes key, or the address is none.
    """
    if not nodes_key:
        raise ConfigError(f"cannot register {address!r}: no nodes key is configured")
    ip, separator, port = address.rpartition(":")
    if not separator or not ip or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ConfigError(f"address is {address!r}, it must be host:port with a port of 1 to 65535")
    name = re.sub(r"[^A-Za-z0-9.]", "-", f"{ip}-{port}").strip("-")
    return nodes_key[:-1] + name, canonical(msgspec.json.encode({"ip": ip, "port": int(port)}))
