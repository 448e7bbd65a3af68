"""Events: everything that can happen to a behaviour.

Layer: core (pure). Start at `Event`.
"""

from typing import TypeAlias

import msgspec

from pivot.core.messages import Message
from pivot.core.questions import Question, ReplyTo, Result
from pivot.types import Address, MemberId, StoreId


class Started(msgspec.Struct, frozen=True, gc=False):
    """The actor runs; always the first event, also after a restart."""


class TimerFired(msgspec.Struct, frozen=True, gc=False):
    """A timer set by this behaviour ran out."""

    name: str


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message came in.

    Attributes:
        sender: member that wrote it.
        store: the sender's store.
        body: the message.
    """

    sender: MemberId
    store: StoreId
    body: Message


class LinkLost(msgspec.Struct, frozen=True, gc=False):
    """The transport noticed that a peer cannot be reached; a hint that may never come."""

    peer: Address
    reason: str


class Asked(msgspec.Struct, frozen=True, gc=False):
    """Somebody puts a question to storage."""

    to: ReplyTo
    question: Question


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The answer to our own ask with this token."""

    token: int
    result: Result


class Changed(msgspec.Struct, frozen=True, gc=False):
    """A collection has changes up to `head`: a wake-up that may be lost, not data."""

    collection: str
    head: int


class Committed(msgspec.Struct, frozen=True, gc=False):
    """What this batch persisted is durable."""


class CommitFailed(msgspec.Struct, frozen=True, gc=False):
    """What this batch wanted to persist is not kept."""

    reason: str


class Heard(msgspec.Struct, frozen=True, gc=False):
    """Health: a sign of life of this peer; watch it from now on and tell `by` when they stop."""

    peer: Address
    by: str


class Unwatch(msgspec.Struct, frozen=True, gc=False):
    """Health: expect nothing more of this peer."""

    peer: Address


class Enrol(msgspec.Struct, frozen=True, gc=False):
    """Health starts and knows nobody: tell it of every peer that is up."""


class PeerSilent(msgspec.Struct, frozen=True, gc=False):
    """Health suspects this peer: nothing heard for `silent_s` seconds, more than `limit_s`."""

    peer: Address
    silent_s: float
    limit_s: float


class PullNow(msgspec.Struct, frozen=True, gc=False):
    """Somebody wants what our leader has now, and offer it everything; `CaughtUp` is reported again when it is here."""


TellEvent: TypeAlias = Changed | Heard | Unwatch | Enrol | PeerSilent | PullNow
Event: TypeAlias = Started | TimerFired | Received | LinkLost | Asked | Answer | Committed | CommitFailed | TellEvent
