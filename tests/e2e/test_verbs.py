"""The client verbs of the command line against a real server: what they print, and what they exit with."""

import json
import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from pivot.statusview import show_status
from pivot.types import JsonValue
from tests.e2e.processes import COMMAND, WAIT_S, Serving, clean_environment, pivot, pivot_json, serving

NOBODY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving, None, None]:
    with serving(tmp_path_factory.mktemp("verbs"), "--key", "settings", "--key", "users/*") as running:
        yield running


def test_what_is_set_is_got(server: Serving) -> None:
    assert pivot("set", "settings", '{"b": 1, "a": [true, null]}', "--url", server.url) == (0, '"settings"\n', "")
    assert pivot("get", "settings", "--url", server.url) == (0, '{"a":[true,null],"b":1}\n', "")


def test_a_patch_is_merged_into_what_is_there(server: Serving) -> None:
    pivot("set", "patched/key", '{"a": {"b": 1}}', "--url", server.url)
    patched = pivot("patch", "patched/key", '{"a": {"c": null}}', "--url", server.url)
    assert patched == (0, '"key"\n', "")
    assert pivot("get", "patched/key", "--url", server.url)[1] == '{"a":{"b":1,"c":null}}\n'
    assert pivot("patch", "patched/none", "{}", "--url", server.url)[0] == 1


@pytest.mark.parametrize("value", ["-1", "-0.5", "true", "null", '"-"', "[]"])
def test_every_json_value_can_be_set_also_one_that_looks_like_a_flag(server: Serving, value: str) -> None:
    assert pivot("set", "values/one", value, "--url", server.url)[0] == 0
    assert pivot("get", "values/one", "--url", server.url)[1] == value + "\n"


@pytest.mark.parametrize("value", [(), ("-",)], ids=["none", "a hyphen"])
def test_a_value_is_read_from_stdin_when_it_is(server: Serving, value: tuple[str, ...]) -> None:
    assert pivot("set", "settings", *value, "--url", server.url, stdin='{"from": "stdin"}')[0] == 0
    assert pivot("get", "settings", "--url", server.url)[1] == '{"from":"stdin"}\n'
    assert pivot("push", "stdin/*", *value, "--url", server.url, stdin="-7")[0] == 0
    assert pivot("get", "stdin/*", "--url", server.url)[1].endswith("\t-7\n")
    assert pivot("del", "stdin/*", "--url", server.url)[0] == 0


def test_json_output_says_when_an_entry_was_created_and_where_it_is(server: Serving) -> None:
    written = pivot_json("set", "fresh/key", "1", "--url", server.url)
    assert written["index"] == "key"
    found = pivot_json("get", "fresh/key", "--url", server.url)
    assert found == {"created": written["stamp"], "updated": 0, "index": "key", "path": "fresh/key", "data": 1}


def test_pushed_entries_are_listed_newest_first(server: Serving) -> None:
    indexes = [pivot_json("push", "users/*", str(n), "--url", server.url)["index"] for n in range(3)]
    listed = pivot("get", "users/*", "--url", server.url)[1].splitlines()
    assert listed == [f"users/{index}\t{n}" for n, index in reversed(list(enumerate(indexes)))]
    assert pivot("ls", "users/", "--url", server.url)[1].splitlines() == [f"users/{index}" for index in sorted(indexes)]
    assert pivot("del", "users/*", "--url", server.url)[0] == 0
    assert pivot("get", "users/*", "--url", server.url) == (0, "", "")


def test_watch_prints_the_state_now_and_after_a_change(server: Serving) -> None:
    pivot("set", "watched/key", "1", "--url", server.url)
    code, out, _ = pivot("watch", "watched/*", "--count", "1", "--url", server.url)
    assert (code, json.loads(out)) == (0, {"watched/key": 1})


def test_status_says_who_leads_and_what_is_kept(server: Serving) -> None:
    status = pivot_json("status", "--url", server.url)
    assert status["role"] == "pivot"
    assert [collection["path"] for collection in status["collections"]][:2] == ["settings", "users/*"]
    assert "leads" in pivot("status", "--url", server.url)[1]


def test_absent_is_1_and_one_line_that_names_the_key(server: Serving) -> None:
    for verb in ("get", "del"):
        code, out, err = pivot(verb, "nobody/here", "--url", server.url)
        assert (code, out) == (1, "")
        assert err.count("\n") == 1
        assert "nobody/here" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("get", "bad key"), "bad key"),
        (("set", "a//b", "1"), "a//b"),
        (("set", "settings", "{oops"), "not JSON"),
        (("set", "settings", '{"a": 1, "a": 2}'), "'a'"),
        (("set", "settings", "--josn"), "'--josn' is neither an option nor JSON"),
        (("set", "settings", "-x"), "'-x' is neither an option nor JSON"),
        (("patch", "settings", "[]"), "'[]' is no JSON object"),
        (("push", "users", "1"), "key 'users' is no list: a new entry needs a glob"),
        (("frobnicate",), "frobnicate"),
        (("get",), "PATTERN"),
        (("watch", "settings", "--count", "many"), "many"),
        (("watch", "settings", "--count", "0"), "--count is 0, it must be at least 1"),
        (("get", "settings", "--url", "ftp://x"), "ftp://x"),
        (("serve", "--listen", "nowhere"), "nowhere"),
        (("serve", "--key", "a/*/b*"), "a/*/b*"),
        (("serve", "--key", "users/*", "--key", "users/1"), "users/1"),
        (("serve", "--leader", "host:1"), "--key"),
        (("serve", "--key", "a", "--advertise", "auto"), "nodes key"),
        (("serve", "--config", "/does/not/exist.toml"), "/does/not/exist.toml"),
        (("serve", "--log-level", "loud"), "loud"),
    ],
)
def test_wrong_usage_is_2_and_one_line_that_names_the_value(arguments: tuple[str, ...], named: str) -> None:
    code, out, err = pivot(*arguments)
    assert (code, out) == (2, ""), err
    assert named in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", [("get", "a"), ("set", "a", "1"), ("del", "a"), ("ls",), ("watch", "a"), ("status",)])
def test_nobody_there_is_3_and_one_line_that_names_the_address(verb: tuple[str, ...]) -> None:
    code, out, err = pivot(*verb, "--url", NOBODY)
    assert (code, out) == (3, "")
    assert NOBODY in err
    assert "refused" in err
    assert err.count("\n") == 1


def test_a_traceback_is_printed_only_with_debug() -> None:
    assert "Traceback" not in pivot("get", "a", "--url", NOBODY)[2]
    assert "Traceback" in pivot("get", "a", "--url", NOBODY, "--debug")[2]


def test_the_variable_names_the_server_and_the_flag_wins(server: Serving) -> None:
    assert pivot("ls", environment={"PIVOT_URL": NOBODY})[0] == 3
    assert pivot("ls", "--url", server.url, environment={"PIVOT_URL": NOBODY})[0] == 0


def test_output_that_nobody_reads_on_ends_a_command_quietly(server: Serving) -> None:
    pivot_json("set", "unread/key", "1", "--url", server.url)
    for verb in (("status",), ("get", "unread/key"), ("watch", "unread/key")):
        reader, writer = os.pipe()
        os.close(reader)
        command = [*COMMAND, *verb, "--url", server.url]
        with os.fdopen(writer, "wb") as nobody:
            done = subprocess.run(
                command, stdout=nobody, stderr=subprocess.PIPE, timeout=WAIT_S, env=clean_environment(), check=False
            )
        assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_is_130_and_nothing_is_said_also_when_it_comes_as_early_as_can_be(tmp_path: Path) -> None:
    interrupt = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    for first_imported in ("cyclopts", "trio"):
        folder = tmp_path / first_imported
        folder.mkdir()
        (folder / f"{first_imported}.py").write_text(interrupt)
        assert pivot("get", "a", environment={"PYTHONPATH": str(folder)}) == (130, "", "")


def test_help_says_how_a_variable_names_several_keys() -> None:
    words = pivot("serve", "--help")[1].replace("\u2502", " ").split()
    assert "In PIVOT_KEYS, put spaces between them." in " ".join(words)


def test_status_shows_what_others_said_letter_for_letter(capsys: pytest.CaptureFixture[str]) -> None:
    peer: JsonValue = {"address": "[bold]n1[/bold]", "role": "node", "healthy": False, "reason": "[/nonsense]"}
    show_status({"role": "pivot", "last_error": "[red]x", "peers": [peer]}, "http://[::1]:8080")
    out = capsys.readouterr().out
    assert all(text in out for text in ("[bold]n1[/bold]", "[/nonsense]", "[red]x", "[::1]"))


def test_our_own_bug_is_70(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import pivot.client\npivot.client.Client = None\n")
    code, _, err = pivot("get", "a", environment={"PYTHONPATH": str(tmp_path)})
    assert code == 70
    assert "our bug" in err
    assert err.count("\n") == 1
