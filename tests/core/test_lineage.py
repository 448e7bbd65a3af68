"""Lineage: how much of which earlier life is in this one."""

from pivot.core.lineage import LIVES_MAX, Lineage
from pivot.types import NO_EPOCH, Epoch
from tests.core.builders import A, B


def test_each_life_before_is_kept_up_to_where_the_next_one_began() -> None:
    lineage = Lineage().after(A, 80).after(B, 120)
    assert (lineage.kept(A), lineage.kept(B)) == (80, 120)


def test_nothing_is_kept_of_a_life_that_is_not_known() -> None:
    lineage = Lineage().after(A, 80)
    assert (lineage.kept(B), lineage.kept(NO_EPOCH)) == (0, 0)


def test_the_oldest_life_is_forgotten_when_there_are_too_many() -> None:
    lineage = Lineage()
    for number in range(LIVES_MAX + 1):
        lineage = lineage.after(Epoch(f"e{number}"), number + 1)
    assert len(lineage.lives) == LIVES_MAX
    assert (lineage.kept(Epoch("e0")), lineage.kept(Epoch("e1"))) == (0, 2)
