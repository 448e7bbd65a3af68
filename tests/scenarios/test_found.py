"""Plans that were found by drawing, or thought of, and shrunk; each once failed, by our fault or a checker's."""

from pathlib import Path

import pytest

from simulator import Plan, Run

PLANS = sorted((Path(__file__).parent / "plans").glob("*.json"))
OPEN = {
    "leader-forgets-what-its-nodes-have": "a leader whose disk lost the end of its feed keeps its epoch: nodes that "
    "are ahead of it get neither pages nor heartbeats, and what they confirmed is not offered again",
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
