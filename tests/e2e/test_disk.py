"""The disk, seen from outside: stores that cannot be opened, and disks that fail under a running server.

The disks are real ones: a small file system of its own where the system lets us mount one, a limit on the size of
files, and a library that makes waiting for the disk fail.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pivot.engine.opening import FILE_NAME
from tests.e2e.processes import COMMAND, WAIT_S, Serving, clean_environment, eventually, pivot, pivot_json, serving

KEYS = ("--key", "settings", "--key", "users/*")
VALUE = "x" * 2000


def ask(method: str, url: str, value: object = None) -> tuple[int, Any]:
    """One request; returns the status, and what the answer says."""
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(url, data=body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


# Opening ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in it, to be copied."""
    folder = tmp_path_factory.mktemp("store")
    with serving(folder, *KEYS, "--data", str(folder / "state")) as server:
        for number in range(50):
            assert ask("POST", f"{server.url}/users/{number}", VALUE)[0] == 200
        server.stop()
    return folder / "state"


def write_garbage(file: Path) -> None:
    file.write_bytes(b"no database, whatever it is called" * 1000)


def damage(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(-4096, 2)
        stream.write(b"\xff" * 4096)


def make_foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE theirs (a)")


def make_newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 99")


def make_read_only(file: Path) -> None:
    file.chmod(0o444)


def make_folder_read_only(file: Path) -> None:
    file.parent.chmod(0o555)


def powerless() -> list[str]:
    """What a command begins with so that it must obey permissions, even when root runs the tests."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None or subprocess.run([setpriv, "--bounding-set", "-dac_override", "true"], check=False).returncode:
        pytest.skip("root ignores permissions, and cannot do without that here")
    return [setpriv, "--bounding-set", "-dac_override"]


def refused(folder: Path, *command: str) -> str:
    """Serve a folder, which must fail with exit code 1; returns the one line that says why."""
    done = subprocess.run(
        [*command, *COMMAND, "serve", *KEYS, "--data", str(folder), "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env=clean_environment(),
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith(f"pivot: store {folder / FILE_NAME}: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (write_garbage, "not a database"),
        (damage, "damaged"),
        (make_foreign, "another program"),
        (make_newer, "schema 99"),
        (make_read_only, "the file is read-only"),
        (make_folder_read_only, "its folder is read-only"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line_and_left_as_it_is(
    tmp_path: Path, store: Path, spoil: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "state"
    shutil.copytree(store, folder)
    spoil(folder / FILE_NAME)
    before = (folder / FILE_NAME).read_bytes()
    names = sorted(file.name for file in folder.iterdir())
    try:
        prefix = powerless() if "read-only" in said else []
        assert said in refused(folder, *prefix)
        assert (folder / FILE_NAME).read_bytes() == before
        assert sorted(file.name for file in folder.iterdir()) == names
    finally:
        folder.chmod(0o755)


def test_a_second_process_is_one_line_and_the_first_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with serving(tmp_path, *KEYS, "--data", str(folder)) as first:
        assert "open in another process" in refused(folder)
        assert ask("POST", f"{first.url}/settings", 1)[0] == 200
        assert "open in another process" in refused(folder)
        code, _, err = pivot(
            "restore", "-", "--data", str(folder), "--force", stdin=pivot("backup", "-", "--url", first.url)[1]
        )
        assert (code, "open in another process" in err) == (1, True)
        first.stop(signal.SIGKILL)
    with serving(tmp_path, *KEYS, "--data", str(folder)) as again:
        assert ask("GET", f"{again.url}/settings")[1]["data"] == 1


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Generator[Path, None, None]:
    """A file system of its own, of that size."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "pivot-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room; returns the file that took it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b"\0" * 4096)
    return filler


def test_a_store_that_is_begun_on_a_full_disk_is_one_line_and_can_be_begun_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:
        filler = fill(disk)
        assert "full" in refused(disk / "state")
        filler.unlink()
        with serving(tmp_path, *KEYS, "--data", str(disk / "state")) as server:
            assert ask("POST", f"{server.url}/settings", 1)[0] == 200
            server.stop()


# Running ---------------------------------------------------------------------------------------------------------


def write_until_refused(server: Serving, prefix: str) -> tuple[list[str], str]:
    """Write entries one by one; returns the keys of those that were acknowledged, and why the next was not."""
    done: list[str] = []
    for number in range(3000):
        key = f"users/{prefix}{number:04}"
        status, said = ask("POST", f"{server.url}/{key}", VALUE)
        if status != 200:
            assert status == 503, said
            return done, said["error"]
        done.append(key)
    raise AssertionError("nothing was refused")


def served(server: Serving) -> list[str]:
    """The keys it answers with, in order."""
    status, entries = ask("GET", f"{server.url}/users/*")
    assert status == 200
    assert all(entry["data"] == VALUE for entry in entries)
    return sorted(entry["path"] for entry in entries)


def written_again(server: Serving, key: str) -> bool:
    """Whether a write is taken by now; it must be refused with 503 until it is."""
    status, _ = ask("POST", f"{server.url}/{key}", VALUE)
    assert status in (200, 503)
    return status == 200


def test_a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        flags = (*KEYS, "--data", str(disk / "state"))
        with serving(tmp_path, *flags) as server:
            assert ask("POST", f"{server.url}/users/first", VALUE)[0] == 200
            filler = fill(disk)
            done, why = write_until_refused(server, "a")
            assert "full" in why
            assert FILE_NAME in why
            assert served(server) == [*done, "users/first"]
            assert ask("DELETE", f"{server.url}/users/first")[0] == 503
            assert ask("GET", f"{server.url}/_pivot/status")[1]["last_error"] == why
            assert pivot("backup", str(tmp_path / "b.ndjson"), "--url", server.url)[0] == 0
            filler.unlink()
            eventually(lambda: written_again(server, "users/later"))
            expected = [*done, "users/first", "users/later"]
            assert served(server) == expected
            server.stop(signal.SIGKILL)
        with serving(tmp_path, *flags) as server:
            assert served(server) == expected
            server.stop()


def test_errors_of_the_disk_refuse_writes_serve_reads_and_end_with_the_disk_s_trouble(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process cannot be set here")
    flags = (*KEYS, "--data", str(tmp_path / "state"))
    with serving(tmp_path, *flags) as server:
        pid = server.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (200_000, hard))
        done, why = write_until_refused(server, "a")
        assert "disk I/O error" in why
        assert FILE_NAME in why
        assert served(server) == done
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        eventually(lambda: written_again(server, "users/later"))
        assert served(server) == [*done, "users/later"]
        server.stop(signal.SIGKILL)
    with serving(tmp_path, *flags) as server:
        assert served(server) == [*done, "users/later"]


SYNC_FAILS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(const char *name, int fd) {
    const char *file = getenv("SYNC_FAILS_WHILE");
    if (file && access(file, F_OK) == 0) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return fails("fsync", fd); }
int fdatasync(int fd) { return fails("fdatasync", fd); }
"""


def test_what_was_written_but_not_waited_for_is_refused_and_does_not_come_back(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no compiler for the library that makes the disk fail")
    (tmp_path / "fails.c").write_text(SYNC_FAILS)
    library, flag = tmp_path / "fails.so", tmp_path / "failing"
    build = [compiler, "-shared", "-fPIC", str(tmp_path / "fails.c"), "-o", str(library), "-ldl"]
    subprocess.run(build, check=True)
    environment = {"LD_PRELOAD": str(library), "SYNC_FAILS_WHILE": str(flag)}
    flags = (*KEYS, "--data", str(tmp_path / "state"))
    with serving(tmp_path, *flags, environment=environment) as server:
        assert ask("POST", f"{server.url}/users/before", VALUE)[0] == 200
        flag.touch()
        for key in ("users/refused", "users/before"):
            status, said = ask("POST", f"{server.url}/{key}", VALUE)
            assert (status, "disk I/O error" in said["error"]) == (503, True)
        assert served(server) == ["users/before"]
        flag.unlink()
        eventually(lambda: written_again(server, "users/later"))
        assert served(server) == ["users/before", "users/later"]
        assert ask("GET", f"{server.url}/users/before")[1]["updated"] == 0
        server.stop(signal.SIGKILL)
    with serving(tmp_path, *flags) as server:
        assert served(server) == ["users/before", "users/later"]
        assert ask("GET", f"{server.url}/users/before")[1]["updated"] == 0


# Durability ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "durability"),
    [
        ((), "memory"),
        (("--durability", "memory"), "memory"),
        (("--data", "{}"), "full"),
        (("--data", "{}", "--durability", "full"), "full"),
        (("--data", "{}", "--durability", "normal"), "normal"),
    ],
)
def test_status_says_what_an_acknowledged_write_survives(
    tmp_path: Path, flags: tuple[str, ...], durability: str
) -> None:
    with serving(tmp_path, *KEYS, *(flag.format(tmp_path / "state") for flag in flags)) as server:
        assert pivot_json("status", "--url", server.url)["durability"] == durability
        assert f"durability {durability}" in pivot("status", "--url", server.url)[1]


def test_durability_is_also_a_variable_and_a_line_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pivot.toml"
    file.write_text(f'listen = "127.0.0.1:0"\ndata = "{tmp_path / "state"}"\ndurability = "normal"\n')
    with serving(tmp_path, "--config", str(file), "--key", "a") as server:
        assert ask("GET", f"{server.url}/_pivot/status")[1]["durability"] == "normal"
        server.stop()
    environment = {"PIVOT_DURABILITY": "full"}
    with serving(tmp_path, "--config", str(file), "--key", "a", environment=environment) as server:
        assert ask("GET", f"{server.url}/_pivot/status")[1]["durability"] == "full"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--durability", "full"), "durability is full, but there is no folder"),
        (("--durability", "normal"), "durability is normal, but there is no folder"),
        (("--durability", "memory", "--data", "somewhere"), "data is 'somewhere'"),
        (("--durability", "some", "--data", "somewhere"), "some"),
    ],
)
def test_durability_that_contradicts_the_rest_is_wrong_usage(flags: tuple[str, ...], named: str) -> None:
    code, out, err = pivot("serve", *KEYS, *flags)
    assert (code, out) == (2, ""), err
    assert named in err
    assert err.count("\n") == 1
