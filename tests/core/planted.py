"""Planted bugs: each function breaks one rule of the protocol, so that the harness can show that it would notice.

Start at `FREQUENT`.
"""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from pivot.actors.core import ActorCore
from pivot.core.clock import HybridClock
from pivot.core.collection import Change, Place, SetPlace
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Reply
from pivot.core.entry import Entry, fingerprint
from pivot.core.events import Received
from pivot.core.following import Following
from pivot.core.leading import Leading
from pivot.core.merging import confirm, merge_page, merge_pushed
from pivot.core.messages import Ack, Page, PushAck, Reset, Subscribe
from pivot.core.questions import Confirm, MergePage, MergePushed, ReplyTo, Result
from pivot.core.store import Store
from pivot.types import Now

Plant = Callable[[pytest.MonkeyPatch], None]


def the_last_arrival_wins(patch: pytest.MonkeyPatch) -> None:
    def differs(entry: Entry, other: Entry) -> bool:
        return entry.version != other.version

    patch.setattr("pivot.core.merging.supersedes", differs)


def a_page_beyond_the_cursor_is_applied(patch: pytest.MonkeyPatch) -> None:
    taken = Following.page

    def take(following: Following, now: Now, page: Page) -> list[Effect]:
        return taken(following, now, replace(page, since=min(page.since, following.expected)))

    def merge(store: Store, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        cursor = store[question.collection].peek_place().cursor
        return merge_page(store, now, to, replace(question, since=cursor))

    patch.setattr(Following, "page", take)
    patch.setattr("pivot.core.storage.merge_page", merge)


def an_answer_confirms_whatever_the_row_is_by_now(patch: pytest.MonkeyPatch) -> None:
    def confirm_all(store: Store, to: ReplyTo, question: Confirm) -> list[Effect]:
        rows = {ack.key: store[question.collection].peek(ack.key) for ack in question.acks}
        acks = tuple(
            replace(ack, fingerprint=fingerprint(row.entry))
            for ack in question.acks
            if (row := rows[ack.key]) is not None
        )
        return confirm(store, to, replace(question, acks=acks))

    patch.setattr("pivot.core.storage.confirm", confirm_all)


def an_answer_of_an_earlier_life_confirms(patch: pytest.MonkeyPatch) -> None:
    heard = Following.push_ack

    def hear(following: Following, answer: PushAck) -> list[Effect]:
        return heard(following, replace(answer, epoch=following.epoch))

    def confirm_all(store: Store, to: ReplyTo, question: Confirm) -> list[Effect]:
        epoch = store[question.collection].peek_place().epoch
        return confirm(store, to, replace(question, epoch=epoch))

    patch.setattr(Following, "push_ack", hear)
    patch.setattr("pivot.core.storage.confirm", confirm_all)


def a_reset_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def ignore(_: Following, __: Reset) -> list[Effect]:
        return []

    patch.setattr(Following, "reset", ignore)


def nothing_is_offered_again_to_a_new_life(patch: pytest.MonkeyPatch) -> None:
    def no_clear(collection: str, _: int) -> Change:
        return SetPlace(collection, Place())  # overwritten by the next change

    patch.setattr("pivot.core.merging.ClearAcks", no_clear)


def what_is_persisted_follows_the_reply(patch: pytest.MonkeyPatch) -> None:
    effects = Decision.effects

    def reversed_order(decision: Decision, result: Result) -> list[Effect]:
        return effects(decision, result)[::-1]

    patch.setattr(Decision, "effects", reversed_order)


def a_failed_commit_is_told_as_kept(patch: pytest.MonkeyPatch) -> None:
    finish = ActorCore.finish

    def pretend(core: ActorCore, now: Now, failure: str | None = None) -> list[Effect]:
        del failure
        return finish(core, now)

    patch.setattr(ActorCore, "finish", pretend)


def a_repeated_push_is_confirmed_though_the_commit_of_the_first_failed(patch: pytest.MonkeyPatch) -> None:
    def merge(store: Store, now: Now, to: ReplyTo, question: MergePushed) -> list[Effect]:
        collection = store[question.collection]
        repeated = all(
            row is not None and row.entry.version >= entry.version
            for entry in question.entries
            for row in (collection.peek(entry.key),)
        )
        effects = merge_pushed(store, now, to, question)
        return [effect for effect in effects if isinstance(effect, Reply)] if repeated else effects

    patch.setattr("pivot.core.storage.merge_pushed", merge)


def a_write_is_stamped_by_wall_time_alone(patch: pytest.MonkeyPatch) -> None:
    def tick(_: HybridClock, *, wall_ns: int, above: int = 0) -> int:
        del above
        return wall_ns

    patch.setattr(HybridClock, "tick", tick)


def a_lost_push_is_not_repeated(patch: pytest.MonkeyPatch) -> None:
    def alive(following: Following, _: Now) -> list[Effect]:
        return following._ack()

    patch.setattr(Following, "alive", alive)


def a_new_subscriber_gets_only_what_is_new(patch: pytest.MonkeyPatch) -> None:
    subscribed = Leading.subscribe

    def subscribe(leading: Leading, now: Now, event: Received, said: Subscribe | Ack) -> list[Effect]:
        return subscribed(leading, now, event, replace(said, cursor=leading.head))

    patch.setattr(Leading, "subscribe", subscribe)


FREQUENT: Final[tuple[Plant, ...]] = (
    the_last_arrival_wins,
    a_page_beyond_the_cursor_is_applied,
    an_answer_confirms_whatever_the_row_is_by_now,
    a_reset_is_ignored,
    nothing_is_offered_again_to_a_new_life,
    what_is_persisted_follows_the_reply,
    a_failed_commit_is_told_as_kept,
    a_write_is_stamped_by_wall_time_alone,
    a_lost_push_is_not_repeated,
    a_new_subscriber_gets_only_what_is_new,
)
"""Found by a few schedules drawn at random; the others, about one in a thousand, have a story in `test_stories`."""
