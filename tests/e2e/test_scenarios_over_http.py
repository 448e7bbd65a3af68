"""The scenarios over real HTTP: real processes, killed and stopped, links cut by TCP proxies, wall clocks set wrong.

The same stories as in the simulator. S20 needs clients that do not wait for each other: `test_hung_and_busy`.
"""

import pytest
import trio

from simulator.live.cluster import live_cluster
from simulator.live.player import LiveOutcome, play_live
from tests.scenarios.stories import STORIES
from tests.scenarios.test_simulated import assert_ends_as_expected

WITHIN_S = 60.0
AT_ONCE_S = 5.0
"""Longest that a member may take to answer, on a busy machine."""
ALWAYS = ("S0", "S1", "S2", "S3", "S14", "S15")
LONG = tuple(name for name in STORIES if name not in (*ALWAYS, "S20"))


@pytest.mark.parametrize("name", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_nothing_is_lost_over_http_in(name: str) -> None:
    story = STORIES[name]

    async def play() -> LiveOutcome:
        async with live_cluster(story.plan(0), proxied=True) as cluster:
            return await play_live(cluster, within_s=WITHIN_S)

    outcome = trio.run(play)
    assert [record for record in outcome.records if record.outcome != "ok"] == []
    assert outcome.reads == story.reads
    answered = [record.answered_s - record.invoked_s for record in outcome.records if record.answered_s]
    assert max(answered, default=0.0) < AT_ONCE_S
    assert outcome.converged_s is not None
    assert [line for line in outcome.ledger if line.fate not in ("won", "superseded")] == []
    assert_ends_as_expected(story, outcome.state)
