"""StatusFeed: the status of a member as an entry that can be subscribed to.

Layer: server. Start at `StatusFeed.run`.
"""

from contextlib import suppress
from typing import Final, final

import msgspec
import trio

from pivot.actors.wallclock import WallClock
from pivot.core.entry import Entry, canonical
from pivot.errors import ActorError, DeadlineError
from pivot.server.hub import Hub
from pivot.server.status import StatusBoard
from pivot.types import StoreId

STATUS_KEY: Final = "_pivot/status"
"""The key of that entry; no user's key can be called so."""
_LOOK_S: Final = 1.0


@final
class StatusFeed:
    """Looks at a status board and remembers what it showed last."""

    def __init__(self, board: StatusBoard, wall: WallClock, *, deadline_s: float) -> None:
        """Prepare.

        Args:
            board: what is shown.
            wall: stamps what changed.
            deadline_s: how long the board may take.
        """
        self._board = board
        self._wall = wall
        self._deadline_s = deadline_s
        self._shown: Entry | None = None

    async def entry(self) -> Entry:
        """The status as it is now; the same entry as before, if nothing changed.

        Raises:
            ActorError: the member does not answer.
            DeadlineError: it does not answer in time.
        """
        status = await self._board.status(deadline_s=self._deadline_s)
        # Looking at the status goes through the mailboxes, and would change it.
        data = canonical(msgspec.json.encode(msgspec.structs.replace(status, mailboxes={})))
        if self._shown is None:
            created, updated = self._wall(), 0
        elif self._shown.data != data:
            created, updated = self._shown.created, self._wall()
        else:
            return self._shown
        self._shown = Entry(STATUS_KEY, created, updated, data, deleted=False, prev=None, origin=StoreId(""))
        return self._shown

    async def run(self, hub: Hub) -> None:
        """Bring each change to those who are subscribed, once a second at most, until cancelled."""
        while True:
            await trio.sleep(_LOOK_S)
            if hub.is_watched(STATUS_KEY):
                with suppress(ActorError, DeadlineError):  # it is asked again
                    hub.publish((await self.entry(),))
