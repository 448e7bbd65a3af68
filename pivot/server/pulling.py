"""Pulling: having what our leaders have now, and giving them what they lack, when somebody says so.

Layer: server. Those who ask while a pull is under way share the next one, so however many ask, a leader sees one at a
time. Start at `Puller.pull`.
"""

from collections.abc import Iterable
from typing import Final, final

import trio

from pivot.actors.ref import Ref
from pivot.core.collection import FeedSlice
from pivot.core.notices import CaughtUp, Notice
from pivot.core.questions import ReadOutbox, Written
from pivot.errors import DeadlineError
from pivot.server.answers import ASK_DEADLINE_S
from pivot.server.stores import Stores
from pivot.types import Address

PULL_S: Final = 10.0
"""How long a pull may take, and likewise a push."""


@final
class _Rounds:
    """Pulls from one leader, one after the other."""

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.begun = 0
        self.ended = 0


@final
class Puller:
    """Pulls for one server; whoever runs it lets it `hear` every notice."""

    def __init__(self, stores: Stores) -> None:
        """Begin with nothing under way."""
        self._stores = stores
        self._upstreams = {path: Address(url) for path, url in stores.config.upstreams().items() if url}
        self._rounds = {url: _Rounds() for url in self._upstreams.values()}
        self._missing: dict[Address, dict[str, None]] = {}
        self._arrived = {url: trio.Event() for url in self._rounds}

    @property
    def followed(self) -> tuple[str, ...]:
        """The collections that have a leader elsewhere."""
        return tuple(self._upstreams)

    async def pull(self, paths: Iterable[str]) -> None:
        """Return when this server has what the leaders of these collections had when it was called, or later.

        Raises:
            DeadlineError: not within `PULL_S`; names the leader.
        """
        late: list[Address] = []
        async with trio.open_nursery() as nursery:
            for url in dict.fromkeys(self._upstreams[path] for path in paths):
                nursery.start_soon(self._pull, url, late)
        if late:
            raise DeadlineError(f"leader {late[0]} was not read to its end within {PULL_S:g} s")

    async def exchange(self, paths: Iterable[str]) -> None:
        """As `pull`, and the leaders have what this server had when it was called.

        Raises:
            DeadlineError: not within `PULL_S` for either way.
        """
        paths = tuple(paths)
        unconfirmed = await self._unconfirmed(paths)
        await self.pull(paths)
        if not await self._stores.wait_confirmed(unconfirmed, timeout_s=PULL_S):
            raise DeadlineError(f"{len(unconfirmed.keys)} entries were not all confirmed within {PULL_S:g} s")

    async def _pull(self, url: Address, late: list[Address]) -> None:
        rounds = self._rounds[url]
        came = rounds.begun
        with trio.move_on_after(PULL_S):
            async with rounds.lock:
                if rounds.ended > came:
                    return  # another began after we came, and has ended
                rounds.begun += 1
                await self._round(url)
                rounds.ended = rounds.begun
                return
        late.append(url)

    async def _round(self, url: Address) -> None:
        theirs = {
            member: tuple(path for path in member.config.collections() if self._upstreams.get(path) == url)
            for member in self._stores.members  # a storage that was not attached has nothing to pull
        }
        self._missing[url] = dict.fromkeys(path for its in theirs.values() for path in its)
        self._arrived[url] = trio.Event()
        if not self._missing[url]:
            return
        for member, its in theirs.items():
            member.pull(its)
        await self._arrived[url].wait()

    def hear(self, notice: Notice) -> None:
        """A member of the server has said something."""
        if isinstance(notice, CaughtUp) and notice.collection in self._upstreams:
            url = self._upstreams[notice.collection]
            missing = self._missing.get(url, {})
            missing.pop(notice.collection, None)
            if not missing:
                self._arrived[url].set()

    async def _unconfirmed(self, paths: Iterable[str]) -> Written:
        """Everything that the leaders of these collections have not confirmed."""
        keys: list[str] = []
        stamps: list[int] = []
        for path in paths:
            since = 0
            while True:
                piece = await Ref(self._stores.of(path)).ask(ReadOutbox(path, since), deadline_s=ASK_DEADLINE_S)
                assert isinstance(piece, FeedSlice), piece
                if not piece.rows:
                    break
                keys += [row.entry.key for row in piece.rows]
                stamps += [row.entry.stamp for row in piece.rows]
                since = piece.rows[-1].seq
        return Written(tuple(keys), tuple(stamps))
