"""Planted bugs: each function breaks one rule of the protocol, so that the harness can show that it would notice.

Start at `FREQUENT`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Final

import pytest

from pivot.core.decision import Decision
from pivot.core.effects import Effect
from pivot.core.questions import Result
from simulator.experiment.mutants import machinery, ring, rules
from simulator.experiment.mutants.mutant import Mark
from simulator.experiment.mutants.mutant import Plant as Mutation

Plant = Callable[[pytest.MonkeyPatch], None]


def plain(mutant: Mutation) -> Plant:
    """A mutant of the simulator's matrix, planted here; nobody counts how often it makes a difference."""

    @wraps(mutant)
    def plant(patch: pytest.MonkeyPatch) -> None:
        mutant(patch, Mark())

    return plant


the_last_arrival_wins = plain(ring.blind_overwrite)


a_page_beyond_the_cursor_is_applied = plain(rules.a_page_beyond_the_cursor_is_applied)


an_answer_confirms_whatever_the_row_is_by_now = plain(rules.an_answer_confirms_whatever_the_row_is_by_now)


an_answer_of_an_earlier_life_confirms = plain(rules.an_answer_of_an_earlier_life_confirms)


a_reset_is_ignored = plain(rules.a_reset_is_ignored)


nothing_is_offered_again_to_a_new_life = plain(rules.nothing_is_offered_again_to_a_new_life)


def what_is_persisted_follows_the_reply(patch: pytest.MonkeyPatch) -> None:
    effects = Decision.effects

    def reversed_order(decision: Decision, result: Result) -> list[Effect]:
        return effects(decision, result)[::-1]

    patch.setattr(Decision, "effects", reversed_order)


a_failed_commit_is_told_as_kept = plain(machinery.a_failed_commit_is_told_as_kept)


a_repeated_push_is_confirmed_though_the_commit_of_the_first_failed = plain(
    rules.a_repeated_push_is_confirmed_though_the_commit_of_the_first_failed
)


a_write_is_stamped_by_wall_time_alone = plain(ring.wall_clock_only)


a_lost_push_is_not_repeated = plain(ring.poke_one_shot)


a_new_subscriber_gets_only_what_is_new = plain(rules.a_new_subscriber_gets_only_what_is_new)


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
