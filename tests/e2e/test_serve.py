"""`pivot serve`: settings, logs, registration, and a clean stop with everybody connected."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from pivot.client import Client
from simulator.live.member import OFFSET_BYTES
from tests.e2e.processes import (
    COMMAND,
    LIVE_MEMBER,
    WAIT_S,
    Serving,
    clean_environment,
    eventually,
    pivot,
    pivot_json,
    serving,
)

KEYS = ("--key", "settings", "--key", "users/*")


def healthy_peers(member: Serving) -> list[str]:
    peers = pivot_json("status", "--url", member.url)["peers"]
    return [peer["address"] for peer in peers if peer["healthy"]]


def test_a_node_and_its_leader_share_what_either_writes(tmp_path: Path) -> None:
    with (
        serving(tmp_path, *KEYS) as leader,
        serving(tmp_path, *KEYS, "--leader", leader.address, "--name", "n1") as node,
    ):
        pivot_json("set", "settings", '"from the node"', "--url", node.url)
        pivot_json("set", "users/ann", '"from the leader"', "--url", leader.url)
        eventually(lambda: pivot("get", "settings", "--url", leader.url)[1] == '"from the node"\n')
        eventually(lambda: pivot("get", "users/ann", "--url", node.url)[1] == '"from the leader"\n')
        assert healthy_peers(leader) == ["n1"]
        assert healthy_peers(node) == [leader.url]


def test_flags_win_over_variables_and_variables_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pivot.toml"
    file.write_text(
        'listen = "127.0.0.1:0"\nname = "of-the-file"\nnodes_key = "things/*"\ncluster_id = "of-the-file"\n'
        '[[keys]]\npath = "settings"\n[knobs]\nheartbeat_s = 0.5\n'
    )
    variables = {"PIVOT_NAME": "of-the-variable", "PIVOT_CLUSTER_ID": "of-the-variable"}
    with serving(tmp_path, "--config", str(file), "--cluster-id", "of-the-flag", environment=variables) as member:
        status = pivot_json("status", "--url", member.url)
    assert [collection["path"] for collection in status["collections"]][:2] == ["settings", "things/*"]
    assert status["member"] == "of-the-variable"
    assert status["cluster_id"] == "of-the-flag"


def test_variables_alone_are_enough(tmp_path: Path) -> None:
    variables = {"PIVOT_LISTEN": "127.0.0.1:0", "PIVOT_KEYS": "settings users/*", "PIVOT_NAME": "v"}
    with serving(tmp_path, environment=variables) as member:
        status = pivot_json("status", "--url", member.url)
    assert [collection["path"] for collection in status["collections"]][:2] == ["settings", "users/*"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("listen = 7", "listen"),
        ('colour = "red"', "colour"),
        ("listen = ", "file"),
        ("[knobs]\nheartbeat_s = -1", "heartbeat_s"),
        ("[knobs]\npush_rows_max = 0", "push_rows_max"),
        ('[[keys]]\npath = "a/**"', "a/**"),
        ('[[keys]]\npath = "a"\npaht = "b"', "paht"),
        ("[knobs]\nheartbeat_s = inf", "heartbeat_s is inf"),
        ("[knobs]\nheartbeat_s = nan", "heartbeat_s is nan"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_file_and_what_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    code, out, err = pivot("serve", "--config", str(file))
    assert (code, out) == (2, ""), err
    assert "wrong.toml" in err
    assert named in err
    assert err.count("\n") == 1


def test_an_address_in_use_is_one_line_that_names_it(tmp_path: Path) -> None:
    with serving(tmp_path, "--key", "a") as first:
        code, _, err = pivot("serve", "--key", "a", "--listen", first.address)
    assert code == 3
    assert first.address in err
    assert err.splitlines()[-1].startswith("pivot: ")


def test_a_node_registers_once_under_the_nodes_key_also_when_it_starts_again(tmp_path: Path) -> None:
    flags = (*KEYS, "--nodes-key", "things/*")
    node_flags = (*flags, "--advertise", "auto", "--name", "n1")
    with serving(tmp_path, *flags) as leader:
        with serving(tmp_path, *node_flags, "--leader", leader.url) as node:
            address = node.address
            eventually(lambda: bool(pivot_json("get", "things/*", "--url", leader.url)))
            (first,) = pivot_json("get", "things/*", "--url", leader.url)
            assert first["data"] == {"ip": "127.0.0.1", "port": int(address.rpartition(":")[2])}
            node.stop()
        with serving(tmp_path, *node_flags, "--leader", leader.url, "--listen", address) as node:
            eventually(lambda: healthy_peers(node) == [leader.url])
            pivot_json("set", "settings", "1", "--url", node.url)
            eventually(lambda: pivot("get", "settings", "--url", leader.url)[1] == "1\n")
            assert pivot_json("get", "things/*", "--url", leader.url) == [first]


def test_logs_have_one_line_for_peer_up_down_and_reset(tmp_path: Path) -> None:
    flags = (*KEYS, "--log", "json")
    with serving(tmp_path, *flags) as leader:
        address = leader.address
        with serving(tmp_path, *flags, "--leader", address, "--name", "n1") as node:
            eventually(lambda: healthy_peers(leader) == ["n1"])
            leader.stop(signal.SIGKILL)
            with serving(tmp_path, *flags, "--listen", address):
                eventually(lambda: [event["event"] for event in node.events()].count("reset") == 2)
                events = [event["event"] for event in node.events()]
    assert events == ["serving", "peer up", "peer down", "peer up", "reset", "reset"]


def test_a_conflict_is_one_line_that_names_the_key_the_winner_and_the_loser(tmp_path: Path) -> None:
    flags = (*KEYS, "--log", "json")
    with serving(tmp_path, *flags) as leader:
        address = leader.address
        leader.stop(signal.SIGKILL)
    node_flags = (*flags, "--leader", address)
    with serving(tmp_path, *node_flags) as one, serving(tmp_path, *node_flags) as two:
        older = pivot_json("set", "settings", "1", "--url", one.url)["stamp"]
        newer = pivot_json("set", "settings", "2", "--url", two.url)["stamp"]
        with serving(tmp_path, *flags, "--listen", address) as leader:
            eventually(lambda: any(event["event"] == "conflict" for event in leader.events()))
            (conflict,) = (event for event in leader.events() if event["event"] == "conflict")
    assert (conflict["key"], conflict["winner"], conflict["loser"]) == ("settings", newer, older)


def live_member(folder: Path, setting: str, *, ahead_s: int = 0) -> AbstractContextManager[Serving]:
    """A member of a live cluster, whose clock may be ahead."""
    file, clock = folder / "live.toml", folder / "live.clock"
    file.write_text(f'listen = "127.0.0.1:0"\nlog = "json"\n{setting}\n[[keys]]\npath = "settings"\n')
    clock.write_bytes((ahead_s * 10**9).to_bytes(OFFSET_BYTES, "little", signed=True))
    return serving(folder, str(file), str(clock), program=LIVE_MEMBER)


def test_a_write_that_is_rejected_is_one_line_that_names_the_key_and_the_reason(tmp_path: Path) -> None:
    with (
        serving(tmp_path, *KEYS) as leader,
        live_member(tmp_path, f'cluster_url = "{leader.url}"', ahead_s=120) as node,
    ):
        eventually(lambda: healthy_peers(node) == [leader.url])
        pivot_json("set", "settings", "1", "--url", node.url)
        eventually(lambda: any(event["event"] == "rejected" for event in node.events()))
        rejected = next(event for event in node.events() if event["event"] == "rejected")
    assert (rejected["key"], rejected["level"]) == ("settings", "warning")
    assert "clock_ahead" in rejected["reason"]


def websocket_of(member: Serving) -> "subprocess.Popen[str]":
    """A client that watches a list, started and seen to have got its first state."""
    command = [*COMMAND, "watch", "users/*", "--url", member.url]
    client = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "{}\n"
    return client


def connect(member: Serving) -> socket.socket:
    host, _, port = member.address.rpartition(":")
    return socket.create_connection((host, int(port)))


def idle_connection(member: Serving) -> socket.socket:
    """A client that keeps its connection open after an answer."""
    connection = connect(member)
    connection.sendall(b"GET /users/* HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    return connection


def a_client_that_watches(leader: Serving) -> AbstractContextManager[object]:
    return websocket_of(leader)


def a_client_that_is_idle(leader: Serving) -> AbstractContextManager[object]:
    return idle_connection(leader)


def a_client_that_does_not_read(leader: Serving) -> AbstractContextManager[object]:
    """It asked for more than all buffers between us hold."""

    async def fill() -> None:
        async with Client(leader.url) as client:
            for number in range(12):
                await client.set(f"users/{number}", "x" * 1_000_000)

    trio.run(fill)
    connection = connect(leader)
    connection.sendall(b"GET /users/* HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def a_client_that_stops_within_its_body(leader: Serving) -> AbstractContextManager[object]:
    connection = connect(leader)
    connection.sendall(b"POST /settings HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    return connection


@contextmanager
def a_node_that_follows(leader: Serving) -> Generator[None, None, None]:
    with TemporaryDirectory() as folder, serving(Path(folder), *KEYS, "--leader", leader.url) as node:
        eventually(lambda: len(healthy_peers(leader)) == 1)
        yield
        assert node.stop() == 0


CLIENTS = [
    a_client_that_watches,
    a_client_that_is_idle,
    a_client_that_does_not_read,
    a_client_that_stops_within_its_body,
    a_node_that_follows,
]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_a_clean_stop_takes_less_than_2_s_and_warns_of_nothing_with(
    client: Callable[[Serving], AbstractContextManager[object]], tmp_path: Path
) -> None:
    with serving(tmp_path, *KEYS, "--log", "json") as leader, client(leader):
        begin_s = time.monotonic()
        assert leader.stop() == 0
        assert time.monotonic() - begin_s < 2.0  # what is promised; it is half of it when nothing else runs
        assert [event for event in leader.events() if event["level"] in ("warning", "error")] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_with_clients_connected(tmp_path: Path, number: signal.Signals) -> None:
    with (
        serving(tmp_path, *KEYS, "--log", "json") as leader,
        serving(tmp_path, *KEYS, "--leader", leader.url, "--log", "json") as node,
    ):
        eventually(lambda: len(healthy_peers(leader)) == 1)
        with websocket_of(leader) as client, idle_connection(leader):
            assert leader.stop(number) == 0
            assert client.wait(30) == 0
            assert {event["level"] for event in leader.events()} == {"info"}
        assert node.stop(number) == 0
        assert "Traceback" not in node.log + leader.log


def test_a_member_of_a_live_cluster_stops_cleanly_when_its_stdin_ends(tmp_path: Path) -> None:
    with live_member(tmp_path, 'name = "n1"') as member:
        stdin = member.process.stdin
        assert stdin is not None
        stdin.write("what is said there does not matter")
        stdin.close()
        assert member.process.wait(WAIT_S) == 0


def test_a_node_on_disk_that_is_killed_brings_its_writes_to_the_leader_later(tmp_path: Path) -> None:
    with serving(tmp_path, *KEYS) as leader:
        address = leader.address
        leader.stop(signal.SIGKILL)
    node_flags = (*KEYS, "--leader", address, "--data", str(tmp_path / "node"))
    with serving(tmp_path, *node_flags) as node:
        pivot_json("set", "settings", '"kept"', "--url", node.url)
        pivot_json("set", "users/ann", "1", "--url", node.url)
        pivot_json("del", "users/ann", "--url", node.url)
        node.stop(signal.SIGKILL)
    with serving(tmp_path, *node_flags) as node:
        assert pivot("get", "settings", "--url", node.url)[1] == '"kept"\n'
        assert pivot_json("status", "--url", node.url)["durability"] == "full"
        with serving(tmp_path, *KEYS, "--listen", address) as leader:
            eventually(lambda: pivot("get", "settings", "--url", leader.url)[1] == '"kept"\n')
            assert pivot("get", "users/ann", "--url", leader.url)[0] == 1


def test_a_store_in_use_is_one_line_that_names_its_file(tmp_path: Path) -> None:
    with serving(tmp_path, *KEYS, "--data", str(tmp_path / "state")):
        code, out, err = pivot("serve", *KEYS, "--data", str(tmp_path / "state"), "--listen", "127.0.0.1:0")
    assert (code, out) == (1, "")
    assert str(tmp_path / "state" / "pivot.db") in err
    assert "another process" in err
    assert err.count("\n") == 1
