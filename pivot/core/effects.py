"""Effects: everything a behaviour can ask the world to do.

Layer: core (pure). A behaviour returns effects in the order in which they must happen. Whoever runs it (see
`pivot.actors.core`) commits every `Persist` of a batch first; effects that follow a failed one do not happen.
Start at `Effect`.
"""

from typing import TypeAlias

import msgspec

from pivot.core.collection import Change
from pivot.core.entry import Entry
from pivot.core.events import TellEvent
from pivot.core.messages import Message
from pivot.core.notices import Notice
from pivot.core.questions import Question, ReplyTo, Result
from pivot.types import Address


class Persist(msgspec.Struct, frozen=True, gc=False):
    """Commit these changes; nothing later in the same step may be told to anyone before."""

    changes: tuple[Change, ...]


class Reply(msgspec.Struct, frozen=True, gc=False):
    """Answer an ask."""

    to: ReplyTo
    result: Result


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Put a question to the storage actor; the answer comes back as `Answer` with this token."""

    token: int
    question: Question


class Tell(msgspec.Struct, frozen=True, gc=False):
    """Put an event into the mailbox of another actor of this member; a full mailbox drops it."""

    actor: str
    event: TellEvent


class Send(msgspec.Struct, frozen=True, gc=False):
    """Hand a message to the transport, which may lose it."""

    target: Address
    body: Message


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Deliver `TimerFired(name)` once, after a delay drawn from [`least_s`, `most_s`]; replaces one of that name."""

    name: str
    least_s: float
    most_s: float


class CancelTimer(msgspec.Struct, frozen=True, gc=False):
    """Forget the timer of this name."""

    name: str


class Publish(msgspec.Struct, frozen=True, gc=False):
    """These versions were committed: show them to whoever watches."""

    entries: tuple[Entry, ...]


class TellConfirmed(msgspec.Struct, frozen=True, gc=False):
    """Our leader has these versions or greater ones, and that is committed: wake those who wait for it."""

    keys: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, gc=False):
    """Something people want to know."""

    notice: Notice


Effect: TypeAlias = Persist | Reply | Ask | Tell | Send | SetTimer | CancelTimer | Publish | TellConfirmed | Report
