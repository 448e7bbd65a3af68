"""A live cluster copes with members that are dying."""

from pathlib import Path

import pytest
import trio

from pivot.client import Client
from pivot.errors import UnreachableError
from simulator.experiment.plan import Plan
from simulator.live.cluster import LiveCluster


async def test_a_cluster_is_not_settled_when_a_member_goes_away_just_before_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def equal(_: LiveCluster) -> bool:
        return True

    def url(_: LiveCluster, name: str) -> str:
        return f"http://{name}:1"

    async def status(client: Client) -> None:
        raise UnreachableError(f"{client.url} has gone")

    monkeypatch.setattr(LiveCluster, "running", ("leader",))
    monkeypatch.setattr(LiveCluster, "url", url)
    monkeypatch.setattr(LiveCluster, "equal", equal)
    monkeypatch.setattr(Client, "status", status)
    async with trio.open_nursery() as nursery:
        cluster = LiveCluster(Plan(seed=1, nodes=1, safety_s=1.0), nursery, proxied=False, folder=Path())
        assert not await cluster.settled()
