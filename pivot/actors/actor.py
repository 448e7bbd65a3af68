"""Actor: one Trio task that runs one behaviour on its mailbox. There is one generic actor, not four.

Layer: actors. Start at `Actor.run`; `core` has the rules of a batch.
"""

from collections.abc import Callable
from typing import final

from pivot.actors.core import ActorCore
from pivot.actors.mailbox import Mailbox
from pivot.actors.switchboard import Port, Switchboard
from pivot.core.behaviour import Behaviour
from pivot.core.collection import Change
from pivot.core.effects import Reply
from pivot.core.events import Answer, Asked, Event, Started, TimerFired
from pivot.core.questions import Failed
from pivot.engine.base import StorageEngine
from pivot.errors import StorageError


@final
class Actor:
    """Runs a behaviour; each life is a `prepare` and a `run`, with a new behaviour on the same mailbox.

    Attributes:
        name: unique within the member.
        mailbox: what waits for it.
    """

    def __init__(
        self,
        name: str,
        create: Callable[[], Behaviour],
        *,
        switchboard: Switchboard,
        mailbox: Mailbox,
        engine: StorageEngine | None = None,
    ) -> None:
        """Connect an actor; it takes part from now on and runs with `run`.

        Args:
            name: unique within the member.
            create: makes the behaviour of one life.
            switchboard: carries out its effects.
            mailbox: what waits for it.
            engine: where its changes are committed; None for an actor that persists nothing.
        """
        self.name = name
        self.mailbox = mailbox
        self._create = create
        self._switchboard = switchboard
        self._engine = engine
        self._port = switchboard.ports[name] = Port(name, mailbox)

    def prepare(self) -> None:
        """Begin a life: what an earlier one asked for does not come any more, and `Started` is on its way."""
        self._port.restart()
        for event in self.mailbox.drain():
            if not isinstance(event, Answer | TimerFired | Started):
                self.mailbox.put(event)
        self._switchboard.start(self._port)

    async def run(self) -> None:
        """Live, once prepared, until cancelled, or until the behaviour crashes, which raises."""
        core = ActorCore(self._create())
        while True:
            batch = await self.mailbox.take()
            try:
                changes = core.begin(self._switchboard.now(), batch)
                failure = await self._commit(changes) if changes else None
                effects = core.finish(self._switchboard.now(), failure)
            except Exception as error:
                self._refuse(batch, error)
                raise
            for effect in effects:
                self._switchboard.perform(self._port, effect)

    async def _commit(self, changes: list[Change]) -> str | None:
        assert self._engine is not None, f"{self.name} persists without an engine"
        try:
            await self._engine.commit(changes)
        except StorageError as error:
            return str(error)
        return None

    def _refuse(self, batch: list[Event], error: Exception) -> None:
        """Leave nobody waiting for an answer that a crash has swallowed."""
        reason = f"{self.name} crashed: {error!r}"
        for event in batch:
            if isinstance(event, Asked):
                self._switchboard.perform(self._port, Reply(event.to, Failed("stopped", reason)))
