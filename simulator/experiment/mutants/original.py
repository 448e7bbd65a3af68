"""Original: a model of how the Go project this one answers to synchronizes, as a mutant of ours.

Layer: simulator/experiment/mutants. Its rules, as they were observed: a list has one timestamp, the greatest in it; the
side with the greater one replaces the list of the other; what is absent there was deleted there; what could not be sent
when it was written is not sent again, until such a comparison. A comparison happens when the leader changes. Start at
`ORIGINAL`; `sync_by_list` plants it.

The model is of S1 to S4, what a node and its leader write apart from each other: which writes are lost, and who differs
at the end. Everything else (clocks, tombstones, restarts, transport) is ours.
"""

from typing import Final

from msgspec.structs import replace

from pivot.core import merging, storage
from pivot.core.collection import FeedSlice, Row
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Persist
from pivot.core.following import Following
from pivot.core.messages import Page
from pivot.core.questions import MergePage, MergePushed, Position, ReplyTo
from pivot.core.store import Store
from pivot.types import Now
from simulator.experiment.mutants.mutant import Mark, Mutant, Seams


def sync_by_list(seams: Seams, mark: Mark) -> None:
    """The side whose list has the greatest timestamp replaces the other's list."""
    merge_page, merge_pushed = merging.merge_page, merging.merge_pushed
    offer_all, push, placed = Following._offer_all, Following._push, Following._placed
    too_late: list[Following] = []  # what waits in their outboxes is not sent again
    newer: dict[tuple[str, int], None] = {}  # pages at which a node's list was the newer one: (collection, its end)
    absent: dict[tuple[str, int], tuple[str, ...]] = {}  # (collection, stamp of that list) -> keys that it lacks

    def merge_page_(store: Store, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        collection = store[question.collection]
        rows = [row for key in tuple(collection.peek_keys()) if (row := collection.peek(key)) is not None]
        ours = [row for row in rows if row.acked is None]
        if not ours or not question.entries or question.since != collection.peek_place().cursor:
            return merge_page(store, now, to, question)
        mark.note()
        stamp, theirs = _stamp(ours), {entry.key: entry.stamp for entry in question.entries}
        if max(theirs.values()) > stamp:  # their list replaces ours
            effects = merge_page(store, now, to, question)
            return [
                *_drop(store, to, question.collection, [r.entry.key for r in ours if r.entry.key not in theirs]),
                *effects,
            ]
        have = {row.entry.key: None for row in rows}
        newer[question.collection, question.next] = None  # ours will replace theirs
        absent[question.collection, stamp] = tuple(key for key in theirs if key not in have)
        return merge_page(store, now, to, replace(question, entries=(), seqs=()))

    def merge_pushed_(store: Store, now: Now, to: ReplyTo, question: MergePushed) -> list[Effect]:
        effects = merge_pushed(store, now, to, question)
        stamp = max((entry.stamp for entry in question.entries), default=0)
        keys = absent.pop((question.collection, stamp), ())
        return [*_drop(store, to, question.collection, keys), *effects]

    def offer_all_(following: Following, now: Now) -> list[Effect]:
        if not any(each is following for each in too_late):
            too_late.append(following)
        return offer_all(following, now)

    def push_(following: Following, now: Now, piece: FeedSlice) -> list[Effect]:
        if not any(each is following for each in too_late):
            return push(following, now, piece)
        if piece.rows:
            mark.note()
            following.offered = piece.rows[-1].seq
            return following.offer()
        too_late[:] = [each for each in too_late if each is not following]
        return []

    def placed_(following: Following, now: Now, position: Position) -> list[Effect]:
        effects = placed(following, now, position)
        if (following.path, position.place.cursor) not in newer:
            return effects
        too_late[:] = [each for each in too_late if each is not following]
        following.offered = 0
        following.under_way.clear()
        return effects + following.offer()

    def compare_(following: Following, page: Page) -> list[Effect]:
        del following, page
        return []

    seams.setattr(storage, "merge_page", merge_page_)
    seams.setattr(storage, "merge_pushed", merge_pushed_)
    seams.setattr(Following, "_offer_all", offer_all_)
    seams.setattr(Following, "_push", push_)
    seams.setattr(Following, "_placed", placed_)
    seams.setattr(Following, "_compare", compare_)


def _stamp(rows: list[Row]) -> int:
    return max(row.entry.stamp for row in rows)


def _drop(store: Store, to: ReplyTo, path: str, keys: tuple[str, ...] | list[str]) -> list[Effect]:
    """Forget these keys: the other side does not have them."""
    decision = Decision(store, to)
    for key in keys:
        row = store[path].peek(key)
        if row is not None:
            merging.drop(decision, store[path], row, "the newer list does not have it")
    return [Persist(tuple(decision.changes))] if decision.changes else []


ORIGINAL: Final = Mutant(
    plant=sync_by_list,
    breaks="G2",
    checkers=("lost write", "convergence", "replica monotonicity", "durability", "outbox"),
    nemeses=("partition",),
)
