"""Following: one collection that a node follows: reading its leader's feed, and offering what the leader lacks.

Layer: core (pure). Theory of operation:

*Reading.* `place.cursor` is what storage has committed, `expected` where the next page must start, counting pages that
storage is still merging. A page that starts there is merged, an older one is a repetition, a later one shows that one
was lost: subscribe again from the cursor, at most twice per heartbeat. An acknowledgement leaves after the commit.

*Reading again.* A leader drops tombstones that its followers have; its floor says up to where. Whoever hears of a floor
above its own cursor has missed some, cannot tell old from deleted any more, and re-syncs: it reads everything from 0
with a position of its own, all pages under one floor (a higher one begins it anew, a lower one is late). Meanwhile it
offers nothing and acknowledges nothing. The re-sync ends when it reaches the greatest head it heard of; storage then
judges what was absent and moves the cursor.

*Offering.* Rows that the leader has not confirmed are read in outbox order from `offered` and pushed, at most
`push_window` at a time. An answer confirms exactly the versions it names. A push that is not answered in time, and a
new epoch, make `offered` 0: everything unconfirmed is offered again, which is harmless because merging is idempotent.

Start at `Following.page` and `Following.offer`.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, final

import msgspec
from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.asks import Asks
from pivot.core.collection import FeedSlice, Place
from pivot.core.effects import Effect, Report, Send
from pivot.core.messages import Ack, Digest, Gone, Page, Push, PushAck, Repair, Reset, Stale, Subscribe
from pivot.core.notices import CaughtUp, Diverged, EpochReset, Rejected
from pivot.core.questions import (
    CompareDigest,
    Confirm,
    Confirmed,
    Digested,
    FollowEpoch,
    HearFloor,
    MendBuckets,
    MergePage,
    Position,
    Question,
    ReadOutbox,
    Restamp,
    Result,
    Wipe,
    Withdraw,
)
from pivot.core.resync import Resync
from pivot.types import Address, Epoch, Now

PENDING_MAX: Final = 64
"""Most questions to storage without an answer; what is above it comes again by itself."""


Step: TypeAlias = Literal[
    "describe", "wipe", "page", "resync", "floor", "reset", "outbox", "confirm", "restamp", "withdraw", "compare",
    "mend", "peers", "glimpse", "give",
]  # fmt: skip


@final
class Purpose(msgspec.Struct, frozen=True, gc=False):
    """What a question to storage is for.

    Attributes:
        what: which step it belongs to.
        collection: which one.
        ordinal: number of the push that a confirmation is about; where the page of a re-sync ends; of a peek.
        floor: of that re-sync.
    """

    what: Step
    collection: str
    ordinal: int = 0
    floor: int = 0


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
        wiping: cluster for whose sake storage was asked to forget everything before we follow its leader.
        place: the leader's life we follow, and how much of it we have, as storage last said.
        expected: where the next page must start.
        resync: everything is being read again.
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
    wiping: str = ""
    place: Place = field(default_factory=Place)
    expected: int = 0
    resync: Resync | None = None
    head: int | None = None
    caught_up: bool = False
    subscribed_s: float = 0.0
    offered: int = 0
    reading: bool = False
    resetting: bool = False
    under_way: dict[int, float] = field(default_factory=dict[int, float])
    ordinal: int = 0
    offered_all_s: float = 0.0

    @property
    def epoch(self) -> Epoch:
        """The leader's life we follow; empty = none yet."""
        return self.place.epoch

    def restore(self, place: Place) -> None:
        """Go on from what storage has."""
        self.place, self.expected, self.resync = place, place.cursor, None

    def begin(self, now: Now, *, wiped_for: str = "") -> list[Effect]:
        """The leader answers: read on from the cursor and offer everything it lacks.

        `wiped_for` names a cluster for whose sake everything here is forgotten first, unless that was done.
        """
        if wiped_for and self.place.cluster != wiped_for:
            self.wiping = wiped_for
            return self._ask(Wipe(self.path, wiped_for), "wipe")
        self.live, self.head, self.caught_up = True, None, False
        self._missed()
        return [*self._subscribe(now), *self._offer_all(now)]

    def end(self) -> None:
        """The leader does not answer any more."""
        self.live, self.wiping = False, ""
        self.under_way.clear()

    def alive(self, now: Now) -> list[Effect]:
        """Show life, and offer again what should have been answered by now."""
        if self.wiping:
            return self.begin(now, wiped_for=self.wiping)
        if not self.live:
            return []
        effects = self._ack() if self.epoch else self._resubscribe(now)
        overdue = any(now.monotonic_s - left > self.knobs.push_timeout_s for left in self.under_way.values())
        if overdue or now.monotonic_s - self.offered_all_s > self.knobs.reoffer_s:
            return effects + self._offer_all(now)
        return effects + self.offer()

    # Reading -----------------------------------------------------------------------------------------------------

    def page(self, now: Now, page: Page) -> list[Effect]:
        """Merge a page, or say what is wrong with it."""
        if page.epoch != self.epoch:
            return self._resubscribe(now)  # another life is answered with a Reset
        effects = self._hear(now, page.floor, page.collected)
        if self.resync is not None:
            return effects + self._resync_page(now, self.resync, page)
        if page.resync or page.since > self.expected:
            return effects + self._resubscribe(now)  # that re-sync has ended; a gap is answered with what was lost
        self.head = max(page.head, self.head or 0)
        if page.since < self.expected:
            return effects + self._arrived()
        if page.next <= page.since:
            return effects + self._arrived() + self._compare(page)
        floor = max(page.floor, self.place.floor)
        question = MergePage(self.path, page.epoch, page.since, page.entries, page.seqs, page.next, floor, page.head)
        asked = self._ask(question, "page")
        if asked:
            self.expected = page.next
        return effects + asked

    def gone(self, now: Now, gone: Gone | Stale) -> list[Effect]:
        """Read everything again, if tombstones beyond our cursor were collected; else this is late."""
        if gone.epoch != self.epoch:
            return []
        effects = self._hear(now, gone.floor, gone.collected)
        if isinstance(gone, Gone):
            return effects + (self._resubscribe(now) if self.resync is not None else [])
        if self.under_way.pop(gone.ordinal, None) is not None and self.resync is None:
            return effects + self._offer_all(now)  # we have caught up since that push was built
        return effects

    def reset(self, reset: Reset) -> list[Effect]:
        """Follow the leader's new life, if the answer is about where we are."""
        if reset.answers != self.epoch or self.resetting:
            return []
        effects = self._ask(FollowEpoch(self.path, reset.answers, reset.epoch, reset.kept), "reset")
        self.resetting = bool(effects)
        return effects

    def repair(self, repair: Repair) -> list[Effect]:
        """Let storage mend the buckets in which we differ from our leader."""
        if repair.epoch != self.epoch or self.resync is not None:
            return []
        question = MendBuckets(self.path, repair.epoch, repair.buckets, repair.entries, repair.seqs)
        return [Report(Diverged(self.path, len(repair.buckets))), *self._ask(question, "mend")]

    def _hear(self, now: Now, floor: int, collected: int) -> list[Effect]:
        """Remember the leader's floor; begin a re-sync when it is above our cursor."""
        if floor <= self.place.floor:
            return []
        effects = self._ask(HearFloor(self.path, self.epoch, floor, collected), "floor")
        if effects:  # believed at once, kept soon: until then every page says it again
            self.place = replace(self.place, floor=floor, collected=collected)
        if self._missed():
            effects += self._subscribe(now)
        return effects

    def _missed(self) -> bool:
        """Begin a re-sync if we have missed collected tombstones, unless one under that floor is under way."""
        floor = self.place.floor
        if floor <= self.expected or (self.resync is not None and self.resync.floor == floor):
            return False
        self.resync = Resync(floor)
        return True

    def _resync_page(self, now: Now, resync: Resync, page: Page) -> list[Effect]:
        verdict = resync.judge(page)
        if verdict != "next":
            return self._resubscribe(now) if verdict == "gap" else []
        effects = self._ask(resync.question(page), "resync", page.next, resync.floor)
        if effects:
            resync.expected = page.next
        return effects

    def _subscribe(self, now: Now) -> list[Effect]:
        self.subscribed_s = now.monotonic_s
        resync = self.resync
        if resync is None:
            return [Send(self.upstream, Subscribe(self.path, self.epoch, self.place.cursor))]
        return [Send(self.upstream, Subscribe(self.path, self.epoch, resync.expected, resync=True))]

    def _resubscribe(self, now: Now) -> list[Effect]:
        if now.monotonic_s - self.subscribed_s < self.knobs.heartbeat_s / 2:
            return []
        return self._subscribe(now)

    def _ack(self) -> list[Effect]:
        resync = self.resync
        if resync is None:
            return [Send(self.upstream, Ack(self.path, self.epoch, self.place.cursor))]
        return [Send(self.upstream, Ack(self.path, self.epoch, resync.position, resync=True))]

    def _compare(self, page: Page) -> list[Effect]:
        """Hold our digest against the leader's, when nothing is missing."""
        if not page.digest or page.next != self.place.cursor:
            return []
        return self._ask(CompareDigest(self.path, page.epoch, page.next, page.digest), "compare")

    # Offering ----------------------------------------------------------------------------------------------------

    def offer(self) -> list[Effect]:
        """Ask for the next unconfirmed rows when they may be pushed."""
        closed = not self.live or not self.epoch or self.resync is not None
        if closed or self.reading or len(self.under_way) >= self.knobs.push_window:
            return []
        effects = self._ask(ReadOutbox(self.path, self.offered), "outbox")
        self.reading = bool(effects)
        return effects

    def push_ack(self, answer: PushAck) -> list[Effect]:
        """Let storage confirm the versions that the leader names."""
        if answer.epoch != self.epoch:
            return []
        effects: list[Effect] = [Report(Rejected(row.key, row.reason)) for row in answer.rejected]
        ahead = tuple(row for row in answer.rejected if row.ahead)
        if ahead:
            effects += self._ask(Restamp(self.path, ahead), "restamp")
        final = tuple(row for row in answer.rejected if row.final)
        if final:
            effects += self._ask(Withdraw(self.path, answer.epoch, final), "withdraw")
        return effects + self._ask(Confirm(self.path, answer.epoch, answer.acks), "confirm", answer.ordinal)

    def _offer_all(self, now: Now) -> list[Effect]:
        self.offered = 0
        self.offered_all_s = now.monotonic_s
        self.under_way.clear()
        return self.offer()

    def _push(self, now: Now, piece: FeedSlice) -> list[Effect]:
        if piece.since != self.offered or piece.place.epoch != self.epoch:
            return self.offer()  # since we asked, everything is offered from the start
        if not self.live or self.resync is not None or not piece.rows:
            return []
        self.ordinal += 1
        self.offered = piece.rows[-1].seq
        self.under_way[self.ordinal] = now.monotonic_s
        push = Push(
            collection=self.path,
            ordinal=self.ordinal,
            epoch=self.epoch,
            cursor=piece.place.cursor,  # what we had seen when the rows were read, not what we have now
            entries=tuple(row.entry for row in piece.rows),
        )
        return [Send(self.upstream, push), *self.offer()]

    # Answers from storage ----------------------------------------------------------------------------------------

    def answered(self, now: Now, purpose: Purpose, result: Result) -> list[Effect]:
        """Go on where the question was asked; what storage refused comes again by itself."""
        match purpose.what, result:
            case "wipe", Position() if result.applied or (self.wiping and result.place.cluster == self.wiping):
                wanted, self.wiping = self.wiping, ""
                self.restore(result.place)
                return self.begin(now) if wanted else []
            case "page" | "floor" | "restamp", Position():
                return self._placed(now, result)
            case "page", _:
                self.expected = self.place.cursor
                return self._subscribe(now) if self._missed() and self.live else []
            case "floor", _:
                self.place = replace(self.place, floor=0, collected=0)  # not kept: the next page says it again
            case "resync", _:
                return self._resynced(now, purpose, result)
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
            case "compare", Digested() if result.sums and self.live:
                return [Send(self.upstream, Digest(self.path, self.epoch, self.place.cursor, result.sums))]
            case _:
                pass
        return []

    def _placed(self, now: Now, position: Position) -> list[Effect]:
        place = position.place
        if place.epoch != self.epoch:
            return []  # of a life that we have left since
        back = place.cursor < self.place.cursor  # storage wants the feed from the start
        floor, collected = max(place.floor, self.place.floor), max(place.collected, self.place.collected)
        self.place = replace(place, floor=floor, collected=collected)
        if back or not position.applied:
            self.expected = place.cursor
        else:
            self.expected = max(self.expected, place.cursor)  # a page before may have failed and set it back
        if self._missed():
            return self._subscribe(now) if self.live else []
        if not self.live:
            return []
        if back or not position.applied:
            return self._resubscribe(now)
        return [*self._ack(), *self._arrived()]

    def _resynced(self, now: Now, purpose: Purpose, result: Result) -> list[Effect]:
        """A page of the re-sync is merged, or storage does not know of that re-sync and it begins again."""
        resync = self.resync
        if resync is None or resync.floor != purpose.floor:
            return []
        if not isinstance(result, Position) or not result.applied or result.place.epoch != self.epoch:
            self.resync = Resync(resync.floor, resync.head)
            return self._resubscribe(now) if self.live else []
        resync.position = purpose.ordinal
        if result.place.cursor < resync.floor:
            return self._ack() if self.live else []
        self.restore(result.place)
        if not self.live:
            return []
        self.head = None
        return [*self._subscribe(now), *self._offer_all(now)]

    def _arrived(self) -> list[Effect]:
        """Say once that nothing is missing any more."""
        if self.caught_up or self.head != self.place.cursor:
            return []
        self.caught_up = True
        return [Report(CaughtUp(self.path))]

    def _new_life(self, now: Now, position: Position) -> list[Effect]:
        before = self.epoch
        self.restore(position.place)
        self.head = None
        if not position.applied:
            return []
        report = Report(EpochReset(self.path, before, position.place.epoch))
        return [report, *self._subscribe(now), *self._offer_all(now)] if self.live else [report]

    def _ask(self, question: Question, what: Step, ordinal: int = 0, floor: int = 0) -> list[Effect]:
        return [*self.asks.ask(question, Purpose(what, self.path, ordinal, floor))]
