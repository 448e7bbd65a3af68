"""The scenarios over real HTTP: real processes, links cut by TCP proxies. The same stories as in the simulator."""

import pytest
import trio

from simulator.live.cluster import live_cluster
from simulator.live.player import LiveOutcome, play_live
from tests.scenarios.stories import STORIES
from tests.scenarios.test_simulated import assert_ends_as_expected

WITHIN_S = 60.0
FIRST = ("S0", "S1", "S2", "S3")
REST = tuple(name for name in STORIES if name not in FIRST)


@pytest.mark.parametrize("name", [*FIRST, *(pytest.param(name, marks=pytest.mark.long) for name in REST)])
def test_nothing_is_lost_over_http_in(name: str) -> None:
    story = STORIES[name]

    async def play() -> LiveOutcome:
        async with live_cluster(story.plan(0), proxied=True) as cluster:
            return await play_live(cluster, within_s=WITHIN_S)

    outcome = trio.run(play)
    assert [record for record in outcome.records if record.outcome != "ok"] == []
    assert outcome.converged_s is not None
    assert [line for line in outcome.ledger if line.fate not in ("won", "superseded")] == []
    assert_ends_as_expected(story, outcome.state)
