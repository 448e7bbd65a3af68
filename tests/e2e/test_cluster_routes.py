"""Cluster routes in raw HTTP, as peers of the original use them, at a leader and at a node."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio

from pivot.client import Client
from pivot.config import Config, Key, Knobs
from pivot.server import pulling
from pivot.transport.http_client import HttpClient, Response
from tests.e2e.servers import running, until

KEYS: Final = (Key("settings"), Key("users/*"), Key("box/*/things/*"))
QUICK: Final = Knobs(heartbeat_s=0.05, retry_s_min=0.05, retry_s_max=0.1, greet_s=1.0, ack_repeat_s=0.1)
LEADING: Final = Config(keys=KEYS, knobs=QUICK)
FAR_NS: Final = 10**9 * 3600


class Peer:
    """Somebody who speaks to a server in the words of the original."""

    def __init__(self, http: HttpClient, url: str) -> None:
        self._http = http
        self.url = url

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        return await self._http.request(method, f"{self.url}/_pivot/{path}", content=body, headers=headers, timeout_s=9)

    async def get(self, path: str) -> Any:
        response = await self.ask("GET", path)
        assert response.status == 200, response.body
        return json.loads(response.body)

    async def post(self, key: str, created: int, data: object, *, updated: int = 0) -> int:
        return (await self.ask("POST", f"pivot/{key}", wrote(key, created, data, updated=updated))).status


def wrote(key: str, created: int, data: object, *, updated: int = 0) -> bytes:
    index = key.rsplit("/", 1)[-1]
    return json.dumps({"created": created, "updated": updated, "index": index, "path": key, "data": data}).encode()


@asynccontextmanager
async def peer(config: Config = LEADING) -> AsyncGenerator[Peer]:
    async with running(config) as url, HttpClient(connect_s=9) as http:
        yield Peer(http, url)


async def state(of: Peer) -> tuple[Any, int]:
    """Everything that a refused request must leave alone."""
    return await of.get("pivot/users"), (await of.get("status"))["clock"]


async def test_a_list_is_read_under_each_of_its_names_oldest_first_and_a_single_key_as_its_object() -> None:
    async with peer() as at:
        assert await at.get("pivot/users") == []
        for key, created in (("users/b", 2), ("users/a", 1), ("box/1/things/x", 3), ("settings", 4)):
            assert await at.post(key, created, {"of": key}) == 200
        for name in ("users", "users/", "users/*", "users/%2A"):
            assert [each["path"] for each in await at.get(f"pivot/{name}")] == ["users/a", "users/b"]
        assert [each["index"] for each in await at.get("pivot/box/*/things")] == ["x"]
        assert await at.get("pivot/settings") == {
            "created": 4, "updated": 0, "index": "settings", "path": "settings", "data": {"of": "settings"},
        }  # fmt: skip


async def test_a_missing_single_key_is_the_500_that_nodes_of_the_original_rely_on_and_an_unknown_one_404() -> None:
    async with peer() as at:
        missing = await at.ask("GET", "pivot/settings")
        assert (missing.status, missing.body) == (500, b"storage: not found")
        for path in ("pivot/nothing", "activity/nothing"):
            assert (await at.ask("GET", path)).status == 404
        assert (await at.ask("POST", "pivot/nothing/a", wrote("nothing/a", 1, 1))).status == 404
        assert (await at.ask("DELETE", "pivot/nothing/a/7")).status == 404


async def test_an_older_version_is_ignored_and_a_newer_one_kept_whoever_wrote_last() -> None:
    async with peer() as at:
        assert await at.post("users/a", 10, "first", updated=20) == 200
        assert await at.post("users/a", 10, "older", updated=15) == 200
        assert [each["data"] for each in await at.get("pivot/users")] == ["first"]
        assert await at.post("users/a", 10, "newer", updated=25) == 200
        assert [(each["data"], each["updated"]) for each in await at.get("pivot/users")] == [("newer", 25)]


async def test_a_delete_counts_when_it_is_later_than_the_entry_and_stays_when_an_older_write_follows() -> None:
    async with peer() as at:
        await at.post("users/a", 10, 1)
        await at.post("settings", 10, 1)
        assert (await at.ask("DELETE", "pivot/users/a/9")).status == 200
        assert len(await at.get("pivot/users")) == 1
        for key in ("users/a", "settings", "users/never"):
            assert (await at.ask("DELETE", f"pivot/{key}/11")).status == 200
        assert await at.post("users/a", 10, 1) == 200
        assert await at.get("pivot/users") == []
        assert (await at.ask("GET", "pivot/settings")).status == 500


async def test_activity_is_the_greatest_stamp_with_tombstones_and_0_without_any() -> None:
    async with peer() as at:
        for name in ("users", "users/*", "settings"):
            assert await at.get(f"activity/{name}") == {"lastEntry": 0}
        await at.post("users/a", 10, 1, updated=12)
        await at.post("users/b", 11, 1)
        assert await at.get("activity/users") == {"lastEntry": 12}
        await at.ask("DELETE", "pivot/users/a/99")
        assert await at.get("activity/users") == {"lastEntry": 99}


BAD_WRITES: Final = {
    "another index than the URL's": b'{"created":1,"updated":0,"index":"b","data":1}',
    "another path than the URL's": b'{"created":1,"updated":0,"index":"a","path":"users/b","data":1}',
    "no index": b'{"created":1,"updated":0,"data":1}',
    "no data": b'{"created":1,"updated":0,"index":"a"}',
    "no stamp": b'{"created":0,"updated":0,"index":"a","data":1}',
    "a negative stamp": b'{"created":-1,"updated":0,"index":"a","data":1}',
    "a stamp of 2^63": b'{"created":%d,"updated":0,"index":"a","data":1}' % 2**63,
    "an update of 2^63": b'{"created":1,"updated":%d,"index":"a","data":1}' % 2**63,
    "a stamp in the far future": b'{"created":%d,"updated":0,"index":"a","data":1}' % (2**63 - 1),
    "an update before its creation": b'{"created":9,"updated":8,"index":"a","data":1}',
    "a fraction as a stamp": b'{"created":1.5,"updated":0,"index":"a","data":1}',
    "a field in other letters": b'{"Created":1,"updated":0,"index":"a","data":1}',
    "a field twice": b'{"created":1,"created":2,"updated":0,"index":"a","data":1}',
    "a key twice in its data": b'{"created":1,"updated":0,"index":"a","data":{"x":1,"x":2}}',
    "NaN": b'{"created":1,"updated":0,"index":"a","data":NaN}',
    "no UTF-8": b'{"created":1,"updated":0,"index":"a","data":"\xff"}',
    "a lone surrogate": b'{"created":1,"updated":0,"index":"a","data":"\\ud800"}',
    "no JSON": b"{",
    "no object": b"[]",
    "nothing": b"",
}


async def test_a_forged_or_malformed_write_is_a_400_that_says_why_and_changes_nothing() -> None:
    async with peer() as at:
        await at.post("users/known", 5, 1)
        before = await state(at)
        for name, body in BAD_WRITES.items():
            response = await at.ask("POST", "pivot/users/a", body)
            assert response.status == 400, name
            assert json.loads(response.body)["error"], name
            assert await state(at) == before, name


BAD_DELETES: Final = {
    "users/*/7": 400, "*/known/7": 400, "users/known/*": 400, "users/known": 400, "users/known/-7": 400,
    "users/known/0": 400, "users/known/soon": 400, f"users/known/{2**63}": 400, f"users/known/{2**63 - 1}": 400,
    "users/known/7.5": 400, "users/known/": 400, "users//7": 400, "users/7": 404, "7": 400,
}  # fmt: skip


async def test_a_delete_of_a_glob_or_at_no_time_is_refused_and_changes_nothing() -> None:
    async with peer() as at:
        await at.post("users/known", 5, 1)
        before = await state(at)
        for path, status in BAD_DELETES.items():
            assert (await at.ask("DELETE", f"pivot/{path}")).status == status, path
            assert await state(at) == before, path


async def test_a_call_to_pull_from_a_leader_that_is_away_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "PULL_S", 0.3)
    async with peer(Config(keys=KEYS, cluster_url="http://127.0.0.1:1", knobs=QUICK)) as at:
        for path in ("pivot", "synchronize/node"):
            late = await at.ask("GET", path)
            assert (late.status, b"http://127.0.0.1:1" in late.body) == (504, True)


async def test_who_wrote_is_told_by_a_header_and_no_other_text_is_taken_for_it() -> None:
    async with peer() as at:
        body = wrote("users/a", time.time_ns(), 1)
        assert (await at.ask("POST", "pivot/users/a", body, **{"X-Pivot-Originator": "10.0.0.7:8080"})).status == 200
        assert (await at.ask("POST", "pivot/users/a", body, **{"X-Pivot-Originator": "a b"})).status == 400


async def test_a_node_has_what_its_leader_has_when_a_call_to_pull_is_answered_in_either_spelling() -> None:
    async with running(LEADING) as leader, peer(Config(keys=KEYS, cluster_url=leader, knobs=QUICK)) as node:
        async with Client(leader) as at_leader:
            for number, path in enumerate(("pivot", "synchronize/pivot", "synchronize/pivot?key=users/*")):
                await at_leader.set("users/ann", number)
                assert (await node.ask("GET", path)).status == 200
                assert [each["data"] for each in await node.get("pivot/users")] == [number]
        refused = await node.ask("GET", "synchronize/pivot?key=nothing")
        assert (refused.status, b"a collection: settings, users/*" in refused.body) == (400, True)


async def test_a_leader_that_is_called_to_pull_says_that_it_leads() -> None:
    async with peer() as at:
        for path in ("pivot", "synchronize/pivot", "synchronize/pivot?key=settings", "synchronize/node"):
            assert (await at.ask("GET", path)).status == 400


async def test_both_have_everything_when_a_call_to_synchronise_is_answered() -> None:
    async with (
        running(LEADING) as leader,
        peer(Config(keys=KEYS, cluster_url=leader, knobs=QUICK)) as node,
        Client(leader) as at_leader,
        Client(node.url) as at_node,
    ):
        await at_leader.set("users/ann", 1)
        await at_node.set("users/bob", 2)
        assert (await node.ask("GET", "synchronize/node")).status == 200
        assert (await at_leader.get("users/bob")).data == 2
        assert (await at_node.get("users/ann")).data == 1


async def test_many_who_call_at_once_are_answered_together() -> None:
    async with running(LEADING) as leader, peer(Config(keys=KEYS, cluster_url=leader, knobs=QUICK)) as node:
        answers: list[int] = []

        async def call() -> None:
            answers.append((await node.ask("GET", "pivot")).status)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(call)
        assert answers == [200] * 10


async def test_version_says_what_the_original_reads_and_what_we_prefer() -> None:
    async with peer() as at:
        said = await at.get("version")
        assert said["protocol"] == "2.0"
        assert (said["native"]["least"], said["native"]["most"]) == (1, 1)
    async with peer(Config(keys=KEYS, protocols=("2.0",))) as at:
        assert (await at.get("version"))["native"] is None
    async with peer(Config(keys=KEYS, protocols=("native",))) as at:
        assert (await at.get("version"))["protocol"] != "2.0"
        assert (await at.ask("GET", "pivot/users")).status == 404
        assert (await at.ask("POST", "pivot/users/a", wrote("users/a", 1, 1))).status == 400


async def test_a_leader_is_live_and_ready_and_a_node_whose_leader_is_away_says_that_it_is_degraded() -> None:
    async with peer() as at:
        assert (await at.get("live"), await at.get("ready")) == ({"live": True}, {"ready": True, "degraded": False})
    away = Config(keys=KEYS, cluster_url="http://127.0.0.1:1", knobs=QUICK)
    async with peer(away) as at:

        async def is_ready() -> bool:
            return (await at.ask("GET", "ready")).status == 200

        await until(is_ready)
        assert await at.get("ready") == {"ready": True, "degraded": True}
        status = await at.get("status")
        assert (status["role"], status["pivotHealthy"], status["pivotIP"]) == ("node", False, "http://127.0.0.1:1")
    async with running(LEADING) as leader, peer(Config(keys=KEYS, cluster_url=leader, knobs=QUICK)) as node:
        await node.ask("GET", "pivot")
        assert await node.get("ready") == {"ready": True, "degraded": False}
        status = await node.get("status")
        assert (status["pivotHealthy"], status["pivotProtocol"], status["pivotCompatible"]) == (True, "2.0", True)
        assert status["pivotLastCheck"].startswith("20")
        assert [(lag["entries"], lag["seconds"]) for lag in status["lags"]] == [(0, 0.0)] * 3


async def test_metrics_are_what_prometheus_reads() -> None:
    async with peer() as at:
        await at.post("users/a", 1, 1)
        answer = await at.ask("GET", "metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.body.decode().splitlines()
        assert 'pivot_entries{collection="users/*"} 1.0' in lines
        assert "pivot_conflicts_total 0.0" in lines
        assert any(line.startswith("pivot_member_info{") and 'role="pivot"' in line for line in lines)
