"""The scenarios in the simulator, each over many seeds: other weather, other timing, the same end."""

from collections.abc import Mapping

import pytest

from pivot.types import JsonValue
from simulator import Run
from simulator.experiment.plan import Durability
from simulator.world.latency import ExponentialLatency, UniformLatency
from simulator.world.link import Conditions
from tests.scenarios.stories import STORIES, Story

FAIR = Conditions(latency=UniformLatency(base_s=0.001, spread_s=0.004))
FOUL = Conditions(latency=ExponentialLatency(base_s=0.001, mean_s=0.02), loss=0.05, duplication=0.1)
AT_ONCE_S = 0.1


def assert_ends_as_expected(story: Story, state: Mapping[str, Mapping[str, JsonValue]]) -> None:
    for member, table in state.items():
        for key, value in story.expected.items():
            assert table.get(key) == value, (member, key)
        pushed = [key for key in table if key.startswith("users/") and key not in story.expected]
        assert len(pushed) == story.pushed, member


LONG = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("durability", "seeds"),
    [
        ("memory", range(25)),
        ("full", range(25, 50)),
        *(pytest.param(durability, range(200), marks=LONG) for durability in ("memory", "normal", "full")),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", STORIES)
def test_nothing_is_lost_in(name: str, durability: Durability, seeds: range) -> None:
    story = STORIES[name]
    for seed in seeds:
        weather = FAIR if seed % 2 else FOUL
        run = Run.of(story.plan(seed, durability=durability, weather=weather))
        assert run.verdict == "ok", run
        assert run.refused == ()
        assert weather is FOUL or run.reads == story.reads, seed  # foul weather may delay what they should find
        answered = [record.answered_s - record.invoked_s for record in run.outcome.records if record.answered_s]
        assert max(answered, default=0.0) < AT_ONCE_S
        assert_ends_as_expected(story, run.state)
