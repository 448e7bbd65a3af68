"""Running: a live cluster for plain code: notebook cells and tests that know nothing of Trio.

Layer: simulator/live. A thread runs Trio and the cluster in it; every call is carried out there. Start at `running`,
which leaves nothing running: no process, no thread, no file.
"""

from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar, final

import trio

from pivot.client import Client
from pivot.errors import NotFoundError
from pivot.types import JsonValue
from simulator.errors import LiveClusterError
from simulator.experiment.plan import LEADER, Plan
from simulator.live.cluster import LiveCluster, live_cluster
from simulator.live.player import LiveOutcome, play_live

T = TypeVar("T")

WITHIN_S: Final = 30.0
"""How long members may take to become equal, unless somebody says otherwise."""
_LOOK_S: Final = 0.05
_GLANCE_S: Final = 0.005


@final
class Running:
    """A leader and nodes, each a process that talks HTTP; use `running`.

    Attributes:
        plan: who takes part and what is replicated.
    """

    def __init__(self, cluster: LiveCluster, token: trio.lowlevel.TrioToken) -> None:
        self.plan = cluster.plan
        self._cluster = cluster
        self._token = token

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members whose processes run and are not stopped."""
        return self._cluster.running

    def url(self, member: str) -> str:
        """Where a member listens, or did."""
        return self._cluster.url(member)

    def write(self, member: str, key: str, value: JsonValue) -> None:
        """Set `key` at a member.

        Raises:
            PivotError: it is refused, or the member does not answer.
        """
        self._run(partial(self._client(member).set, key, value))

    def read(self, member: str, key: str) -> JsonValue:
        """What a member shows; None where there is nothing.

        Raises:
            PivotError: the member does not answer.
        """
        try:
            return self._run(partial(self._client(member).get, key)).data
        except NotFoundError:
            return None

    def delete(self, member: str, key: str) -> None:
        """Delete `key` at a member.

        Raises:
            PivotError: there is none, or the member does not answer.
        """
        self._run(partial(self._client(member).delete, key))

    def kill(self, member: str) -> None:
        """End a member without warning (SIGKILL)."""
        self._run(partial(self._cluster.kill, member))

    def start(self, member: str) -> None:
        """Start a member that was killed; it listens where it did.

        Raises:
            LiveClusterError: it does not come up.
        """
        self._run(partial(self._cluster.start, member))

    def cut(self, node: str) -> None:
        """Cut a node from its leader, both ways."""
        trio.from_thread.run_sync(self._cluster.cut, node, trio_token=self._token)

    def heal(self) -> None:
        """Let every node reach its leader again."""
        trio.from_thread.run_sync(self._cluster.heal, trio_token=self._token)

    @property
    def state(self) -> dict[str, dict[str, JsonValue]]:
        """Member -> key -> value now, of the members that run."""
        tables = self._run(self._cluster.tables)
        return {name: {key: item.data for key, item in sorted(table.items())} for name, table in tables.items()}

    def wait_until_equal(self, within_s: float = WITHIN_S) -> None:
        """Wait until all members are equal and have nothing left to offer.

        Raises:
            LiveClusterError: they are not in time; says what each has.
        """
        if not self._run(partial(_settle, self._cluster, within_s)):
            raise LiveClusterError(f"members are not equal after {within_s:g} s: {str(self.state)[:500]}")

    def spread(self, key: str, value: JsonValue, *, within_s: float = WITHIN_S) -> dict[str, float]:
        """Write at the leader; node -> how long until it shows that, s, from before the write.

        Raises:
            LiveClusterError: a node does not show it in time.
        """
        found = self._run(partial(_spread, self._cluster, key, value, within_s))
        late = [name for name in self.members[1:] if name not in found]
        if late:
            raise LiveClusterError(f"{len(late)} nodes do not show {key} after {within_s:g} s, among them {late[0]}")
        return found

    def play(self, *, within_s: float = WITHIN_S) -> LiveOutcome:
        """Play the plan's steps, each at its time; see `play_live`.

        Raises:
            LiveClusterError: real processes cannot play a step.
        """
        return self._run(partial(play_live, self._cluster, within_s=within_s))

    def _client(self, member: str) -> Client:
        if member not in self.members:
            raise LiveClusterError(f"no member {member!r} runs; those that do are {', '.join(self.members)}")
        return self._cluster.client(member)

    def _run(self, call: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(call, trio_token=self._token)


@contextmanager
def running(plan: Plan) -> Generator[Running, None, None]:
    """Start all members of a plan; after the block, also on Ctrl-C, no process and no file of them is left.

    Raises:
        LiveClusterError: a member does not come up.
    """
    begun: Future[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = Future()
    ready: Future[LiveCluster] = Future()

    async def serve() -> None:
        with trio.CancelScope() as scope:
            begun.set_result((trio.lowlevel.current_trio_token(), scope))
            async with live_cluster(plan, proxied=True) as cluster:
                ready.set_result(cluster)
                await trio.sleep_forever()

    def work() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    with ThreadPoolExecutor(1, thread_name_prefix="pivot-cluster") as executor:
        served = executor.submit(work)
        token, scope = begun.result()
        try:
            yield Running(ready.result(), token)
        finally:
            if not served.done():
                trio.from_thread.run_sync(scope.cancel, trio_token=token)
            served.result()


async def _settle(cluster: LiveCluster, within_s: float) -> bool:
    with trio.move_on_after(within_s):
        while not await cluster.settled():  # noqa: ASYNC110 - the condition is in other processes
            await trio.sleep(_LOOK_S)
        return True
    return False


async def _spread(cluster: LiveCluster, key: str, value: JsonValue, within_s: float) -> dict[str, float]:
    found: dict[str, float] = {}
    begin_s = trio.current_time()

    async def watch(name: str) -> None:
        while True:
            try:
                if (await cluster.client(name).get(key)).data == value:
                    break
            except NotFoundError:
                pass
            await trio.sleep(_GLANCE_S)
        found[name] = trio.current_time() - begin_s

    with trio.move_on_after(within_s):
        async with trio.open_nursery() as nursery:
            for name in cluster.running[1:]:
                nursery.start_soon(watch, name)
            await cluster.client(LEADER).set(key, value)
    return found
