"""Plans that were found by drawing, or thought of, and shrunk; each once failed, by our fault or a checker's."""

from pathlib import Path

import pytest

from simulator import Plan, Run

PLANS = sorted((Path(__file__).parent / "plans").glob("*.json"))


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_a_plan_that_failed_once_is_all_right_now(file: Path) -> None:
    run = Run.of(Plan.load(file))
    assert run.verdict == "ok", run
