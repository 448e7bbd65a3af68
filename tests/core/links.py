"""Links: a following under test, and what storage answers to it.

Start at `connected`.
"""

from pivot.config import Knobs
from pivot.core.asks import Asks
from pivot.core.collection import FeedSlice, Place
from pivot.core.effects import Effect
from pivot.core.following import Following, Purpose
from pivot.core.messages import Page
from pivot.core.questions import Failed, MergePage, Position, Result
from pivot.types import NO_EPOCH
from tests.core.builders import LEADER, USERS, answer, at, feed, place

KNOBS = Knobs(heartbeat_s=1.0, push_window=2, push_timeout_s=5.0, reoffer_s=60.0)
BUSY = Failed("busy", "full")


class Link:
    """A following under test, and what storage was asked for it."""

    def __init__(self, here: Place | None = None, *, asks_max: int = 64) -> None:
        self.asks = Asks[Purpose](asks_max)
        self.following = Following(path=USERS, upstream=LEADER, knobs=KNOBS, asks=self.asks)
        self.following.restore(here or place(5))

    def begin(self) -> list[Effect]:
        """Connect."""
        return self.following.begin(at(0))

    def page(self, body: Page, now_s: float = 10) -> list[Effect]:
        """A page comes."""
        return self.following.page(at(now_s), body)

    def reply(self, asking: list[Effect], result: Result, now_s: float = 10) -> list[Effect]:
        """Storage answers the only question among effects."""
        token = answer(asking, result).token
        purpose = self.asks.answered(token)
        assert purpose is not None
        return self.following.answered(at(now_s), purpose, result)


def connected(here: Place | None = None) -> Link:
    """Live, with nothing to offer."""
    link = Link(here)
    asking = link.begin()
    if link.following.epoch != NO_EPOCH and link.following.resync is None:
        link.reply(asking, outbox(0))
    return link


def outbox(since: int, *stamps: int, here: Place | None = None) -> FeedSlice:
    """Unconfirmed rows, read when storage was at a place."""
    return feed(since, *stamps, at_place=here or place(5))


def merge(body: Page, *, floor: int = 0) -> MergePage:
    """What storage has to do with a page."""
    return MergePage(body.collection, body.epoch, body.since, body.entries, body.seqs, body.next, floor, body.head)


def applied(cursor: int, *, floor: int = 0, collected: int = 0) -> Position:
    """Storage did what it was asked, and is there."""
    return Position(place(cursor, floor=floor, collected=collected), applied=True)


def unapplied(cursor: int, *, floor: int = 0) -> Position:
    """Storage did not do what it was asked; it is there."""
    return Position(place(cursor, floor=floor), applied=False)
