"""The model of the original loses what the original was seen to lose, in the same plans in which ours loses nothing."""

from collections import Counter

import pytest
from msgspec.structs import replace

from simulator import Run
from simulator.experiment.mutants.original import ORIGINAL
from tests.scenarios.stories import STORIES, K

LOST = {"S1": {"n1": K}, "S2": {"n1": K}, "S3": {"n1": K}, "S4": {"leader": K}}
DIFFER = {"S1": {"n1": K, "leader": 0}, "S4": {"n1": K, "leader": K, "n2": 2 * K}}
"""Who has how many entries at the end, where members stay different."""


@pytest.mark.parametrize("name", LOST)
def test_the_original_loses_acknowledged_writes_and_ours_does_not(name: str) -> None:
    plan = replace(STORIES[name].plan(3), liveness_s=30.0)
    ours = Run.of(plan)
    with ORIGINAL.planted() as mark:
        original = Run.of(plan)
    assert ours.verdict == "ok"
    assert mark.count
    assert Counter(line.member for line in original.ledger if line.fate == "lost") == LOST[name]
    assert ORIGINAL.is_seen_in(original.violations)
    sizes = {member: len(table) for member, table in original.state.items()}
    assert original.converged == (name not in DIFFER)
    assert {member: sizes[member] for member in DIFFER.get(name, {})} == DIFFER.get(name, {})


def test_the_original_is_not_left_behind() -> None:
    plan = replace(STORIES["S2"].plan(3), liveness_s=30.0)
    with ORIGINAL.planted():
        Run.of(plan)
    assert Run.of(plan).verdict == "ok"
