"""`pivot backup` and `pivot restore`: one file, taken while the member runs, believed only when it proves itself."""

import json
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pivot.core.entry import Entry
from pivot.engine.dump import FORMAT, Header, Section, Tally, dump
from pivot.types import Epoch, StoreId
from tests.e2e.processes import COMMAND, Serving, clean_environment, eventually, pivot, pivot_json, serving
from tests.e2e.test_disk import ask, small_disk

KEYS = ("--key", "settings", "--key", "users/*")


def rows(file: Path) -> dict[str, dict[str, Any]]:
    """Key -> row of a backup."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {line["key"]: line for line in lines if line["type"] == "row"}


def values(server: Serving, pattern: str = "users/*") -> dict[str, Any]:
    """Key -> value, as a server has it."""
    return {entry["path"]: entry["data"] for entry in ask("GET", f"{server.url}/{pattern}")[1]}


@contextmanager
def writing(*servers: Serving) -> Generator[dict[str, int], None, None]:
    """Push to these servers until the end of the block; key -> value of what was acknowledged."""
    acknowledged: dict[str, int] = {}
    stop = threading.Event()

    def write(name: int, server: Serving) -> None:
        for number in count(name, len(servers)):
            if stop.is_set():
                return
            status, said = ask("POST", f"{server.url}/users/*", number)
            if status == 200:
                acknowledged[f"users/{said['index']}"] = number

    threads = [threading.Thread(target=write, args=each) for each in enumerate(servers)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_leader_is_restored_from_what_was_taken_while_all_wrote_and_its_nodes_bring_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "b.ndjson"
    with ExitStack() as stack:

        def start(name: str, folder: str, *flags: str) -> Serving:
            data = ("--data", str(tmp_path / folder))
            return stack.enter_context(serving(tmp_path, *KEYS, "--name", name, *data, *flags))

        leader = start("leader", "leader")
        nodes = [start(name, name, "--leader", leader.url) for name in ("n1", "n2")]
        assert ask("POST", f"{leader.url}/settings", {"of": "the leader"})[0] == 200
        assert ask("POST", f"{leader.url}/loose/key", "replicated nowhere")[0] == 200
        assert ask("POST", f"{leader.url}/users/gone", 1)[0] == 200
        eventually(lambda: all("users/gone" in values(node) for node in nodes))
        assert ask("DELETE", f"{leader.url}/users/gone")[0] == 204
        with writing(leader, *nodes) as acknowledged:
            eventually(lambda: len(acknowledged) > 100)
            before = dict(acknowledged)
            done = pivot_json("backup", str(file), "--url", leader.url)
            eventually(lambda: len(acknowledged) > len(before) + 100)
        eventually(lambda: all(acknowledged.items() <= values(node).items() for node in nodes))
        epoch = ask("GET", f"{leader.url}/_pivot/status")[1]["epoch"]
        for server in (leader, *nodes):
            server.stop(signal.SIGKILL)

        kept = rows(file)
        assert done["entries"] + done["tombstones"] == len(kept)
        assert kept["users/gone"]["deleted"]
        assert kept["loose/key"]["data"] == "replicated nowhere"
        assert len(kept) < len(acknowledged)  # some came later, and are with the nodes only

        assert pivot_json("restore", str(file), "--data", str(tmp_path / "again"))["entries"] == done["entries"]
        again = start("leader", "again", "--listen", leader.address)
        nodes = [start(name, name, "--leader", leader.url) for name in ("n1", "n2")]
        status = ask("GET", f"{again.url}/_pivot/status")[1]
        assert status["epoch"] != epoch
        eventually(lambda: all(acknowledged.items() <= values(server).items() for server in (again, *nodes)))
        for server in (again, *nodes):
            assert values(server) == values(again)
            assert "users/gone" not in values(server)
            assert ask("GET", f"{server.url}/settings")[1]["data"] == {"of": "the leader"}
        assert ask("GET", f"{again.url}/loose/key")[1]["data"] == "replicated nowhere"


def test_an_older_file_of_a_leader_is_copied_back_by_hand_and_its_nodes_bring_the_rest(tmp_path: Path) -> None:
    folder, copy = tmp_path / "leader", tmp_path / "copy"
    with ExitStack() as stack:

        def start(name: str, *flags: str) -> Serving:
            data = ("--data", str(tmp_path / name))
            return stack.enter_context(serving(tmp_path, *KEYS, "--name", name, *data, *flags))

        leader = start("leader")
        nodes = [start(name, "--leader", leader.url) for name in ("n1", "n2")]
        assert ask("POST", f"{leader.url}/users/early", 0)[0] == 200
        leader.stop()
        shutil.copytree(folder, copy)
        leader = start("leader", "--listen", leader.address)
        expected = {"users/early": 0}
        for number, server in enumerate([leader, *nodes] * 5):
            assert ask("POST", f"{server.url}/users/{number}", number)[0] == 200
            expected[f"users/{number}"] = number
        eventually(lambda: all(values(server) == expected for server in (leader, *nodes)))
        leader.stop()
        shutil.rmtree(folder)
        copy.rename(folder)
        leader = start("leader", "--listen", leader.address)
        eventually(lambda: all(values(server) == expected for server in (leader, *nodes)))


def test_a_node_is_restored_with_what_its_leader_has_never_seen(tmp_path: Path) -> None:
    file = tmp_path / "b.ndjson"
    with serving(tmp_path, *KEYS) as leader:
        address = leader.address
        leader.stop(signal.SIGKILL)
    flags = (*KEYS, "--leader", address, "--name", "n1")
    with serving(tmp_path, *flags, "--data", str(tmp_path / "node")) as node:
        assert ask("POST", f"{node.url}/users/ann", "only here")[0] == 200
        node.stop(signal.SIGKILL)
    assert pivot("backup", str(file), "--data", str(tmp_path / "node"))[0] == 0
    assert pivot("restore", str(file), "--data", str(tmp_path / "again"))[0] == 0
    with (
        serving(tmp_path, *KEYS, "--listen", address) as leader,
        serving(tmp_path, *flags, "--data", str(tmp_path / "again")),
    ):
        eventually(lambda: values(leader) == {"users/ann": "only here"})


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving, None, None]:
    """A server with 40 MB in it."""
    folder = tmp_path_factory.mktemp("large")
    value = '"' + "x" * 2000 + '"'
    entries = [
        Entry(f"users/{n:05}", n + 1, 0, value, deleted=False, prev=0, origin=StoreId("s")) for n in range(20_000)
    ]
    header = Header(FORMAT, StoreId("s"), Epoch("e"), 1)
    (folder / "b.ndjson").write_bytes(b"".join(dump(header, [Section("users/*", 0, entries)], Tally())))
    assert pivot("restore", str(folder / "b.ndjson"), "--data", str(folder / "state"))[0] == 0
    with serving(folder, *KEYS, "--data", str(folder / "state")) as server:
        yield server


def begun(server: Serving) -> socket.socket:
    """A client that has asked for a backup and reads no more of it than its beginning."""
    host, _, port = server.address.rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.connect((host, int(port)))
    connection.sendall(b"GET /_pivot/backup HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert connection.recv(200).startswith(b"HTTP/1.1 200")
    return connection


def test_a_backup_has_the_state_in_which_it_began_and_keeps_nobody_waiting(large: Serving) -> None:
    with begun(large) as connection:
        assert ask("POST", f"{large.url}/users/new", 1)[0] == 200  # while the rest of it has not been read
        assert ask("DELETE", f"{large.url}/users/19999")[0] == 204
        connection.settimeout(30)
        whole = b"".join(iter(lambda: connection.recv(2**20), b""))
    assert b'"users/new"' not in whole
    assert b'"key":"users/19999","created":20000' in whole
    assert b'"entries":20000,"tombstones":0' in whole


def test_clients_that_go_away_or_do_not_read_leave_room_for_others_only_up_to_a_limit(
    large: Serving, tmp_path: Path
) -> None:
    with begun(large), begun(large):
        code, _, err = pivot("backup", str(tmp_path / "b.ndjson"), "--url", large.url)
        assert (code, "429" in err, "at most 2" in err) == (3, True, True)
    assert not list(tmp_path.iterdir())
    eventually(lambda: pivot("backup", str(tmp_path / "b.ndjson"), "--url", large.url)[0] == 0)


def test_what_takes_longer_than_a_second_says_how_far_it_is(large: Serving) -> None:
    command = [*COMMAND, "backup", "-", "--url", large.url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
    ) as taking:
        assert taking.stderr is not None
        assert taking.stdout is not None
        first = taking.stderr.readline()  # nobody reads what it writes, so it takes as long as we like
        reading = threading.Thread(target=taking.stdout.read)
        reading.start()
        rest = taking.stderr.read()
        reading.join()
    assert first.startswith("backup: ")
    assert "rows" in first
    assert rest.splitlines()[-1].startswith("backup: 20,0")
    assert taking.returncode == 0


# What goes wrong -------------------------------------------------------------------------------------------------


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    """A backup of three entries and a tombstone."""
    with serving(tmp_path, *KEYS) as server:
        for number in range(4):
            assert ask("POST", f"{server.url}/users/{number}", number)[0] == 200
        assert ask("DELETE", f"{server.url}/users/0")[0] == 204
        code, out, err = pivot("backup", str(tmp_path / "b.ndjson"), "--url", server.url)
    assert (code, out) == (0, "")
    assert err.startswith("backup: 3 entries and 1 tombstones of store ")
    return tmp_path / "b.ndjson"


def test_a_backup_goes_through_pipes_and_comes_out_the_same(tmp_path: Path, taken: Path) -> None:
    folder = str(tmp_path / "state")
    code, out, err = pivot("restore", "-", "--data", folder, stdin=taken.read_text())
    assert (code, out) == (0, "")
    assert err.startswith("restore: 3 entries and 1 tombstones, verified; store ")
    code, out, _ = pivot("backup", "-", "--data", folder)
    assert code == 0
    assert json.loads(out.splitlines()[-1])["collections"] == [
        line for line in json.loads(taken.read_text().splitlines()[-1])["collections"] if line["path"] == "users/*"
    ]


def one_line(arguments: tuple[str, ...], *, code: int, stdin: str = "") -> str:
    """Run what must fail; returns the line that says why."""
    found, out, err = pivot(*arguments, stdin=stdin)
    assert (found, out) == (code, ""), err
    assert err.startswith("pivot: ")
    assert err.count("\n") == 1
    return err


def test_a_flawed_file_is_refused_in_one_line_and_the_folder_is_as_it_was(tmp_path: Path, taken: Path) -> None:
    whole = taken.read_text()
    folder = tmp_path / "state"
    for flawed, said in (
        (whole[: len(whole) // 2], "cut off"),
        (whole.replace('"data":1', '"data":7'), "altered"),
        ("root:x:0:0\n", "no backup of pivot"),
        ("", "no backup of pivot"),
        ('{"type":"pivot-backup","format":9,"store":"s","epoch":"e","taken_ns":1}\n', "format 9"),
    ):
        taken.write_text(flawed)
        err = one_line(("restore", str(taken), "--data", str(folder)), code=1)
        assert said in err
        assert str(taken) in err
        assert not folder.exists()
    assert "stdin" in one_line(("restore", "-", "--data", str(folder)), code=1, stdin=whole[:-2])
    assert "No such file" in one_line(("restore", str(tmp_path / "none"), "--data", str(folder)), code=1)
    assert not folder.exists()


def test_a_folder_in_use_is_replaced_only_when_forced_and_only_when_nobody_has_it_open(
    tmp_path: Path, taken: Path
) -> None:
    folder = tmp_path / "state"
    with serving(tmp_path, *KEYS, "--data", str(folder)) as server:
        assert ask("POST", f"{server.url}/users/other", "there")[0] == 200
        restore = ("restore", str(taken), "--data", str(folder))
        assert "not empty" in one_line(restore, code=1)
        assert "open in another process" in one_line((*restore, "--force"), code=1)
        assert "open in another process" in one_line(("backup", str(tmp_path / "x"), "--data", str(folder)), code=1)
        assert values(server) == {"users/other": "there"}
        server.stop(signal.SIGKILL)
    assert "not empty" in one_line(restore, code=1)
    assert pivot_json(*restore, "--force")["entries"] == 3
    with serving(tmp_path, *KEYS, "--data", str(folder)) as server:
        assert values(server) == {"users/1": 1, "users/2": 2, "users/3": 3}


def test_a_backup_that_fails_leaves_the_one_before_it(tmp_path: Path, taken: Path) -> None:
    before = taken.read_bytes()
    assert "127.0.0.1:1" in one_line(("backup", str(taken), "--url", "127.0.0.1:1"), code=3)
    assert "no such file" in one_line(("backup", str(taken), "--data", str(tmp_path / "none")), code=1)
    assert taken.read_bytes() == before
    assert not taken.with_name("b.ndjson.part").exists()
    with serving(tmp_path, *KEYS) as server, small_disk(tmp_path / "disk", 64) as disk:
        assert ask("POST", f"{server.url}/settings", "x" * 200_000)[0] == 200
        full = one_line(("backup", str(disk / "b.ndjson"), "--url", server.url), code=1)
        assert str(disk / "b.ndjson") in full
        assert "No space left" in full
        assert not list(disk.iterdir())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("backup",), "FILE"),
        (("backup", "x", "--url", "host:1", "--data", "folder"), "--data is 'folder'"),
        (("backup", "-", "--json"), "stdout"),
        (("backup", "--frobnicate"), "--frobnicate"),
        (("backup", "x", "--url", "ftp://x"), "ftp://x"),
        (("restore", "x"), "--data"),
        (("restore", "--frobnicate", "--data", "x"), "--frobnicate"),
    ],
)
def test_wrong_usage_is_2_and_one_line_that_names_it(arguments: tuple[str, ...], named: str) -> None:
    assert named in one_line(arguments, code=2)
