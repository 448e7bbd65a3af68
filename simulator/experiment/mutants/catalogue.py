"""Catalogue: every mutant, which guarantee or rule it breaks, who must see it, and which faults that takes.

Layer: simulator/experiment/mutants. Start at `MUTANTS`.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from simulator.errors import UnknownBugError
from simulator.experiment.mutants import directed, machinery, ring, rules
from simulator.experiment.mutants.mutant import Mutant

RING: Final = (
    Mutant(
        plant=ring.tie_by_arrival,
        breaks="G1",
        checkers=("last write wins", "replica monotonicity", "broken", "convergence"),
    ),
    Mutant(
        plant=ring.echo_loop,
        directed=directed.one_write,
        costly=True,
        breaks="G1",
        checkers=("outbox", "quiescence", "convergence"),
    ),
    Mutant(
        plant=ring.blind_overwrite,
        breaks="G2",
        checkers=("replica monotonicity", "lost write", "last write wins", "resurrection"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=ring.delete_always_wins,
        breaks="G2",
        checkers=("replica monotonicity", "lost write", "broken", "convergence"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=ring.update_beats_tombstone,
        breaks="G3",
        checkers=("resurrection", "broken", "convergence"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=ring.wall_clock_only,
        breaks="G5",
        checkers=("monotonic writes", "writes follow reads", "replica monotonicity", "lost write", "resurrection"),
        nemeses=("skew",),
    ),
    Mutant(
        plant=ring.leader_restamps,
        breaks="G1",
        checkers=("invented", "last write wins", "lost write"),
    ),
    Mutant(
        plant=ring.tombstone_dropped,
        breaks="G3",
        checkers=("resurrection", "broken", "convergence"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=ring.tombstone_gc_early,
        breaks="R1",
        checkers=("resurrection", "broken", "convergence"),
        nemeses=("partition", "collect"),
    ),
    Mutant(
        plant=ring.pull_deletes_missing,
        directed=directed.the_first_page_meets_what_is_not_offered,
        breaks="G2",
        checkers=("lost write", "replica monotonicity", "durability", "broken"),
        nemeses=("wipe", "crash"),
    ),
    Mutant(
        plant=ring.ack_before_fsync,
        directed=directed.a_write_and_a_crash,
        breaks="G2",
        checkers=("durability", "lost write", "resurrection"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=ring.fsync_every_n, breaks="G2", checkers=("durability", "lost write", "resurrection"), nemeses=("crash",)
    ),
    Mutant(
        plant=ring.outbox_not_persisted, breaks="G2", checkers=("broken", "convergence"), nemeses=("crash", "partition")
    ),
    Mutant(
        plant=ring.log_truncated_without_epoch,
        directed=directed.a_leader_loses_its_last_commits_and_goes_on,
        breaks="G1",
        checkers=("convergence", "broken", "lost write"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=ring.ack_clears_all,
        directed=directed.an_answer_arrives_after_another_write,
        breaks="G2",
        checkers=("convergence", "broken", "lost write"),
    ),
    Mutant(
        plant=ring.cursor_past_failed_entry, breaks="G6", checkers=("broken", "convergence"), nemeses=("partition",)
    ),
    Mutant(
        plant=ring.originator_filter_forever,
        directed=directed.a_node_forgets_what_it_wrote,
        breaks="G1",
        checkers=("broken", "convergence"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=ring.poke_one_shot,
        breaks="G1",
        checkers=("outbox", "convergence"),
        nemeses=("weather",),
    ),
    Mutant(
        plant=ring.health_never_rechecks,
        breaks="G1",
        checkers=("convergence", "outbox"),
        nemeses=("partition",),
    ),
)
"""The first ring."""
RULES: Final = (
    Mutant(
        plant=rules.a_page_beyond_the_cursor_is_applied,
        breaks="G6",
        checkers=("broken", "convergence"),
        nemeses=("lose",),
    ),
    Mutant(
        plant=rules.a_gap_is_not_asked_for_again, breaks="G1", checkers=("convergence", "staleness"), nemeses=("lose",)
    ),
    Mutant(
        plant=rules.a_new_subscriber_gets_only_what_is_new,
        breaks="G6",
        checkers=("broken", "convergence"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=rules.an_answer_confirms_whatever_the_row_is_by_now,
        directed=directed.an_answer_arrives_after_another_write,
        breaks="G2",
        checkers=("broken", "convergence"),
    ),
    Mutant(
        plant=rules.an_answer_of_an_earlier_life_confirms,
        directed=directed.an_answer_arrives_after_another_life_began,
        breaks="G2",
        checkers=("broken", "convergence"),
        nemeses=("wipe", "reorder"),
    ),
    Mutant(
        plant=rules.a_push_is_merged_whatever_its_sender_had_seen,
        breaks="G3",
        checkers=("resurrection", "broken", "convergence"),
        nemeses=("collect", "partition"),
    ),
    Mutant(
        plant=rules.a_repeated_push_is_confirmed_though_the_commit_of_the_first_failed,
        directed=directed.a_push_arrives_twice_while_a_disk_fails,
        breaks="G2",
        checkers=("broken", "convergence"),
        nemeses=("disk", "duplicate"),
    ),
    Mutant(
        plant=rules.a_reset_is_ignored,
        breaks="G1",
        checkers=("convergence",),
        nemeses=("crash",),
    ),
    Mutant(
        plant=rules.nothing_is_offered_again_to_a_new_life,
        breaks="G2",
        checkers=("convergence", "broken", "lost write"),
        nemeses=("wipe",),
    ),
    Mutant(
        plant=rules.what_was_confirmed_above_what_is_kept_stays_so,
        breaks="G2",
        checkers=("convergence", "broken", "lost write"),
        nemeses=("lies", "wipe"),
    ),
    Mutant(
        plant=rules.how_far_the_feed_went_when_it_was_read_does_not_matter,
        breaks="G6",
        checkers=("convergence", "broken"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=rules.every_life_is_the_beginning_of_this_one,
        breaks="G2",
        checkers=("convergence", "broken", "lost write"),
        nemeses=("wipe",),
    ),
    Mutant(
        plant=rules.nobody_minds_what_was_collected,
        breaks="G3",
        checkers=("resurrection", "convergence", "broken"),
        nemeses=("collect", "partition"),
    ),
    Mutant(
        plant=rules.a_resync_ends_where_its_page_says,
        directed=directed.pages_of_two_readings_are_mixed,
        breaks="G2",
        checkers=("monotonic reads", "lost write", "replica monotonicity", "durability"),
        nemeses=("collect", "partition", "reorder"),
    ),
    Mutant(
        plant=rules.a_resync_is_judged_after_its_first_page,
        directed=directed.a_node_is_away_while_tombstones_are_collected,
        breaks="G2",
        checkers=("convergence", "replica monotonicity", "lost write"),
        nemeses=("collect", "partition", "knobs"),
    ),
    Mutant(
        plant=rules.absent_rows_stay,
        breaks="G3",
        checkers=("resurrection", "convergence", "broken"),
        nemeses=("collect", "partition"),
    ),
    Mutant(
        plant=rules.absent_rows_are_dropped,
        breaks="G2",
        checkers=("lost write", "resurrection", "replica monotonicity"),
        nemeses=("collect", "partition"),
    ),
    Mutant(
        plant=rules.a_node_forgets_every_tombstone_when_it_hears_of_a_floor,
        breaks="G3",
        checkers=("resurrection", "replica monotonicity", "lost write"),
        nemeses=("collect", "partition"),
    ),
    Mutant(
        plant=rules.the_greatest_collected_stamp_is_not_remembered,
        directed=directed.a_clock_was_ahead_when_a_deletion_was_made,
        breaks="G3",
        checkers=("monotonic writes", "writes follow reads", "lost write", "replica monotonicity"),
        nemeses=("collect", "skew"),
    ),
    Mutant(
        plant=rules.the_floor_is_lost_at_a_restart,
        directed=directed.a_leader_restarts_after_it_has_collected,
        breaks="G3",
        checkers=("resurrection", "broken", "convergence"),
        nemeses=("collect", "crash"),
    ),
    Mutant(
        plant=rules.a_lost_update_is_not_reported,
        breaks="G8",
        checkers=("unreported loss",),
        nemeses=("partition",),
    ),
)
"""Rules of following, lives and collecting."""
MACHINERY: Final = (
    Mutant(
        plant=machinery.a_failed_commit_is_told_as_kept,
        breaks="G2",
        checkers=("durability", "lost write", "broken", "convergence"),
        nemeses=("disk", "crash"),
    ),
    Mutant(
        plant=machinery.a_failed_commit_stays_visible,
        breaks="G2",
        checkers=("durability", "lost write"),
        nemeses=("disk", "crash"),
    ),
    Mutant(
        plant=machinery.a_batch_is_kept_by_half,
        breaks="G2",
        checkers=("durability", "broken", "lost write"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=machinery.a_place_is_kept_without_its_page,
        breaks="G6",
        checkers=("durability", "broken", "convergence"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=machinery.a_group_commit_keeps_its_first_write,
        breaks="G2",
        checkers=("durability", "lost write"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=machinery.reads_see_what_is_not_committed,
        directed=directed.a_node_is_read_while_its_disk_fails,
        breaks="G2",
        checkers=("monotonic reads", "invented"),
        nemeses=("disk",),
    ),
    Mutant(
        plant=machinery.a_page_that_was_cut_says_it_is_whole,
        breaks="G6",
        checkers=("broken", "convergence"),
        nemeses=("knobs", "partition"),
    ),
    Mutant(
        plant=machinery.a_page_begins_one_row_late,
        breaks="G6",
        checkers=("broken", "convergence"),
    ),
    Mutant(
        plant=machinery.a_page_ends_beyond_what_is_committed,
        directed=directed.a_leader_is_read_while_writes_wait_for_its_disk,
        breaks="G6",
        checkers=("broken", "convergence"),
    ),
    Mutant(
        plant=machinery.acknowledgements_open_no_window,
        breaks="G1",
        checkers=("convergence", "staleness"),
    ),
    Mutant(
        plant=machinery.an_outbox_is_read_once, breaks="G1", checkers=("convergence", "outbox"), nemeses=("partition",)
    ),
    Mutant(
        plant=machinery.every_heartbeat_is_answered_by_a_subscription,
        breaks="G1",
        checkers=("quiescence",),
    ),
    Mutant(
        plant=machinery.tokens_wrap,
        directed=directed.a_leader_is_read_while_writes_wait_for_its_disk,
        costly=True,
        breaks="G1",
        checkers=("convergence", "crash", "outbox"),
    ),
    Mutant(
        plant=machinery.numbers_start_again,
        breaks="G6",
        checkers=("crash", "convergence", "broken"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=machinery.stamps_are_coarse,
        breaks="G5",
        checkers=("stamp uniqueness",),
    ),
    Mutant(
        plant=machinery.writes_wait_for_the_leader,
        breaks="G7",
        checkers=("availability",),
        nemeses=("partition",),
    ),
    Mutant(
        plant=machinery.reads_are_cached,
        breaks="G4",
        checkers=("monotonic reads", "read your writes"),
    ),
    Mutant(
        plant=machinery.an_update_keeps_the_data_that_was_here,
        breaks="G1",
        checkers=("invented", "last write wins", "convergence"),
    ),
)
"""What carries the protocol."""
MUTANTS: Final = RING + RULES + MACHINERY
"""All of them."""


def planted_mutant(name: str) -> AbstractContextManager[object]:
    """The mutant of this name, planted for as long as the block runs; of no name, none.

    Raises:
        UnknownBugError: there is no such mutant.
    """
    if not name:
        return nullcontext()
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant.planted()
    raise UnknownBugError(name, f"known are {', '.join(mutant.name for mutant in MUTANTS)}")
