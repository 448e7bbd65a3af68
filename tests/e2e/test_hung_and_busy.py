"""A leader that hangs rather than dies (S14), and a node under sustained writes (S20), with real processes."""

import os
import signal
from pathlib import Path

import pytest
import trio

from pivot.client import Client
from tests.e2e.processes import eventually, pivot, pivot_json, serving

KEYS = ("--key", "settings", "--key", "users/*")
CLIENTS = 8


def test_s14_a_node_serves_while_its_leader_hangs_and_delivers_when_it_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, *KEYS) as leader, serving(tmp_path, *KEYS, "--leader", leader.url) as node:
        pivot_json("set", "settings", '"before"', "--url", leader.url)
        eventually(lambda: pivot("get", "settings", "--url", node.url)[1] == '"before"\n')
        os.kill(leader.process.pid, signal.SIGSTOP)
        try:

            async def use() -> None:
                async with Client(node.url, timeout_s=5.0) as client:
                    for number in range(50):
                        await client.set("settings", number)
                        assert (await client.get("settings")).data == number

            trio.run(use)
        finally:
            os.kill(leader.process.pid, signal.SIGCONT)
        eventually(lambda: pivot("get", "settings", "--url", leader.url)[1] == "49\n")


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
def test_s20_sustained_writes_on_a_node_are_served_without_an_error(tmp_path: Path, seconds: int) -> None:
    written: list[str] = []

    async def write_for_a_while(url: str, number: int) -> None:
        async with Client(url) as client:
            end_s = trio.current_time() + seconds
            while trio.current_time() < end_s:
                written.append((await client.push("users/*", number)).index)

    async def write(url: str) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                nursery.start_soon(write_for_a_while, url, number)

    async def keys(url: str) -> list[str]:
        async with Client(url) as client:
            return [key async for key in client.keys("users/")]

    with serving(tmp_path, *KEYS) as leader, serving(tmp_path, *KEYS, "--leader", leader.url) as node:
        trio.run(write, node.url)
        assert len(written) > 50 * seconds
        expected = sorted(f"users/{index}" for index in written)
        assert len(set(expected)) == len(expected)
        eventually(lambda: trio.run(keys, leader.url) == expected)
        assert trio.run(keys, node.url) == expected
