"""The kill matrix in short: each mutant is killed by one plan that is fine without it. `pivot sim matrix` is the long
form.
"""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pivot.__main__ import run
from simulator.experiment.checkers import Violation
from simulator.experiment.draw import NEMESES, draw
from simulator.experiment.examination import examine
from simulator.experiment.matrix import LIVENESS_S, Cell, play
from simulator.experiment.mutants.catalogue import MUTANTS, RING
from simulator.experiment.plan import Plan

NAMED = {mutant.name: mutant for mutant in MUTANTS}
FIRST_RING = {
    "tie_by_arrival",
    "echo_loop",
    "blind_overwrite",
    "delete_always_wins",
    "update_beats_tombstone",
    "tombstone_dropped",
    "tombstone_gc_early",
    "wall_clock_only",
    "leader_restamps",
    "ack_before_fsync",
    "fsync_every_n",
    "outbox_not_persisted",
    "ack_clears_all",
    "cursor_past_failed_entry",
    "log_truncated_without_epoch",
    "pull_deletes_missing",
    "originator_filter_forever",
    "poke_one_shot",
    "health_never_rechecks",
}
SEEDS = {
    "tie_by_arrival": 1,
    "blind_overwrite": 0,
    "delete_always_wins": 0,
    "update_beats_tombstone": 0,
    "wall_clock_only": 2,
    "leader_restamps": 0,
    "tombstone_dropped": 0,
    "tombstone_gc_early": 0,
    "fsync_every_n": 5,
    "outbox_not_persisted": 1,
    "cursor_past_failed_entry": 0,
    "poke_one_shot": 0,
    "health_never_rechecks": 0,
    "a_page_beyond_the_cursor_is_applied": 2,
    "a_gap_is_not_asked_for_again": 3,
    "a_new_subscriber_gets_only_what_is_new": 0,
    "a_push_is_merged_whatever_its_sender_had_seen": 0,
    "a_reset_is_ignored": 0,
    "nothing_is_offered_again_to_a_new_life": 0,
    "what_was_confirmed_above_what_is_kept_stays_so": 1,
    "how_far_the_feed_went_when_it_was_read_does_not_matter": 2,
    "every_life_is_the_beginning_of_this_one": 0,
    "nobody_minds_what_was_collected": 0,
    "absent_rows_stay": 0,
    "absent_rows_are_dropped": 1,
    "a_node_forgets_every_tombstone_when_it_hears_of_a_floor": 1,
    "a_lost_update_is_not_reported": 0,
    "a_failed_commit_is_told_as_kept": 6,
    "a_failed_commit_stays_visible": 6,
    "a_batch_is_kept_by_half": 1,
    "a_place_is_kept_without_its_page": 1,
    "a_group_commit_keeps_its_first_write": 6,
    "a_page_that_was_cut_says_it_is_whole": 0,
    "a_page_begins_one_row_late": 0,
    "acknowledgements_open_no_window": 0,
    "an_outbox_is_read_once": 7,
    "every_heartbeat_is_answered_by_a_subscription": 0,
    "numbers_start_again": 0,
    "stamps_are_coarse": 4,
    "writes_wait_for_the_leader": 0,
    "reads_are_cached": 2,
    "an_update_keeps_the_data_that_was_here": 0,
}
"""Mutant -> a seed whose plan, drawn with the faults that the mutant takes, kills it; others have their own plans."""


def fired(plan: Plan) -> tuple[Violation, ...]:
    return examine(plan).violations


@pytest.mark.parametrize("name", NAMED)
def test_a_mutant_is_killed_by_a_plan_that_is_fine_without_it(name: str) -> None:
    mutant = NAMED[name]
    if mutant.directed:
        plan = mutant.directed()
    else:
        plan = replace(draw(SEEDS[name], nemeses=mutant.nemeses), liveness_s=LIVENESS_S)
    with mutant.planted() as mark:
        violations = fired(plan)
    assert mark.count > 0
    assert mutant.is_seen_in(violations)
    assert fired(plan) == ()


def test_the_catalogue_is_whole() -> None:
    assert len(NAMED) == len(MUTANTS) >= 40
    assert {each.name for each in RING} == FIRST_RING
    assert {mutant.name for mutant in MUTANTS if not mutant.directed} == SEEDS.keys()
    for mutant in MUTANTS:
        assert mutant.wrong.endswith("."), mutant.name
        assert all(kind in NEMESES for kind in mutant.nemeses), mutant.name


def test_a_plan_that_fails_without_a_mutant_kills_none() -> None:
    cell = Cell("partitions", 0, ("leader_restamps",))
    shot = play(cell).shots[0]
    assert shot.killed
    with NAMED["reads_are_cached"].planted():
        found = play(replace(cell, seed=2))
    assert found.alarms
    assert not found.shots[0].killed


def test_an_interrupted_matrix_goes_on_where_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = [
        "sim",
        "matrix",
        "--seeds",
        "2",
        "--mutant",
        "leader_restamps,ack_before_fsync",
        "--column",
        "partitions",
    ]
    command += ["--workers", "1", "--json", "--resume", str(tmp_path)]
    assert run(command) == 0
    first = json.loads(capfd.readouterr().out)
    assert first["survivors"] == first["alarms"] == []
    assert [line["mutant"] for line in first["lines"]] == ["leader_restamps", "ack_before_fsync"]
    assert first["lines"][0]["kills"] == {"partitions": 2}
    assert first["lines"][1]["kills"] == {"directed": 1, "partitions": 0}
    file = tmp_path / "matrix.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert run(command) == 0
    assert json.loads(capfd.readouterr().out) == first
    assert sorted(file.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_survivor_is_named_and_the_exit_code_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mutants = "tokens_wrap,the_floor_is_lost_at_a_restart,absent_rows_stay"
    command = ["sim", "matrix", "--seeds", "1", "--mutant", mutants]
    assert run([*command, "--column", "partitions", "--workers", "1", "--markdown", "--runs", str(tmp_path)]) == 1
    out = capfd.readouterr().out
    assert "2 of 3 mutants killed; survivors: absent_rows_stay" in out
    assert "| absent_rows_stay | After a re-sync nothing is forgotten" in out


@pytest.mark.parametrize("option", [("--mutant", "tea"), ("--column", "tea"), ("--seeds", "0"), ("--workers", "0")])
def test_what_cannot_be_is_refused(option: tuple[str, str], tmp_path: Path) -> None:
    assert run(["sim", "matrix", *option, "--runs", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []
