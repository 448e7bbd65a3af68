"""Collecting: how tombstones end, at the leader that drops them and at the nodes that hear of it.

Layer: core (pure). A leader drops the tombstones that every follower has acknowledged, and raises its floor to the
greatest of them. It begins with that only when the list of followers can be complete: the operator said so, or this
life is older than a follower may be silent. Nothing depends on the list, on clocks or on time: who has not seen what
was collected is turned away, and reads everything again. Start at `collect`.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.collection import (
    Collection,
    DropFollower,
    DropRow,
    Follower,
    Retention,
    SetFollower,
    SetPlace,
    SetRetention,
)
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Reply
from pivot.core.merging import where
from pivot.core.notices import Collected
from pivot.core.questions import Collect, ConfirmFollowers, Decommission, HearFloor, Position, ReplyTo, Retained
from pivot.core.store import Store
from pivot.types import Now, StoreId

DROPS_MAX: Final = 10_000
"""Most tombstones that one commit drops; the others go with the next."""


def collect(store: Store, now: Now, knobs: Knobs, to: ReplyTo, question: Collect) -> list[Effect]:
    """As the leader: note who follows and how far; drop what all of them have seen."""
    collection = store[question.collection]
    decision = Decision(store, to)
    followers = _note(decision, collection, question.followers, knobs.peers_max)
    ttl_ns = round(knobs.member_ttl_s * 1e9)
    for store_id, follower in tuple(followers.items()):
        if now.wall_ns - follower.heard_ns > ttl_ns:
            del followers[store_id]
            decision.stage(DropFollower(collection.path, store_id))
    retention = collection.peek_retention()
    if not retention.since_ns:
        retention = Retention(since_ns=now.wall_ns, known=retention.known)
        decision.stage(SetRetention(collection.path, retention))
    if retention.known or now.wall_ns - retention.since_ns > ttl_ns:
        dropped = _drop(decision, collection, retention, followers.values())
        return decision.effects(Retained(dropped))
    return decision.effects(Retained(0))


def _note(
    decision: Decision, collection: Collection, seen: Iterable[Follower], followers_max: int
) -> dict[StoreId, Follower]:
    """Bring the list up to date; returns it. Who does not fit in any more holds no tombstone back."""
    followers = dict(collection.followers)
    for follower in seen:
        before = followers.get(follower.store)
        if before is not None:
            cursor = max(before.cursor, follower.cursor)
            follower = replace(follower, cursor=cursor, heard_ns=max(before.heard_ns, follower.heard_ns))  # noqa: PLW2901
        for other in tuple(followers.values()):
            if other.name == follower.name and other.store != follower.store:  # the same member with another store
                del followers[other.store]
                decision.stage(DropFollower(collection.path, other.store))
        if follower != before and (before is not None or len(followers) < followers_max):
            followers[follower.store] = follower
            decision.stage(SetFollower(collection.path, follower))
    return followers


def _drop(decision: Decision, collection: Collection, retention: Retention, followers: Iterable[Follower]) -> int:
    """Drop the tombstones that all followers have acknowledged; returns how many."""
    seen = min((follower.cursor for follower in followers), default=collection.head)
    doomed = [
        row
        for row in collection.tombstone_rows()
        if row.seq <= seen and row is collection.peek(row.entry.key)  # not rewritten within this batch
    ][:DROPS_MAX]
    if not doomed:
        return 0
    for row in doomed:
        decision.stage(DropRow(collection.path, row.entry.key, row.seq))
    floor = max(retention.floor, doomed[-1].seq)
    collected = max(retention.collected, *(row.entry.stamp for row in doomed))
    decision.stage(SetRetention(collection.path, replace(retention, floor=floor, collected=collected)))
    decision.report(Collected(collection.path, len(doomed), floor))
    return len(doomed)


def confirm_followers(store: Store, to: ReplyTo, question: ConfirmFollowers) -> list[Effect]:
    """As the leader: the list of followers is complete, the operator says."""
    del question
    decision = Decision(store, to)
    for collection in store.replicated():
        if not collection.follows:
            decision.stage(SetRetention(collection.path, replace(collection.peek_retention(), known=True)))
    return decision.effects(Retained(0))


def decommission(store: Store, to: ReplyTo, question: Decommission) -> list[Effect]:
    """As the leader: a follower will not come back, the operator says."""
    decision = Decision(store, to)
    for collection in store.replicated():
        if question.store in collection.followers:
            decision.stage(DropFollower(collection.path, question.store))
    return decision.effects(Retained(len(decision.changes)))


def hear_floor(store: Store, to: ReplyTo, question: HearFloor) -> list[Effect]:
    """As a node: remember the leader's floor, and drop the tombstones that nobody needs any more."""
    collection = store[question.collection]
    place = collection.peek_place()
    if question.epoch != place.epoch or question.floor <= place.floor:
        return [Reply(to, where(collection))]
    decision = Decision(store, to)
    place = replace(place, floor=question.floor, collected=max(place.collected, question.collected))
    decision.stage(SetPlace(collection.path, place))
    if place.floor <= place.cursor and not store.resyncing(collection.path):
        for row in collection.tombstone_rows():
            if row.acked is not None and row.acked <= place.floor and row is collection.peek(row.entry.key):
                decision.stage(DropRow(collection.path, row.entry.key, row.seq))
    return decision.effects(Position(place, applied=True))
