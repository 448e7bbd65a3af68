"""Plans that were found by drawing, or thought of, and shrunk; each once failed, by our fault or a checker's."""

from pathlib import Path

import pytest

from simulator import Plan, Run

PLANS = sorted((Path(__file__).parent / "plans").glob("*.json"))
OPEN = {
    "ahead-of-time-by-a-leader-that-forgot-it": "versions too far ahead, whose author's store is lost: the leader in "
    "its next life rejects them, nobody is left to write them again, and a node that has them drops them",
    "clock-behind-after-it-was-ahead": "a wall clock more than `ahead_s_max` behind makes the store take its own rows "
    "for too far ahead: its clock forgets them, and later writes have smaller stamps than what was read",
}
"""Those that still fail, and why."""


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(
            file,
            id=file.stem,
            marks=[pytest.mark.xfail(reason=OPEN[file.stem], strict=True)] if file.stem in OPEN else [],
        )
        for file in PLANS
    ],
)
def test_a_plan_that_failed_once_is_all_right_now(file: Path) -> None:
    run = Run.of(Plan.load(file))
    assert run.verdict == "ok", run
