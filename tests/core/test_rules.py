"""Rules of the protocol: with each of them the promises hold, without it a schedule breaks one.

Where two rules close the same hole, both are switched off, and the comment says which; `COVERED` has rules that another
one makes up for. That acknowledgements within a re-sync do not count (H3), for one, spares work only: whoever is below
the floor is turned away whatever the leader believes of it.

A leader with its old floor (the other half of H7) has no test here: `pivot restore` begins with floor 0,
and a file that is copied back by hand goes on with the followers that it knew then.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.core import lives, mesh_switches, meshes, resyncs, rules, switches
from tests.core.planted import (
    Plant,
    a_failed_commit_is_told_as_kept,
    a_lost_push_is_not_repeated,
    a_page_beyond_the_cursor_is_applied,
    an_answer_confirms_whatever_the_row_is_by_now,
    an_answer_of_an_earlier_life_confirms,
    nothing_is_offered_again_to_a_new_life,
    what_is_persisted_follows_the_reply,
)
from tests.core.world import Violation

RESURRECTED = "should be .*deleted=True.* it is|users see"
DIVERGED = "and yet is not equal|not converged"
FORGOTTEN = "nobody has deleted"
UNCONFIRMED = "believes that"
SKIPPED = "read up to .* without"


class Rule(NamedTuple):
    """A rule: the story that needs it, the switches that turn it off, and which promise breaks then."""

    name: str
    story: Callable[[], None]
    off: tuple[Plant, ...]
    breaks: str


RULES = (
    Rule("R3 seen", rules.a_push_arrives_after_the_deletion_of_its_row_was_collected,
         (switches.a_push_is_merged_whatever_its_sender_had_seen,), RESURRECTED),
    Rule("R3 seen when read", rules.a_row_is_read_for_a_push_before_a_page_that_deletes_it_is_kept,
         (switches.a_push_says_what_its_sender_has_seen_by_now,), RESURRECTED),
    Rule("H5", rules.an_answer_of_an_earlier_life_arrives_late,
         (an_answer_of_an_earlier_life_confirms,), UNCONFIRMED),
    Rule("R6 same version", rules.an_answer_arrives_when_its_row_has_been_written_again,
         (an_answer_confirms_whatever_the_row_is_by_now,), UNCONFIRMED),
    Rule("re-offer", rules.a_leader_loses_its_disk,
         (nothing_is_offered_again_to_a_new_life,), UNCONFIRMED),
    Rule("another life", lives.a_leader_loses_the_end_of_its_feed,
         (switches.a_store_goes_on_in_its_life,), UNCONFIRMED),
    Rule("another life, same numbers", lives.a_leader_loses_the_end_of_its_feed_and_gives_its_numbers_again,
         (switches.a_store_goes_on_in_its_life,), UNCONFIRMED),
    Rule("kept, confirmed", lives.a_leader_loses_what_it_has_confirmed_beyond_the_cursor,
         (switches.what_was_confirmed_above_what_is_kept_stays_so,), UNCONFIRMED),
    Rule("kept, moved on", lives.a_leader_loses_a_change_of_a_row_that_had_moved_on_when_it_was_read,
         (switches.how_far_the_feed_went_when_it_was_read_does_not_matter,), SKIPPED),
    Rule("kept, collected", lives.a_leader_loses_a_deletion_and_that_it_was_collected,
         (switches.how_far_the_feed_went_when_it_was_read_does_not_matter,), SKIPPED),
    Rule("kept", lives.a_leader_begins_another_life_and_has_lost_nothing,
         (switches.nothing_is_kept_of_the_life_before,), "users see"),
    Rule("H6", resyncs.a_reset_arrives_late_after_two_lives,
         (switches.a_reset_counts_whatever_it_answers,), "writes again what its leader had confirmed"),
    Rule("exact start", rules.a_page_is_lost_and_the_next_one_arrives,
         (a_page_beyond_the_cursor_is_applied,), SKIPPED),
    Rule("gap", rules.a_page_is_lost_and_the_next_one_arrives,
         (switches.a_gap_is_not_asked_for_again,), DIVERGED),
    Rule("repeated push", rules.a_push_is_lost,
         (a_lost_push_is_not_repeated,), DIVERGED),
    # Each end alone keeps a node that missed something from reading on: the leader by Gone, the node by re-syncing.
    Rule("H1 R6 below floor", rules.a_member_expires_and_misses_a_deletion,
         (switches.a_leader_streams_from_below_its_floor, switches.a_node_does_not_mind_a_floor_above_its_cursor),
         DIVERGED),
    Rule("H1 node alone", rules.a_member_expires_and_misses_a_deletion,
         (switches.a_node_does_not_mind_a_floor_above_its_cursor,), DIVERGED),
    Rule("H2 floor moves", resyncs.a_floor_moves_during_a_resync,
         (switches.pages_of_one_resync_may_carry_several_floors,), DIVERGED),
    Rule("H2 old page", resyncs.a_page_of_an_earlier_reading_slips_into_a_resync,
         (switches.pages_of_one_resync_may_carry_several_floors,), DIVERGED),
    Rule("H3 no push", resyncs.a_node_connects_again_in_the_middle_of_a_resync,
         (switches.a_node_pushes_during_a_resync_from_its_position,), RESURRECTED),
    Rule("H3 own position", resyncs.a_machine_stops_in_the_middle_of_a_resync,
         (switches.the_position_of_a_resync_is_kept_as_the_cursor,), DIVERGED),
    # A re-sync whose floor is not above the cursor ends at its first page, before it judges what is absent, and what
    # was confirmed beyond that page is not absent.
    Rule("H4", resyncs.a_late_word_that_something_was_collected_arrives_after_recovery,
         (switches.word_that_something_was_collected_always_counts, switches.a_resync_goes_on_above_its_floor,
          mesh_switches.what_lies_beyond_a_resync_is_absent), FORGOTTEN),
    Rule("H7", rules.a_leader_loses_its_disk_and_its_list_of_followers,
         (switches.a_leader_collects_though_followers_may_be_unknown,), RESURRECTED),
    Rule("H8", rules.an_acknowledgement_of_a_wiped_node_arrives_late,
         (switches.followers_are_members_not_stores,), RESURRECTED),
    Rule("H9", resyncs.a_slow_node_writes_again_what_a_peer_has_as_deleted,
         (switches.what_is_written_again_is_stamped_by_our_clock_alone,), UNCONFIRMED),
    Rule("H10 R5 at a node", rules.a_slow_node_writes_a_key_whose_deletion_was_collected,
         (switches.the_greatest_collected_stamp_is_not_remembered,), UNCONFIRMED),
    Rule("H10 R5 at the leader",
         rules.a_leader_whose_clock_went_back_writes_a_key_whose_deletion_was_collected,
         (switches.the_greatest_collected_stamp_is_not_remembered,), UNCONFIRMED),
    Rule("H10 another life", rules.a_slow_node_writes_a_key_whose_deletion_an_earlier_life_collected,
         (switches.a_new_life_forgets_what_earlier_ones_collected,), "users see {}"),
    Rule("H10 H11 ahead", rules.a_key_is_written_whose_deletion_was_collected_and_ahead_of_every_clock,
         (switches.what_is_ahead_is_refused_whatever_was_collected,), "talk without end"),
    Rule("H11 fresh stamp", rules.a_node_writes_while_its_clock_is_an_hour_ahead,
         (switches.a_fresh_stamp_counts_from_everything_seen,), "talk without end"),
    Rule("H11 no author", rules.a_version_from_the_future_has_no_author_any_more,
         (switches.what_is_ahead_is_always_left_to_its_author,), "users see {}"),
    Rule("H11 read again", rules.a_version_from_the_future_is_written_again_below_what_was_read_meanwhile,
         (switches.nothing_is_read_again_after_a_restamp,), SKIPPED),
    Rule("H12", resyncs.pages_of_two_readings_are_mixed,
         (switches.a_resync_ends_where_its_page_says,), FORGOTTEN),
    Rule("R2 confirmed", resyncs.a_confirmed_row_is_absent,
         (switches.absent_rows_stay,), DIVERGED),
    Rule("R2 unconfirmed", resyncs.an_unconfirmed_row_is_absent,
         (switches.absent_rows_stay,), RESURRECTED),
    Rule("R2 unconfirmed, dropped", resyncs.an_unconfirmed_row_is_absent,
         (switches.absent_rows_are_dropped,), "users see"),
    Rule("R2 later", resyncs.an_unconfirmed_row_is_later_than_all_that_was_collected,
         (switches.absent_rows_are_dropped,), FORGOTTEN),
    Rule("R2 later, again", resyncs.an_unconfirmed_row_is_later_than_all_that_was_collected,
         (switches.absent_rows_are_all_written_again,), "for nothing"),
    Rule("R5", rules.a_floor_is_announced_to_a_node_with_a_deletion_of_its_own,
         (switches.a_node_forgets_every_tombstone_when_it_hears_of_a_floor,), SKIPPED),
    Rule("R4", meshes.a_peer_has_what_was_deleted_and_collected,
         (mesh_switches.a_peer_need_not_have_seen_what_was_collected,), RESURRECTED),
    Rule("R2 beyond its end", meshes.a_resync_ends_before_what_another_node_knows_to_be_confirmed,
         (mesh_switches.what_lies_beyond_a_resync_is_absent,), FORGOTTEN),
    Rule("mesh", meshes.a_node_writes_while_the_leader_is_away,
         (mesh_switches.nobody_reads_from_other_nodes,), "others see"),
    Rule("mesh confirmed", meshes.a_node_reads_what_others_know_to_be_confirmed,
         (mesh_switches.what_a_peer_knows_to_be_confirmed_does_not_count,), "offers what its leader has"),
    Rule("persist, then reply", rules.a_machine_stops_before_a_write_is_kept,
         (a_failed_commit_is_told_as_kept,), "acknowledges .* has not kept"),
    Rule("persist, then answer", rules.a_push_is_merged_while_the_leaders_disk_is_full,
         (a_failed_commit_is_told_as_kept,), UNCONFIRMED),
    Rule("persist first", rules.a_machine_stops_before_a_write_is_kept,
         (what_is_persisted_follows_the_reply,), "before it persists"),
)  # fmt: skip


COVERED = (
    (rules.a_member_expires_and_misses_a_deletion, switches.a_leader_streams_from_below_its_floor),
    (resyncs.a_late_word_that_something_was_collected_arrives_after_recovery,
     switches.word_that_something_was_collected_always_counts),
    (resyncs.a_late_word_that_something_was_collected_arrives_after_recovery,
     switches.a_resync_goes_on_above_its_floor),
    (resyncs.a_floor_moves_during_a_resync, switches.acknowledgements_within_a_resync_count),
    (resyncs.a_machine_stops_in_the_middle_of_a_resync, switches.acknowledgements_within_a_resync_count),
)  # fmt: skip


@pytest.mark.parametrize("story", dict.fromkeys(rule.story for rule in RULES), ids=lambda story: story.__name__)
def test_all_promises_are_kept_when(story: Callable[[], None]) -> None:
    story()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_promise_breaks_without(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    for plant in rule.off:
        plant(monkeypatch)
    with pytest.raises(Violation, match=rule.breaks):
        rule.story()


@pytest.mark.parametrize(("story", "off"), COVERED, ids=lambda part: part.__name__)
def test_another_rule_makes_up_for(story: Callable[[], None], off: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    off(monkeypatch)
    story()
