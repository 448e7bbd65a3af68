"""Following: one collection that a node follows: reading its leader's feed, and offering what the leader lacks.

Layer: core (pure). Theory of operation:

*Reading.* `cursor` is what storage has committed, `expected` where the next page must start, counting pages that
storage is still merging. A page that starts there is merged, an older one is a repetition, a later one shows that one
was lost: subscribe again from the cursor, at most twice per heartbeat. An acknowledgement leaves after the commit.

*Offering.* Rows that the leader has not confirmed are read in outbox order from `offered` and pushed, at most
`push_window` at a time. An answer confirms exactly the versions it names. A push that is not answered in time, and a
new epoch, make `offered` 0: everything unconfirmed is offered again, which is harmless because merging is idempotent.

Start at `Following.page` and `Following.offer`.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, final

from pivot.config import Knobs
from pivot.core.asks import Asks
from pivot.core.collection import FeedSlice
from pivot.core.effects import Effect, Report, Send
from pivot.core.events import (
    CaughtUp,
    Confirm,
    Confirmed,
    EpochReset,
    FollowEpoch,
    MergePage,
    Position,
    Question,
    ReadOutbox,
    Rejected,
    Result,
)
from pivot.core.messages import Ack, Page, Push, PushAck, Reset, Subscribe
from pivot.types import NO_EPOCH, Address, Epoch, Now

PENDING_MAX: Final = 64
"""Most questions to storage without an answer; what is above it comes again by itself."""


Step: TypeAlias = Literal["describe", "page", "reset", "outbox", "confirm"]


@final
@dataclass(slots=True, frozen=True)
class Purpose:
    """What a question to storage is for.

    Attributes:
        what: which step it belongs to.
        collection: which one.
        ordinal: number of the push that a confirmation is about.
    """

    what: Step
    collection: str
    ordinal: int = 0


@final
@dataclass(slots=True, kw_only=True)
class Following:
    """One collection of one upstream.

    Attributes:
        path: configured key or glob.
        upstream: the leader's address.
        knobs: timings and limits.
        asks: open questions, shared by all collections of this upstream.
        live: whether the leader answers and leads this collection.
        epoch: the leader's life we follow, as storage last said.
        cursor: how much of it we have, as storage last said.
        expected: where the next page must start.
        head: greatest end of the leader's feed it told us on this connection; None = it has not.
        caught_up: whether we had everything once on this connection.
        subscribed_s: when we last subscribed.
        offered: outbox rows up to this number were pushed.
        reading: whether storage was asked for the next rows to push.
        resetting: whether storage was asked to follow a new epoch.
        under_way: pushes without an answer: ordinal -> when they left.
        ordinal: number of the last push.
        offered_all_s: when everything was last offered from the start.
    """

    path: str
    upstream: Address
    knobs: Knobs
    asks: Asks[Purpose]
    live: bool = False
    epoch: Epoch = NO_EPOCH
    cursor: int = 0
    expected: int = 0
    head: int | None = None
    caught_up: bool = False
    subscribed_s: float = 0.0
    offered: int = 0
    reading: bool = False
    resetting: bool = False
    under_way: dict[int, float] = field(default_factory=dict[int, float])
    ordinal: int = 0
    offered_all_s: float = 0.0

    def begin(self, now: Now) -> list[Effect]:
        """The leader answers: read on from the cursor and offer everything it lacks."""
        self.live, self.head, self.caught_up = True, None, False
        return [*self._subscribe(now), *self._offer_all(now)]

    def end(self) -> None:
        """The leader does not answer any more."""
        self.live = False
        self.under_way.clear()

    def alive(self, now: Now) -> list[Effect]:
        """Show life, and offer again what should have been answered by now."""
        effects = self._ack() if self.epoch else self._resubscribe(now)
        overdue = any(now.monotonic_s - left > self.knobs.push_timeout_s for left in self.under_way.values())
        if overdue or now.monotonic_s - self.offered_all_s > self.knobs.reoffer_s:
            return effects + self._offer_all(now)
        return effects + self.offer()

    # Reading -----------------------------------------------------------------------------------------------------

    def page(self, now: Now, page: Page) -> list[Effect]:
        """Merge a page, or say what is wrong with it."""
        if page.epoch != self.epoch or page.since > self.expected:
            return self._resubscribe(now)  # another life is answered with a Reset, a gap with what was lost
        self.head = max(page.head, self.head or 0)
        if page.since < self.expected or page.next <= page.since:
            return self._arrived()
        question = MergePage(page.collection, page.epoch, page.since, page.entries, page.seqs, page.next)
        effects = self._ask(question, "page")
        if effects:
            self.expected = page.next
        return effects

    def reset(self, reset: Reset) -> list[Effect]:
        """Follow the leader's new life, if the answer is about where we are."""
        if reset.answers != self.epoch or self.resetting:
            return []
        effects = self._ask(FollowEpoch(self.path, reset.answers, reset.epoch), "reset")
        self.resetting = bool(effects)
        return effects

    def _subscribe(self, now: Now) -> list[Effect]:
        self.subscribed_s = now.monotonic_s
        return [Send(self.upstream, Subscribe(collection=self.path, epoch=self.epoch, cursor=self.cursor))]

    def _resubscribe(self, now: Now) -> list[Effect]:
        if now.monotonic_s - self.subscribed_s < self.knobs.heartbeat_s / 2:
            return []
        return self._subscribe(now)

    def _ack(self) -> list[Effect]:
        return [Send(self.upstream, Ack(collection=self.path, epoch=self.epoch, cursor=self.cursor))]

    # Offering ----------------------------------------------------------------------------------------------------

    def offer(self) -> list[Effect]:
        """Ask for the next unconfirmed rows when they may be pushed."""
        if not self.live or not self.epoch or self.reading or len(self.under_way) >= self.knobs.push_window:
            return []
        effects = self._ask(ReadOutbox(self.path, self.offered), "outbox")
        self.reading = bool(effects)
        return effects

    def push_ack(self, answer: PushAck) -> list[Effect]:
        """Let storage confirm the versions that the leader names."""
        if answer.epoch != self.epoch:
            return []
        reports: list[Effect] = [Report(Rejected(row.key, row.reason)) for row in answer.rejected]
        return reports + self._ask(Confirm(self.path, answer.epoch, answer.acks), "confirm", answer.ordinal)

    def _offer_all(self, now: Now) -> list[Effect]:
        self.offered = 0
        self.offered_all_s = now.monotonic_s
        self.under_way.clear()
        return self.offer()

    def _push(self, now: Now, piece: FeedSlice) -> list[Effect]:
        if piece.since != self.offered:
            return self.offer()  # since we asked, everything is offered from the start
        if not self.live or not piece.rows:
            return []
        self.ordinal += 1
        self.offered = piece.rows[-1].seq
        self.under_way[self.ordinal] = now.monotonic_s
        push = Push(
            collection=self.path,
            ordinal=self.ordinal,
            epoch=self.epoch,
            cursor=self.cursor,
            entries=tuple(row.entry for row in piece.rows),
        )
        return [Send(self.upstream, push), *self.offer()]

    # Answers from storage ----------------------------------------------------------------------------------------

    def answered(self, now: Now, purpose: Purpose, result: Result) -> list[Effect]:
        """Go on where the question was asked; what storage refused comes again by itself."""
        match purpose.what, result:
            case "page", Position():
                return self._placed(now, result)
            case "page", _:
                self.expected = self.cursor
            case "reset", _:
                self.resetting = False
                if isinstance(result, Position):
                    return self._new_life(now, result)
            case "outbox", _:
                self.reading = False
                if isinstance(result, FeedSlice):
                    return self._push(now, result)
            case "confirm", Confirmed():
                self.under_way.pop(purpose.ordinal, None)
                return self.offer()
            case _:
                pass
        return []

    def _placed(self, now: Now, place: Position) -> list[Effect]:
        if place.epoch != self.epoch:
            return []  # merged in a life that we have left since
        self.cursor = max(self.cursor, place.cursor)
        if not place.applied:
            self.expected = self.cursor
            return self._resubscribe(now) if self.live else []
        self.expected = max(self.expected, self.cursor)  # a page before this one may have failed and set it back
        return [*self._ack(), *self._arrived()] if self.live else []

    def _arrived(self) -> list[Effect]:
        """Say once that nothing is missing any more."""
        if self.caught_up or self.head != self.cursor:
            return []
        self.caught_up = True
        return [Report(CaughtUp(self.path))]

    def _new_life(self, now: Now, place: Position) -> list[Effect]:
        before = self.epoch
        self.epoch, self.cursor, self.expected, self.head = place.epoch, place.cursor, place.cursor, None
        if not place.applied:
            return []
        report = Report(EpochReset(self.path, before, place.epoch))
        return [report, *self._subscribe(now), *self._offer_all(now)] if self.live else [report]

    def _ask(self, question: Question, what: Step, ordinal: int = 0) -> list[Effect]:
        return [*self.asks.ask(question, Purpose(what, self.path, ordinal))]
