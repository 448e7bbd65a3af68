"""Planted bugs: each function breaks one rule of the protocol, so that the harness can show that it would notice.

Start at `FREQUENT`.
"""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from pivot.actors.core import ActorCore
from pivot.core.clock import HybridClock
from pivot.core.collection import Change, SetCursor
from pivot.core.effects import Effect, Reply
from pivot.core.entry import Entry, fingerprint
from pivot.core.events import Confirm, MergePage, MergePushed, ReplyTo
from pivot.core.following import Following
from pivot.core.leader import LeaderBehaviour
from pivot.core.messages import Page, PushAck, Reset
from pivot.core.storage import StorageBehaviour
from pivot.types import Epoch, Now

Plant = Callable[[pytest.MonkeyPatch], None]


def the_last_arrival_wins(patch: pytest.MonkeyPatch) -> None:
    def differs(entry: Entry, other: Entry) -> bool:
        return entry.version != other.version

    patch.setattr("pivot.core.storage.supersedes", differs)


def a_page_beyond_the_cursor_is_applied(patch: pytest.MonkeyPatch) -> None:
    taken, merged = Following.page, StorageBehaviour._merge_page

    def take(following: Following, now: Now, page: Page) -> list[Effect]:
        return taken(following, now, replace(page, since=min(page.since, following.expected)))

    def merge(storage: StorageBehaviour, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        _, cursor = storage.store[question.collection].peek_cursor()
        return merged(storage, now, to, replace(question, since=cursor))

    patch.setattr(Following, "page", take)
    patch.setattr(StorageBehaviour, "_merge_page", merge)


def an_answer_confirms_whatever_the_row_is_by_now(patch: pytest.MonkeyPatch) -> None:
    confirmed = StorageBehaviour._confirm

    def confirm(storage: StorageBehaviour, to: ReplyTo, question: Confirm) -> list[Effect]:
        rows = {ack.key: storage.store[question.collection].peek(ack.key) for ack in question.acks}
        acks = tuple(
            replace(ack, fingerprint=fingerprint(row.entry))
            for ack in question.acks
            if (row := rows[ack.key]) is not None
        )
        return confirmed(storage, to, replace(question, acks=acks))

    patch.setattr(StorageBehaviour, "_confirm", confirm)


def an_answer_of_an_earlier_life_confirms(patch: pytest.MonkeyPatch) -> None:
    heard, confirmed = Following.push_ack, StorageBehaviour._confirm

    def hear(following: Following, answer: PushAck) -> list[Effect]:
        return heard(following, replace(answer, epoch=following.epoch))

    def confirm(storage: StorageBehaviour, to: ReplyTo, question: Confirm) -> list[Effect]:
        epoch, _ = storage.store[question.collection].peek_cursor()
        return confirmed(storage, to, replace(question, epoch=epoch))

    patch.setattr(Following, "push_ack", hear)
    patch.setattr(StorageBehaviour, "_confirm", confirm)


def a_reset_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def ignore(_: Following, __: Reset) -> list[Effect]:
        return []

    patch.setattr(Following, "reset", ignore)


def nothing_is_offered_again_to_a_new_life(patch: pytest.MonkeyPatch) -> None:
    def no_clear(collection: str) -> Change:
        return SetCursor(collection, Epoch("overwritten by the next change"), 0)

    patch.setattr("pivot.core.storage.ClearAcks", no_clear)


def what_is_persisted_follows_the_reply(patch: pytest.MonkeyPatch) -> None:
    def reversed_order(changes: list[Change], reply: Reply, fresh: list[Entry], reports: list[Effect]) -> list[Effect]:
        return decided(changes, reply, fresh, reports)[::-1]

    decided: Callable[..., list[Effect]] = StorageBehaviour._merge_pushed.__globals__["_decided"]
    patch.setattr("pivot.core.storage._decided", reversed_order)


def a_failed_commit_is_told_as_kept(patch: pytest.MonkeyPatch) -> None:
    finish = ActorCore.finish

    def pretend(core: ActorCore, now: Now, failure: str | None = None) -> list[Effect]:
        del failure
        return finish(core, now)

    patch.setattr(ActorCore, "finish", pretend)


def a_repeated_push_is_confirmed_though_the_commit_of_the_first_failed(patch: pytest.MonkeyPatch) -> None:
    merged = StorageBehaviour._merge_pushed

    def merge(storage: StorageBehaviour, now: Now, to: ReplyTo, question: MergePushed) -> list[Effect]:
        collection = storage.store[question.collection]
        repeated = all(
            row is not None and row.entry.version >= entry.version
            for entry in question.entries
            for row in (collection.peek(entry.key),)
        )
        effects = merged(storage, now, to, question)
        return [effect for effect in effects if isinstance(effect, Reply)] if repeated else effects

    patch.setattr(StorageBehaviour, "_merge_pushed", merge)


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
    subscribed: Callable[..., list[Effect]] = LeaderBehaviour._subscribe

    def subscribe(leader: LeaderBehaviour, sender: object, peer: object, collection: str, _: int) -> list[Effect]:
        return subscribed(leader, sender, peer, collection, leader._heads[collection])

    patch.setattr(LeaderBehaviour, "_subscribe", subscribe)


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
