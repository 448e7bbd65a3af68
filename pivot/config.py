"""Config: what is replicated, with whom, and the numbers that bound it.

Layer: below core. Start at `Config`; `Knobs` are the timings and limits that few people change.
"""

import ipaddress
import math
from collections.abc import Sequence
from typing import Final, Literal, Protocol, TypeAlias, final

import msgspec
from msgspec.structs import force_setattr

from pivot.errors import BadKeyError, ConfigError
from pivot.paths import check_pattern, overlap

Way: TypeAlias = Literal["native", "2.0"]
"""How two members replicate: our own messages, or the protocol of the original."""
ForeignCluster: TypeAlias = Literal["refuse", "wipe", "merge"]
NAME_MAX: Final = 255
"""Longest name of a member."""
NODE_NETWORKS: Final = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Loopback and private addresses. Link-local ones are left out: machines in clouds keep secrets there."""


class Database:
    """What entries can be kept in; `pivot.Storage` is the one there is."""


class CustomClient(Protocol):
    """An `httpx.AsyncClient` of the user's, who closes it; only `pivot.transport.http_client` knows httpx."""

    @property
    def is_closed(self) -> bool:
        """Whether it cannot be used any more."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...


@final
class ClientSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests to peers are made.

    Attributes:
        connect_s: longest that connecting may take, s.
        total_s: longest that a request may take, its answer included, s; streams have no such end.
    """

    connect_s: float = 0.5
    total_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse times that cannot be.

        Raises:
            ConfigError: names the setting.
        """
        for name in self.__struct_fields__:
            value: float = getattr(self, name)
            if not 0 < value < math.inf:
                raise ConfigError(f"client.{name} is {value}, it must be greater than 0 and finite")


@final
class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One collection: a single path such as `settings`, or a glob such as `users/*`.

    Attributes:
        path: key or glob, relative to the server's root.
        cluster_url: another leader to follow for this key; empty = the server's own.
        local: whether this server leads the key itself, though it follows a leader for others.
        database: the storage that keeps its entries; None = the server's own.
    """

    path: str
    cluster_url: str = ""
    local: bool = False
    database: Database | None = None

    def __post_init__(self) -> None:
        """Refuse what is no key and no glob, or contradicts itself.

        Raises:
            ConfigError: names the path.
        """
        try:
            check_pattern(self.path)
        except BadKeyError as error:
            raise ConfigError(str(error)) from None
        if self.local and self.cluster_url:
            raise ConfigError(f"key {self.path!r} is local and follows {self.cluster_url}; it can be one of both")
        if self.database is not None and not isinstance(self.database, Database):  # pyright: ignore[reportUnnecessaryIsInstance] - said of callers that are checked
            raise ConfigError(f"key {self.path!r} has database {self.database!r}, which is no Storage")


@final
class Knobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Timings (s) and limits. The defaults suit servers in one region.

    Attributes:
        heartbeat_s: how often a leader shows each subscriber that it lives.
        ack_repeat_s: how often a node repeats its last acknowledgement, its own sign of life.
        silence_s_min: shortest silence after which a peer is suspected, however regular it was.
        silence_s_max: longest silence that is tolerated, however irregular it was.
        retry_s_min: first pause before a node greets its leader again.
        retry_s_max: longest such pause; pauses double up to here and never stop.
        greet_s: how long a node waits for the answer to its greeting, and for that of another node.
        leader_timeout_s: how long its leader is away before a node reads from other nodes.
        push_timeout_s: how long a node waits for the answer to a push before it offers everything unconfirmed again.
        reoffer_s: how often a node offers rows again that its leader rejected.
        page_rows: most rows in one page or push.
        page_bytes: about the most bytes of rows in one page or push (at least one row is sent).
        page_window: most pages under way to one subscriber of one collection without an acknowledgement.
        push_window: most pushes of one collection under way without an answer.
        collect_s: how often a leader looks for tombstones that every follower has, and drops them.
        member_ttl_s: how long a follower may be silent and still hold tombstones back.
        peers_max: most subscribers of one leader.
        ahead_s_max: how far a peer's timestamp may lead our wall clock.
        mailbox_max: most events waiting for one actor; a full mailbox refuses asks and drops tells.
        restarts_max: how often an actor may crash within `restarts_s` before its member gives up.
        restarts_s: see `restarts_max`.
    """

    heartbeat_s: float = 1.0
    ack_repeat_s: float = 2.0
    silence_s_min: float = 3.0
    silence_s_max: float = 15.0
    retry_s_min: float = 1.0
    retry_s_max: float = 60.0
    greet_s: float = 5.0
    leader_timeout_s: float = 5.0
    push_timeout_s: float = 5.0
    reoffer_s: float = 60.0
    page_rows: int = 500
    page_bytes: int = 2**20
    page_window: int = 8
    push_window: int = 4
    collect_s: float = 60.0
    member_ttl_s: float = 30 * 86_400.0
    peers_max: int = 10_000
    ahead_s_max: float = 60.0
    mailbox_max: int = 10_000
    restarts_max: int = 5
    restarts_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work.

        Raises:
            ConfigError: names the knob, its value and the limit.
        """
        for name in self.__struct_fields__:
            value: float = getattr(self, name)
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}, it must be greater than 0 and finite")
        for least, most in (("silence_s_min", "silence_s_max"), ("retry_s_min", "retry_s_max")):
            if getattr(self, least) > getattr(self, most):
                raise ConfigError(
                    f"{least} is {getattr(self, least)}, it must not exceed {most} = {getattr(self, most)}"
                )
        if self.page_rows > 1000:
            raise ConfigError(f"page_rows is {self.page_rows}, at most 1000 are allowed in one message")
        if self.page_bytes > 2**20:
            raise ConfigError(f"page_bytes is {self.page_bytes}, at most {2**20} are allowed in one message")


@final
class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What a member replicates and with whom.

    Attributes:
        keys: collections; no two may match one path.
        nodes_key: glob under which nodes register; replicated like the others, empty = none.
        cluster_url: address of the leader of all keys that do not say otherwise; empty = this member leads them.
        cluster_id: which cluster this is; empty matches any.
        foreign_cluster: what to do when our leader says that it is of another cluster: `refuse` to follow it, `wipe`
            what we have and follow it, or `merge` the two.
        name: how peers call this member; empty = drawn at every start.
        mesh: whether a node reads from other nodes while its leader is away, and lets them read.
        node_networks: where nodes that register under the nodes key may be; others are never called.
        extra_node_urls: nodes that a leader watches and calls though they are not registered.
        auto_sync_on_start: whether a node goes to its leader when it starts, or only when somebody says so.
        sync_on_read: how long, s, a read may wait for a leader that a node is not in step with; 0 = it never waits.
        client: how requests to peers are made, or what makes them.
        protocols: what may be spoken with peers; `native` is taken where both speak it.
        node_check_s: how often a leader looks whether the nodes that are registered answer.
        knobs: timings and limits.
    """

    keys: Sequence[Key] = ()
    nodes_key: str = ""
    cluster_url: str = ""
    cluster_id: str = ""
    foreign_cluster: ForeignCluster = "refuse"
    name: str = ""
    mesh: bool = True
    node_networks: tuple[str, ...] = NODE_NETWORKS
    extra_node_urls: Sequence[str] = ()
    auto_sync_on_start: bool = True
    sync_on_read: float = 0.0
    client: ClientSettings | CustomClient = ClientSettings()
    protocols: tuple[Way, ...] = ("native", "2.0")
    node_check_s: float = 30.0
    knobs: Knobs = Knobs()

    def __post_init__(self) -> None:
        """Refuse contradictions.

        Raises:
            ConfigError: names the key.
        """
        force_setattr(self, "keys", tuple(self.keys))  # a list might change later
        force_setattr(self, "extra_node_urls", tuple(self.extra_node_urls))
        if not 0 <= self.sync_on_read < math.inf:
            raise ConfigError(f"sync_on_read is {self.sync_on_read}, it must be at least 0 and finite")
        if self.nodes_key and not self.nodes_key.endswith("/*"):
            raise ConfigError(f"nodes_key is {self.nodes_key!r}, it must be a list such as things/*")
        if len(self.name) > NAME_MAX or "://" in self.name:
            shown = self.name[:NAME_MAX]
            raise ConfigError(f"name is {shown!r}, it must be at most {NAME_MAX} characters long and no address")
        for network in self.node_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ConfigError(f"node_networks has {network[:100]!r}, which is no network: {error}") from None
        if not 0 < self.node_check_s < math.inf:
            raise ConfigError(f"node_check_s is {self.node_check_s}, it must be greater than 0 and finite")
        for key in self.keys:
            if key.cluster_url and not self.cluster_url:
                raise ConfigError(
                    f"key {key.path!r} follows {key.cluster_url}, but this server has no cluster_url: it leads"
                )
        first: dict[str, Key] = {}
        for key in self.keys:
            if first.setdefault(key.path, key) != key:
                raise ConfigError(f"key {key.path!r} is given twice, and not alike")
            if key.path == self.nodes_key and (key.local or key.cluster_url or key.database):
                raise ConfigError(f"key {key.path!r} is the nodes key, which has the server's own leader and storage")
        paths = self.collections()
        for place, path in enumerate(paths):
            for other in paths[:place]:
                if overlap(path, other):
                    raise ConfigError(f"keys {other!r} and {path!r} can match one path; every path has one collection")

    def collections(self) -> tuple[str, ...]:
        """Paths of all collections, `nodes_key` included, each once."""
        keys = (*self.keys, Key(self.nodes_key)) if self.nodes_key else self.keys
        return tuple(dict.fromkeys(key.path for key in keys))

    def upstreams(self) -> dict[str, str]:
        """Path of each collection -> address of the leader it follows; empty = this member leads it."""
        upstreams = dict.fromkeys(self.collections(), self.cluster_url)
        for key in self.keys:
            if key.local or key.cluster_url:
                upstreams[key.path] = key.cluster_url
        return upstreams
