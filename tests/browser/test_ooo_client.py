"""`ooo-client`, the JavaScript client of the original, unmodified, in a real browser, at a leader and at a node.

The stories are those of the client's own tests. The package is fetched at its exact version, and not kept here; so are
the two that it needs. It asks for ky 0.31, which sets a property that today's browsers do not let be set, so that no
request can be made at all, to whatever server; it gets 0.33, the same in all that it uses.
"""

import functools
import json
import subprocess
import threading
from collections.abc import Callable, Generator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.e2e.processes import Serving, serving

pytestmark = pytest.mark.browser

PACKAGES = ("ooo-client@1.0.0", "fast-json-patch@3.1.1", "ky@0.33.3")
INTEGRITY = "sha512-uKuf6eN7d2vxY9hkgpyRsTW4ga43p7bc1JJPZ7lnJe7p3qmmAxySlAWu7a8nMoJ6a7wRJqUBr5JoRrL2nwOSgg=="
EMPTY: dict[str, Any] = {"created": 0, "updated": 0, "index": "", "data": {}}
PAGE = """<!doctype html><title>ooo</title>
<script type="importmap">{"imports": {
  "ooo-client": "/node_modules/ooo-client/ooo.js",
  "fast-json-patch": "/node_modules/fast-json-patch/index.mjs",
  "ky": "/node_modules/ky/distribution/index.js"
}}</script>
<script type="module">import ooo from "ooo-client"; window.ooo = ooo;</script>
"""
STORY = """async ([where, story]) => {
  const shown = [];
  const copy = (value) => JSON.parse(JSON.stringify(value));
  const follow = (key, begin, last) => new Promise((resolve, reject) => {
    const client = ooo(where + (key ? "/" + key : ""));
    client.onopen = () => begin(client);
    client.onerror = () => { client.close(); reject(new Error("the socket failed")); };
    client.onmessage = (message) => {
      shown.push(copy(message));
      if (last(shown)) { client.close(); resolve(shown); }
    };
  });
  const stories = {
    object: () => follow("settings", async (client) => {
      await client.publish("settings", { name: "a box 🧰" });
      await client.publish("settings", { name: "still a box 💾" });
      await client.unpublish("settings");
    }, (shown) => shown.length === 4),
    list: () => follow("users/*", async (client) => {
      const index = await client.publish("users/*", { name: "something 🧰" });
      await client.publish("users/" + index, { name: "still something 💾" });
      await client.unpublish("users/" + index);
    }, (shown) => shown.length === 4),
    "list delete": () => follow("users/*", async (client) => {
      const indexes = [];
      for (let i = 0; i < 10; i++) indexes.push(await client.publish("users/*", { name: "name" + i }));
      for (const index of indexes) await client.publish("users/" + index, { name: "again" + index });
      await client.unpublish("users/*");
    }, (shown) => shown.length === 22),
    clock: () => follow("", () => {}, (shown) => shown.length === 2),
    reconnect: () => new Promise((resolve, reject) => {
      const client = ooo(where + "/settings");
      client.reconnectInterval = 100;
      const told = [], urls = [];
      client.onopen = async () => {
        urls.push(client.ws.url);
        if (urls.length === 2) await client.publish("settings", { name: "after" });
      };
      client.onmessage = (message) => {
        told.push(copy(message));
        if (told.length === 1) client.close(true);
        if (told.length === 2) { client.close(); resolve([urls, told]); }
      };
      client.onerror = () => { client.close(); reject(new Error("the socket failed")); };
    }),
    keys: async () => {
      const client = ooo();
      client.httpUrl = "http://" + where;
      shown.push((await client.stats()).keys);
      await client.publish("settings", { name: "a box" });
      shown.push((await client.stats()).keys);
      await client.unpublish("settings");
      shown.push((await client.stats()).keys);
      return shown;
    },
    get: async () => {
      const client = ooo();
      client.httpUrl = "http://" + where;
      await client.publish("box/1/things/1", { name: "a thing in box 1" });
      await client.publish("box/2/things/0", { name: "a thing in box 2" });
      return [await client.get("*"), await client.get("box/*/things/*"), await client.get("box/2/things/0")];
    },
  };
  const late = new Promise((_, reject) => setTimeout(
    () => reject(new Error("shown so far: " + JSON.stringify(shown))), 20000));
  return Promise.race([stories[story](), late]);
}"""


@pytest.fixture(scope="module")
def client_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str, None, None]:
    """Where a page with the client is."""
    folder = tmp_path_factory.mktemp("ooo-client")
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    lock = json.loads((folder / "package-lock.json").read_text())
    assert lock["packages"]["node_modules/ooo-client"]["integrity"] == INTEGRITY
    (folder / "index.html").write_text(PAGE)

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012 - the base class has it so
            **SimpleHTTPRequestHandler.extensions_map,
            ".mjs": "text/javascript",
        }

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    files = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=files.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{files.server_port}/index.html"
    files.shutdown()
    thread.join()
    files.server_close()


@pytest.fixture(params=["leader", "node"])
def member(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Serving, None, None]:
    keys = ("--key", "settings", "--key", "users/*")
    with serving(tmp_path, *keys) as leader:
        if request.param == "leader":
            yield leader
            return
        with serving(tmp_path, *keys, "--leader", leader.address) as node:
            yield node


@pytest.fixture
def play(client_url: str, member: Serving, page: Page) -> Callable[[str], Any]:
    page.goto(client_url)
    page.wait_for_function("window.ooo !== undefined")

    def played(story: str) -> Any:
        return page.evaluate(STORY, [member.address, story])

    return played


def test_an_object_is_created_replaced_and_deleted(play: Callable[[str], Any]) -> None:
    before, created, replaced, deleted = play("object")
    assert before == deleted == EMPTY
    assert created["created"] > 0
    assert (created["updated"], created["index"], created["data"]) == (0, "settings", {"name": "a box 🧰"})
    assert replaced["created"] == created["created"]
    assert replaced["updated"] > 0
    assert replaced["data"] == {"name": "still a box 💾"}


def test_an_entry_of_a_list_is_created_replaced_and_deleted(play: Callable[[str], Any]) -> None:
    before, (created,), (replaced,), deleted = play("list")
    assert before == deleted == []
    assert (created["updated"], created["data"]) == (0, {"name": "something 🧰"})
    assert replaced["updated"] > 0
    assert replaced["data"] == {"name": "still something 💾"}


def test_a_list_is_deleted_at_once(play: Callable[[str], Any]) -> None:
    states = play("list delete")
    assert states[0] == states[-1] == []
    assert [len(state) for state in states[1:11]] == list(range(1, 11))
    assert all(entry["data"]["name"] == "again" + entry["index"] for entry in states[-2])
    created = [entry["created"] for entry in states[-2]]
    assert created == sorted(created, reverse=True)


def test_the_clock_goes_on(play: Callable[[str], Any]) -> None:
    first, second = play("clock")
    assert 0 < first < second


def test_a_subscription_goes_on_from_its_version_without_another_snapshot(play: Callable[[str], Any]) -> None:
    urls, (snapshot, patched) = play("reconnect")
    assert "?v=" not in urls[0]
    assert "?v=" in urls[1]
    assert snapshot == EMPTY
    assert patched["data"] == {"name": "after"}


def test_stats_name_the_keys(play: Callable[[str], Any]) -> None:
    assert play("keys") == [[], ["settings"], []]


def test_lists_globs_in_the_middle_and_single_entries_are_read(play: Callable[[str], Any]) -> None:
    top, things, thing = play("get")
    assert top == []
    assert [each["data"]["name"] for each in things] == ["a thing in box 2", "a thing in box 1"]
    assert thing["data"] == {"name": "a thing in box 2"}
