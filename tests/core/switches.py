"""Switches: each function turns one rule of the protocol off, so that its story in `rules` or `resyncs` breaks.

Unlike the bugs in `planted`, these are rules that few schedules need. Start at `test_rules`, which says what belongs
together.
"""

import pytest
from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core import merging
from pivot.core.collecting import collect
from pivot.core.collection import (
    Collection,
    DropRow,
    FeedSlice,
    Row,
    SetPlace,
    SetRetention,
)
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Persist, Reply
from pivot.core.entry import Entry
from pivot.core.events import Received
from pivot.core.following import Following, Purpose
from pivot.core.leader import LeaderBehaviour
from pivot.core.leading import Leading
from pivot.core.lineage import Lineage
from pivot.core.merging import follow_epoch, merge_resync, restamp
from pivot.core.messages import Ack, Gone, Page, Reset, Stale, Subscribe
from pivot.core.questions import (
    Collect,
    FollowEpoch,
    MergeResync,
    Position,
    ReplyTo,
    Restamp,
    Result,
)
from pivot.core.resync import Resync, Verdict
from pivot.core.store import Store
from pivot.types import Epoch, Now
from simulator.experiment.mutants import ring, rules
from tests.core.planted import plain

# What nodes push -----------------------------------------------------------------------------------------------------


a_push_is_merged_whatever_its_sender_had_seen = plain(rules.a_push_is_merged_whatever_its_sender_had_seen)


def a_push_says_what_its_sender_has_seen_by_now(patch: pytest.MonkeyPatch) -> None:
    push = Following._push

    def push_(following: Following, now: Now, piece: FeedSlice) -> list[Effect]:
        place = replace(piece.place, cursor=following.place.cursor)
        return push(following, now, replace(piece, place=place))

    patch.setattr(Following, "_push", push_)


def a_node_pushes_during_a_resync_from_its_position(patch: pytest.MonkeyPatch) -> None:
    offer, push = Following.offer, Following._push

    def offer_(following: Following) -> list[Effect]:
        resync, following.resync = following.resync, None
        effects = offer(following)
        following.resync = resync
        return effects

    def push_(following: Following, now: Now, piece: FeedSlice) -> list[Effect]:
        resync, following.resync = following.resync, None
        if resync is not None:
            piece = replace(piece, place=replace(piece.place, cursor=resync.position))
        effects = push(following, now, piece)
        following.resync = resync
        return effects

    patch.setattr(Following, "offer", offer_)
    patch.setattr(Following, "_push", push_)


def a_reset_counts_whatever_it_answers(patch: pytest.MonkeyPatch) -> None:
    reset = Following.reset

    def believe(following: Following, said: Reset) -> list[Effect]:
        return reset(following, replace(said, answers=following.epoch))

    patch.setattr(Following, "reset", believe)


# What a leader has lost ----------------------------------------------------------------------------------------------


a_store_goes_on_in_its_life = plain(ring.log_truncated_without_epoch)


what_was_confirmed_above_what_is_kept_stays_so = plain(rules.what_was_confirmed_above_what_is_kept_stays_so)


how_far_the_feed_went_when_it_was_read_does_not_matter = plain(
    rules.how_far_the_feed_went_when_it_was_read_does_not_matter
)


def nothing_is_kept_of_the_life_before(patch: pytest.MonkeyPatch) -> None:
    def nothing(_: Lineage, __: Epoch) -> int:
        return 0

    patch.setattr(Lineage, "kept", nothing)


# What is read, and from where ----------------------------------------------------------------------------------------


a_leader_streams_from_below_its_floor = plain(rules.a_leader_streams_from_below_its_floor)
a_node_does_not_mind_a_floor_above_its_cursor = plain(rules.a_node_does_not_mind_a_floor_above_its_cursor)


def pages_of_one_resync_may_carry_several_floors(patch: pytest.MonkeyPatch) -> None:
    hear, judge, question = Following._hear, Resync.judge, Resync.question

    def hear_(following: Following, now: Now, floor: int, collected: int) -> list[Effect]:
        return [] if following.resync is not None else hear(following, now, floor, collected)

    def judge_(resync: Resync, page: Page) -> Verdict:
        return judge(resync, replace(page, floor=resync.floor))

    def question_(resync: Resync, page: Page) -> MergeResync:
        return question(resync, replace(page, floor=resync.floor))

    patch.setattr(Following, "_hear", hear_)
    patch.setattr(Resync, "judge", judge_)
    patch.setattr(Resync, "question", question_)


def the_position_of_a_resync_is_kept_as_the_cursor(patch: pytest.MonkeyPatch) -> None:
    def merge(store: Store, now: Now, to: ReplyTo, question: MergeResync) -> list[Effect]:
        effects = merge_resync(store, now, to, question)
        result = next(effect.result for effect in effects if isinstance(effect, Reply))
        if question.last or not isinstance(result, Position) or not result.applied:
            return effects
        place = replace(result.place, cursor=question.next)
        moved = Persist((store.stage(SetPlace(question.collection, place)),))
        kept: list[Effect] = [effect for effect in effects if isinstance(effect, Persist)]
        return [*kept, moved, Reply(to, Position(place, applied=True))]

    patch.setattr("pivot.core.storage.merge_resync", merge)


def word_that_something_was_collected_always_counts(patch: pytest.MonkeyPatch) -> None:
    gone = Following.gone

    def believe(following: Following, now: Now, said: Gone | Stale) -> list[Effect]:
        if following.resync is None and said.epoch == following.epoch:
            following.resync = Resync(following.place.floor)
            return following._subscribe(now)
        return gone(following, now, said)

    patch.setattr(Following, "gone", believe)


def a_resync_goes_on_above_its_floor(patch: pytest.MonkeyPatch) -> None:
    resynced = Following._resynced

    def go_on(following: Following, now: Now, purpose: Purpose, result: Result) -> list[Effect]:
        resync = following.resync
        applied = isinstance(result, Position) and result.applied
        if resync is None or not applied or purpose.ordinal >= resync.head:
            return resynced(following, now, purpose, result)
        resync.position = purpose.ordinal
        return following._ack()

    patch.setattr(Following, "_resynced", go_on)


a_resync_ends_where_its_page_says = plain(rules.a_resync_ends_where_its_page_says)


absent_rows_stay = plain(rules.absent_rows_stay)


absent_rows_are_dropped = plain(rules.absent_rows_are_dropped)


def _write_again(decision: Decision, entry: Entry, stamp: int) -> None:
    decision.take(replace(entry, updated=stamp, prev=entry.stamp, origin=decision.store.id), acked=None)


def absent_rows_are_all_written_again(patch: pytest.MonkeyPatch) -> None:
    def again(decision: Decision, now: Now, collection: Collection, row: Row, question: MergeResync) -> None:
        if row.acked is not None:
            decision.stage(DropRow(collection.path, row.entry.key, row.seq))
        else:
            above = max(question.clock, question.collected, row.entry.stamp)
            _write_again(decision, row.entry, decision.store.clock.tick(wall_ns=now.wall_ns, above=above))

    patch.setattr("pivot.core.merging._judge_absent", again)


def what_is_written_again_is_stamped_by_our_clock_alone(patch: pytest.MonkeyPatch) -> None:
    def again(decision: Decision, now: Now, _: Collection, row: Row, __: MergeResync) -> None:
        if row.acked is None:
            stamp = decision.store.clock.tick(wall_ns=now.wall_ns, above=row.entry.stamp)
            _write_again(decision, row.entry, stamp)

    patch.setattr("pivot.core.merging._judge_absent", again)


a_gap_is_not_asked_for_again = plain(rules.a_gap_is_not_asked_for_again)


# Followers and tombstones --------------------------------------------------------------------------------------------


def followers_are_members_not_stores(patch: pytest.MonkeyPatch) -> None:
    received = LeaderBehaviour._received

    def receive(leader: LeaderBehaviour, now: Now, event: Received) -> list[Effect]:
        peer = leader._peers.get(event.sender)
        if peer is not None and isinstance(event.body, Ack):
            event = replace(event, store=peer.store)
        return received(leader, now, event)

    patch.setattr(LeaderBehaviour, "_received", receive)


def acknowledgements_within_a_resync_count(patch: pytest.MonkeyPatch) -> None:
    note = Leading._note

    def count(leading: Leading, now: Now, event: Received, said: Subscribe | Ack) -> None:
        note(leading, now, event, replace(said, resync=False))

    patch.setattr(Leading, "_note", count)


def a_leader_collects_though_followers_may_be_unknown(patch: pytest.MonkeyPatch) -> None:
    def collect_(store: Store, now: Now, knobs: Knobs, to: ReplyTo, question: Collect) -> list[Effect]:
        collection = store[question.collection]
        since_ns = collection.retention.since_ns or now.wall_ns
        collection.apply(
            SetRetention(question.collection, replace(collection.retention, since_ns=since_ns, known=True))
        )
        return collect(store, now, knobs, to, question)

    patch.setattr("pivot.core.storage.collect", collect_)


a_node_forgets_every_tombstone_when_it_hears_of_a_floor = plain(
    rules.a_node_forgets_every_tombstone_when_it_hears_of_a_floor
)


the_greatest_collected_stamp_is_not_remembered = plain(rules.the_greatest_collected_stamp_is_not_remembered)


def a_new_life_forgets_what_earlier_ones_collected(patch: pytest.MonkeyPatch) -> None:
    def follow(store: Store, to: ReplyTo, question: FollowEpoch) -> list[Effect]:
        collection = store[question.collection]
        collection.place = replace(collection.place, collected=0)
        return follow_epoch(store, to, question)

    patch.setattr("pivot.core.storage.follow_epoch", follow)


# Clocks ----------------------------------------------------------------------------------------------------


def a_fresh_stamp_counts_from_everything_seen(patch: pytest.MonkeyPatch) -> None:
    def keep(_: Store, __: int) -> None:
        pass

    patch.setattr(Store, "settle_clock", keep)


def what_is_ahead_is_always_left_to_its_author(patch: pytest.MonkeyPatch) -> None:
    def leave(store: Store, now: Now, to: ReplyTo, question: Restamp) -> list[Effect]:
        held = tuple(replace(row, held=True) for row in question.rejected)
        return restamp(store, now, to, replace(question, rejected=held))

    patch.setattr("pivot.core.storage.restamp", leave)


def nothing_is_read_again_after_a_restamp(patch: pytest.MonkeyPatch) -> None:
    def stay(store: Store, now: Now, to: ReplyTo, question: Restamp) -> list[Effect]:
        place = store[question.collection].peek_place()
        effects = restamp(store, now, to, question)
        back = SetPlace(question.collection, place)
        kept: list[Effect] = []
        for effect in effects:
            match effect:
                case Persist():
                    kept.append(Persist((*effect.changes, store.stage(back))))
                case Reply(result=Position()):
                    kept.append(Reply(to, Position(place, applied=True)))
                case _:
                    kept.append(effect)
        return kept

    patch.setattr("pivot.core.storage.restamp", stay)


def what_is_ahead_is_refused_whatever_was_collected(patch: pytest.MonkeyPatch) -> None:
    ahead = merging._ahead

    def refuse(store: Store, now: Now, entry: Entry, *, collected: int = 0) -> str:
        del collected
        return ahead(store, now, entry)

    patch.setattr("pivot.core.merging._ahead", refuse)
