"""REST and WebSocket of one server, over real sockets, with our client and with raw requests."""

import gc
from typing import Any

import msgspec
import pytest
import trio

from pivot.client import Client
from pivot.config import Config, Key
from pivot.errors import NotFoundError, RefusedError
from pivot.transport.http_client import HttpClient, Response
from tests.contracts.hosts import read_until
from tests.e2e.servers import running

CONFIG = Config(keys=(Key("settings"), Key("users/*"), Key("box/*/things/*")))


async def request(url: str, method: str, path: str, body: bytes | None = None) -> Response:
    async with HttpClient() as http:
        return await http.request(method, url + path, content=body, timeout_s=10)


def error_of(response: Response) -> str:
    assert response.body.count(b"\n") == 1
    error: str = msgspec.json.decode(response.body)["error"]
    return error


async def test_a_replace_keeps_created_and_has_a_later_stamp() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        first = await client.set("settings", 1)
        created = await client.get("settings")
        assert (created.created, created.updated, created.index) == (first.stamp, 0, "settings")
        second = await client.set("settings", {"a": 1.5})
        replaced = await client.get("settings")
        assert (replaced.created, replaced.updated, replaced.data) == (first.stamp, second.stamp, {"a": 1.5})
        assert second.stamp > first.stamp


async def test_lists_are_newest_first_and_globs_may_stand_in_the_middle() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        for key in ("box/a/things/1", "box/b/things/2", "box/a/other/3"):
            await client.set(key, key)
        assert [item.path for item in await client.get_list("box/*/things/*")] == ["box/b/things/2", "box/a/things/1"]
        assert await client.get_list("nothing/*") == []


async def test_a_glob_delete_removes_what_matches_and_a_deleted_key_is_absent() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        pushed = await client.push("users/*", 1)
        await client.set("users/ann", 2)
        await client.delete(f"users/{pushed.index}")
        with pytest.raises(NotFoundError):
            await client.get(f"users/{pushed.index}")
        assert [item.path for item in await client.get_list("users/*")] == ["users/ann"]
        await client.delete("users/*")
        await client.delete("users/*")
        assert await client.get_list("users/*") == []
        with pytest.raises(NotFoundError, match="users/ann"):
            await client.delete("users/ann")


async def test_a_key_of_no_collection_is_stored_here() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        await client.set("elsewhere/deep/down", [])
        assert (await client.get("elsewhere/deep/down")).data == []
        assert [key async for key in client.keys("deep")] == ["elsewhere/deep/down"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "named"),
    [
        ("POST", "/settings", b"", 400, "empty"),
        ("POST", "/settings", b"{", 400, "not JSON"),
        ("POST", "/settings", b"NaN", 400, "NaN"),
        ("POST", "/settings", b'{"a":1,"a":2}', 400, "'a'"),
        ("POST", "/settings", b'"\xff"', 400, "UTF-8"),
        ("POST", "/settings", b'"\\ud800"', 400, "surrogate"),
        ("POST", "/settings", b"[" * 100_000, 400, "deep"),
        ("POST", "/settings", b'"' + b"x" * 2**20 + b'"', 413, "body has more than 1048576 bytes"),
        ("POST", "/settings", b'"' + b"x" * 2**23 + b'"', 413, "body has more than 1048576 bytes"),
        ("POST", "/a/*/b", b"1", 400, "a/*/b"),
        ("POST", "/a*", b"1", 400, "a*"),
        ("POST", "/a//b", b"1", 400, "a//b"),
        ("POST", "/a/", b"1", 400, "a/"),
        ("POST", "//a", b"1", 400, "'/a'"),
        ("GET", "//a", None, 400, "'/a'"),
        ("DELETE", "//a", None, 400, "'/a'"),
        ("POST", "///", b"1", 400, "'//'"),
        ("POST", "/" + "k" * 513, b"1", 400, "512"),
        ("POST", "/%00", b"1", 400, "may only have"),
        ("POST", "/%2E%2E/x", b"1", 400, ".."),
        ("POST", "/_pivot/mine", b"1", 400, "_pivot"),
        ("GET", "/a%20b", None, 400, "a b"),
        ("POST", "/a%0Ab", b"1", 400, "line break"),
        ("GET", "/?api=info&limit=0", None, 400, "limit is '0'"),
        ("GET", "/absent", None, 404, "absent"),
        ("DELETE", "/absent", None, 404, "absent"),
        ("GET", "/_pivot/nope", None, 404, "there is no route /_pivot/nope"),
        ("GET", "/?api=nothing", None, 400, "api is 'nothing'"),
        ("GET", "/?api=", None, 400, "api is ''"),
        ("GET", "/?api=keys&page=0", None, 400, "page is '0'"),
        ("GET", "/?api=keys&limit=1001", None, 400, "1 to 1000"),
        ("GET", "/?api=keys&limit=many", None, 400, "whole number"),
        ("TRACE", "/settings", None, 405, ""),
    ],
)
async def test_a_wrong_request_is_refused_with_one_line_and_changes_nothing(
    method: str, path: str, body: bytes | None, status: int, named: str
) -> None:
    async with running(CONFIG) as url:
        response = await request(url, method, path, body)
        assert response.status == status, response
        assert named in error_of(response)
        keys = msgspec.json.decode((await request(url, "GET", "/?api=keys")).body)
        assert keys["total"] == 0


async def test_a_long_body_is_refused_with_the_same_words_when_it_does_not_say_its_length() -> None:
    async with running(CONFIG) as url, await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as stream:
        await stream.send_all(b"POST /settings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.send_all(b"%x\r\n" % (2**20 + 1) + b"1" * (2**20 + 1))
        assert b"body has more than 1048576 bytes" in await read_until(stream, b"}")


async def next_state(states: Any) -> Any:
    with trio.fail_after(10):
        return await anext(states)


async def test_a_subscriber_sees_the_state_now_and_after_each_change() -> None:
    async with running(CONFIG) as url, Client(url) as client, client.watch("users/*") as states:
        assert await next_state(states) == []
        await client.set("users/ann", 1)
        (ann,) = await next_state(states)
        assert (ann["path"], ann["data"]) == ("users/ann", 1)
        await client.set("settings", "not in this list")
        await client.delete("users/ann")
        assert await next_state(states) == []


async def test_a_subscriber_of_an_absent_key_sees_the_empty_object() -> None:
    async with running(CONFIG) as url, Client(url) as client, client.watch("settings") as states:
        assert await next_state(states) == {"created": 0, "updated": 0, "index": "", "data": {}}
        await client.set("settings", 3)
        assert (await next_state(states))["data"] == 3


async def test_the_last_state_reaches_every_subscriber_under_writes() -> None:
    writes = 200
    async with running(CONFIG) as url, Client(url) as client, trio.open_nursery() as nursery:
        left, all_saw = 5, trio.Event()

        async def follow() -> None:
            nonlocal left
            async with Client(url) as mine, mine.watch("settings") as states:
                async for state in states:
                    assert isinstance(state, dict)
                    if state["data"] == writes:
                        left -= 1
                        if not left:
                            all_saw.set()
                        return

        for _ in range(left):
            nursery.start_soon(follow)
        for number in range(1, writes + 1):
            await client.set("settings", number)
        with trio.fail_after(10):
            await all_saw.wait()


@pytest.mark.parametrize(("pattern", "named"), [("a*", r"a\*"), ("/a", "'/a'")])
async def test_a_subscription_to_a_bad_pattern_is_refused_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, pattern: str, named: str
) -> None:
    monkeypatch.setattr("pivot.client.check_pattern", str)  # a client that does not look itself
    async with running(CONFIG) as url, Client(url) as client, client.watch(pattern) as states:
        with pytest.raises(RefusedError, match=named):
            await anext(states)
    gc.collect()  # a connection left open would be noticed here


async def test_status_names_the_member_its_collections_and_its_durability() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        await client.set("users/ann", 1)
        status: Any = await client.status()
        assert (status["role"], status["durability"]) == ("pivot", "memory")
        users = next(c for c in status["collections"] if c["path"] == "users/*")
        assert (users["entries"], users["tombstones"]) == (1, 0)


async def test_a_refusal_carries_its_status_and_reason_to_the_client() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        with pytest.raises(RefusedError) as refused:
            await client.set("settings", "x" * (2**20 + 1))
        assert refused.value.status == 413
