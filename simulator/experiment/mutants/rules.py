"""Rules: mutants that turn one rule of following, of lives or of collecting off.

Layer: simulator/experiment/mutants. Each function plants one bug, as in `ring`. The tests of the core plant some of
these too, in schedules of their own.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from pivot.core import collecting, merging, storage
from pivot.core.collection import (
    Change,
    ClearAcks,
    Collection,
    DropRow,
    Place,
    PutRow,
    Retention,
    Row,
    SetPlace,
    SetRetention,
)
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Persist, Reply
from pivot.core.entry import Entry, fingerprint
from pivot.core.events import Received
from pivot.core.following import Following
from pivot.core.leading import Flow, Leading
from pivot.core.lineage import Lineage
from pivot.core.messages import Ack, Page, PushAck, Reset, Subscribe
from pivot.core.questions import (
    Confirm,
    FollowEpoch,
    HearFloor,
    MergePage,
    MergePushed,
    MergeResync,
    ReplyTo,
)
from pivot.core.resync import Resync
from pivot.core.store import Store
from pivot.types import Epoch, Now
from simulator.experiment.mutants.mutant import Mark, Seams

SEQ_MAX: Final = 2**63 - 1

# Reading -------------------------------------------------------------------------------------------------------------


def a_page_beyond_the_cursor_is_applied(seams: Seams, mark: Mark) -> None:
    """A page is merged although one before it is missing."""
    page, merge = Following.page, merging.merge_page

    def page_(following: Following, now: Now, said: Page) -> list[Effect]:
        mark.note(said.since > following.expected)
        return page(following, now, replace(said, since=min(said.since, following.expected)))

    def merge_(store: Store, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        cursor = store[question.collection].peek_place().cursor
        return merge(store, now, to, replace(question, since=cursor))

    seams.setattr(Following, "page", page_)
    seams.setattr(storage, "merge_page", merge_)


def a_gap_is_not_asked_for_again(seams: Seams, mark: Mark) -> None:
    """Who misses a page waits for it."""

    def wait(following: Following, now: Now) -> list[Effect]:
        del following, now
        mark.note()
        return []

    seams.setattr(Following, "_resubscribe", wait)


def a_new_subscriber_gets_only_what_is_new(seams: Seams, mark: Mark) -> None:
    """A leader feeds from its head on, wherever the node is."""
    subscribe = Leading.subscribe

    def subscribe_(leading: Leading, now: Now, event: Received, said: Subscribe | Ack) -> list[Effect]:
        mark.note(said.cursor < leading.head)
        return subscribe(leading, now, event, replace(said, cursor=leading.head))

    seams.setattr(Leading, "subscribe", subscribe_)


# Offering ------------------------------------------------------------------------------------------------------------


def an_answer_confirms_whatever_the_row_is_by_now(seams: Seams, mark: Mark) -> None:
    """An answer to a push confirms its keys, also if they were written again since."""
    confirm = merging.confirm

    def confirm_(store: Store, to: ReplyTo, question: Confirm) -> list[Effect]:
        rows = {ack.key: store[question.collection].peek(ack.key) for ack in question.acks}
        acks = tuple(
            replace(ack, fingerprint=fingerprint(row.entry))
            for ack in question.acks
            if (row := rows[ack.key]) is not None
        )
        mark.note(any(ack not in question.acks for ack in acks))
        return confirm(store, to, replace(question, acks=acks))

    seams.setattr(storage, "confirm", confirm_)


def an_answer_of_an_earlier_life_confirms(seams: Seams, mark: Mark) -> None:
    """What a leader confirmed before it lost its disk counts afterwards."""
    heard, confirm = Following.push_ack, merging.confirm

    def hear(following: Following, answer: PushAck) -> list[Effect]:
        mark.note(answer.epoch != following.epoch)
        return heard(following, replace(answer, epoch=following.epoch))

    def confirm_(store: Store, to: ReplyTo, question: Confirm) -> list[Effect]:
        epoch = store[question.collection].peek_place().epoch
        mark.note(epoch != question.epoch)
        return confirm(store, to, replace(question, epoch=epoch))

    seams.setattr(Following, "push_ack", hear)
    seams.setattr(storage, "confirm", confirm_)


def a_push_is_merged_whatever_its_sender_had_seen(seams: Seams, mark: Mark) -> None:
    """A leader takes a push from before deletions that it has collected."""
    merge = merging.merge_pushed

    def merge_(store: Store, now: Now, to: ReplyTo, question: MergePushed) -> list[Effect]:
        floor = store[question.collection].peek_retention().floor
        seen = floor if question.seen is None else question.seen
        mark.note(seen < floor)
        return merge(store, now, to, replace(question, seen=max(seen, floor)))

    seams.setattr(storage, "merge_pushed", merge_)


def a_repeated_push_is_confirmed_though_the_commit_of_the_first_failed(seams: Seams, mark: Mark) -> None:
    """What is staged counts as kept when a push is repeated."""
    merge = merging.merge_pushed

    def merge_(store: Store, now: Now, to: ReplyTo, question: MergePushed) -> list[Effect]:
        collection = store[question.collection]
        repeated = all(
            row is not None and row.entry.version >= entry.version
            for entry in question.entries
            for row in (collection.peek(entry.key),)
        )
        effects = merge(store, now, to, question)
        if not repeated:
            return effects
        mark.note(any(isinstance(effect, Persist) for effect in effects))
        return [effect for effect in effects if isinstance(effect, Reply)]

    seams.setattr(storage, "merge_pushed", merge_)


# Lives ---------------------------------------------------------------------------------------------------------------


def a_reset_is_ignored(seams: Seams, mark: Mark) -> None:
    """A node does not follow its leader into another life."""

    def ignore(following: Following, reset: Reset) -> list[Effect]:
        del following, reset
        mark.note()
        return []

    seams.setattr(Following, "reset", ignore)


def nothing_is_offered_again_to_a_new_life(seams: Seams, mark: Mark) -> None:
    """A node that follows a new life forgets that what the old one confirmed may be gone."""

    def no_clear(collection: str, kept: int) -> Change:
        del kept
        mark.note()
        return SetPlace(collection, Place())  # overwritten by the next change

    seams.setattr(merging, "ClearAcks", no_clear)


def what_was_confirmed_above_what_is_kept_stays_so(seams: Seams, mark: Mark) -> None:
    """If a leader has kept anything of its earlier life, it counts as having kept all."""

    def keep(collection: str, kept: int) -> ClearAcks:
        mark.note(kept)
        return ClearAcks(collection, SEQ_MAX if kept else 0)

    seams.setattr(merging, "ClearAcks", keep)


def how_far_the_feed_went_when_it_was_read_does_not_matter(seams: Seams, mark: Mark) -> None:
    """A node reads on from its cursor in any other life."""
    follow = merging.follow_epoch

    def follow_(store: Store, to: ReplyTo, question: FollowEpoch) -> list[Effect]:
        collection = store[question.collection]
        mark.note(collection.place.head > question.kept)
        collection.place = replace(collection.place, head=0)
        return follow(store, to, question)

    seams.setattr(storage, "follow_epoch", follow_)


def every_life_is_the_beginning_of_this_one(seams: Seams, mark: Mark) -> None:
    """A leader claims to have all of any other life."""
    kept = Lineage.kept

    def kept_(lineage: Lineage, epoch: Epoch) -> int:
        mark.note(epoch and kept(lineage, epoch) != SEQ_MAX)
        return SEQ_MAX

    seams.setattr(Lineage, "kept", kept_)


# Collecting ----------------------------------------------------------------------------------------------------------


def nobody_minds_what_was_collected(seams: Seams, mark: Mark) -> None:
    """Who is below the floor reads on as if nothing had been collected."""
    a_leader_streams_from_below_its_floor(seams, mark)
    a_node_does_not_mind_a_floor_above_its_cursor(seams, mark)


def a_leader_streams_from_below_its_floor(seams: Seams, mark: Mark) -> None:
    """A leader sends whoever asks what follows his cursor."""
    may_read = Leading._may_read

    def always(leading: Leading, flow: Flow) -> bool:
        mark.note(not may_read(leading, flow))
        return True

    seams.setattr(Leading, "_may_read", always)


def a_node_does_not_mind_a_floor_above_its_cursor(seams: Seams, mark: Mark) -> None:
    """A node reads on though it has heard that it missed something."""
    merge, hear = merging.merge_page, Following._missed

    def never(following: Following) -> bool:
        mark.note(hear(following))
        following.resync = None
        return False

    def merge_(store: Store, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        collection = store[question.collection]
        place, reached = collection.place, question.since
        collection.place = replace(place, floor=min(place.floor, reached))
        effects = merge(store, now, to, replace(question, floor=0))
        collection.place = place
        return effects

    seams.setattr(Following, "_missed", never)
    seams.setattr(storage, "merge_page", merge_)


def a_resync_ends_where_its_page_says(seams: Seams, mark: Mark) -> None:
    """What is absent is judged although the leader's feed has grown beyond."""
    ends = Resync.ends

    def ends_(resync: Resync, page: Page) -> bool:
        here = page.next >= page.head
        mark.note(here != ends(resync, page))
        return here

    seams.setattr(Resync, "ends", ends_)


def a_resync_is_judged_after_its_first_page(seams: Seams, mark: Mark) -> None:
    """What the first page does not have counts as absent."""
    ends = Resync.ends

    def ends_(resync: Resync, page: Page) -> bool:
        mark.note(not ends(resync, page))
        return True

    seams.setattr(Resync, "ends", ends_)


def absent_rows_stay(seams: Seams, mark: Mark) -> None:
    """After a re-sync nothing is forgotten, also if its deletion was collected."""

    def stay(decision: Decision, now: Now, collection: Collection, row: Row, question: MergeResync) -> None:
        del decision, now, collection
        mark.note(row.acked is not None or row.entry.stamp <= question.collected)

    seams.setattr(merging, "_judge_absent", stay)


def absent_rows_are_dropped(seams: Seams, mark: Mark) -> None:
    """After a re-sync everything is forgotten that the leader does not have, also what it was never offered."""

    def forget(decision: Decision, now: Now, collection: Collection, row: Row, question: MergeResync) -> None:
        del now
        mark.note(row.acked is None or row.acked > question.next)
        decision.stage(DropRow(collection.path, row.entry.key, row.seq))

    seams.setattr(merging, "_judge_absent", forget)


def a_node_forgets_every_tombstone_when_it_hears_of_a_floor(seams: Seams, mark: Mark) -> None:
    """A node drops deletions that its leader has not confirmed."""
    hear = collecting.hear_floor

    def hear_(store: Store, to: ReplyTo, question: HearFloor) -> list[Effect]:
        collection = store[question.collection]
        for row in collection.tombstone_rows():
            if row.acked is None:
                mark.note()
                collection.apply(PutRow(collection.path, Row(row.entry, row.seq, question.floor)))
        return hear(store, to, question)

    seams.setattr(storage, "hear_floor", hear_)


def the_greatest_collected_stamp_is_not_remembered(seams: Seams, mark: Mark) -> None:
    """A write may be less than a deletion of its key that was collected."""
    version = Store.next_version

    def next_version(store: Store, wall_ns: int, key: str, data: str | None) -> Entry:
        collection = store.collection_of(key)
        place, retention = collection.place, collection.retention
        collection.place, collection.retention = replace(place, collected=0), Retention()
        entry = version(store, wall_ns, key, data)
        mark.note(collection.peek(key) is None and entry.stamp <= max(place.collected, retention.collected))
        collection.place, collection.retention = place, retention
        return entry

    seams.setattr(Store, "next_version", next_version)


def the_floor_is_lost_at_a_restart(seams: Seams, mark: Mark) -> None:
    """A leader that starts again does not know that it has collected tombstones."""
    load = Store._load

    def load_(store: Store, changes: Iterable[Change]) -> None:
        kept: list[Change] = []
        for change in changes:
            if isinstance(change, SetRetention):
                mark.note(change.retention.floor)
                change = replace(change, retention=replace(change.retention, floor=0, collected=0))  # noqa: PLW2901
            kept.append(change)
        load(store, kept)

    seams.setattr(Store, "_load", load_)


# Reporting -----------------------------------------------------------------------------------------------------------


def a_lost_update_is_not_reported(seams: Seams, mark: Mark) -> None:
    """Of two versions whose writers had not seen each other one is superseded, and nobody says so."""
    conflict = Store.conflict

    def find(store: Store, row: Row | None, entry: Entry) -> None:
        mark.note(conflict(store, row, entry) is not None)

    seams.setattr(Store, "conflict", find)
