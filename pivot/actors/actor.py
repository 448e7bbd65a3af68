"""Actor: one behaviour on its mailbox, life after life. There is one generic actor, not four.

Layer: actors (Trio-free). Whatever runs an actor waits until its mailbox holds something, then works one batch:
`begin`, the commit of what that returns, `finish`. On Trio that is `tasks`, in the simulator also its kernel.
Start at `Actor.begin`; `core` has the rules of a batch.
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
from pivot.types import Now


@final
class Actor:
    """Runs a behaviour; each life begins with `prepare`, with a new behaviour on the same mailbox.

    Attributes:
        name: unique within the member.
        mailbox: what waits for it.
    """

    __slots__ = ("_batch", "_commits", "_core", "_create", "_now", "_port", "_switchboard", "mailbox", "name")

    def __init__(
        self, name: str, create: Callable[[], Behaviour], *, switchboard: Switchboard, mailbox: Mailbox
    ) -> None:
        """Connect an actor; it takes part from now on.

        Args:
            name: unique within the member.
            create: makes the behaviour of one life.
            switchboard: carries out its effects.
            mailbox: what waits for it.
        """
        self.name = name
        self.mailbox = mailbox
        self._create = create
        self._switchboard = switchboard
        self._port = switchboard.ports[name] = Port(name, mailbox)
        self._core: ActorCore  # of this life: `prepare` makes it
        self._batch: list[Event] = []
        self._commits = False  # whether that batch has changes, so that time may pass between `begin` and `finish`
        self._now: Now  # when it began

    def prepare(self) -> None:
        """Begin a life: what an earlier one asked for does not come any more, and `Started` is on its way."""
        self._port.restart()
        for event in self.mailbox.drain():
            if not isinstance(event, Answer | TimerFired | Started):
                self.mailbox.put(event)
        self._core = ActorCore(self._create())
        self._switchboard.start(self._port)

    def begin(self) -> list[Change]:
        """Take everything that waits and step it; returns what must be committed before `finish`.

        Raises:
            Exception: the behaviour crashed; those who asked were told.
        """
        self._batch = batch = self.mailbox.drain()
        self._now = now = self._switchboard.now()
        try:
            changes = self._core.begin(now, batch)
        except Exception as error:
            self.refuse(error)
            raise
        self._commits = bool(changes)
        return changes

    def finish(self, failure: str | None = None) -> None:
        """Let the effects of the batch happen, knowing how its commit went (None = it held, or there was none).

        Raises:
            Exception: the behaviour crashed; those who asked were told.
        """
        try:
            effects = self._core.finish(self._switchboard.now() if self._commits else self._now, failure)
        except Exception as error:
            self.refuse(error)
            raise
        perform, port = self._switchboard.perform, self._port
        for effect in effects:
            perform(port, effect)

    def refuse(self, error: Exception) -> None:
        """Leave nobody of the batch waiting for an answer that a crash has swallowed."""
        reason = f"{self.name} crashed: {error!r}"
        for event in self._batch:
            if isinstance(event, Asked):
                self._switchboard.perform(self._port, Reply(event.to, Failed("stopped", reason)))
