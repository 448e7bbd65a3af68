"""Requests beside the plain ones: PATCH, gzip both ways, CORS, and what a server says of itself at its root."""

import gzip
import json
import re
from typing import Any

import httpx
import pytest

from pivot.client import Client
from pivot.config import Config, Key
from pivot.errors import NotFoundError, RefusedError
from tests.e2e.servers import running

CONFIG = Config(keys=(Key("settings"), Key("users/*")))
LIMIT = 2**20


async def ask(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> httpx.Response:
    """A request of a client that is not ours."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, url + path, content=body, headers=named)


# PATCH ---------------------------------------------------------------------------------------------------------------


async def test_a_patch_merges_objects_and_is_answered_like_a_write() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        first = await client.set("settings", {"theme": {"name": "light", "size": 1}, "old": 1})
        written = await client.patch("settings", {"theme": {"size": 2}, "old": None})
        found = await client.get("settings")
        assert found.data == {"theme": {"name": "light", "size": 2}, "old": None}
        assert (found.created, found.updated, written.index) == (first.stamp, written.stamp, "settings")
        assert (await client.patch("settings", {}, ack="leader")).acked


async def test_a_patch_at_a_node_reaches_its_leader() -> None:
    async with (
        running(CONFIG) as leader,
        running(Config(keys=CONFIG.keys, cluster_url=leader)) as node,
        Client(node) as client,
        Client(leader) as other,
    ):
        await client.set("settings", {"a": 1}, ack="leader", ack_timeout_s=20)
        assert (await client.patch("settings", {"b": 2}, ack="leader", ack_timeout_s=20)).acked
        assert (await other.get("settings")).data == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/absent", b"{}", 404, "absent"),
        ("/users/*", b"{}", 400, "users/*"),
        ("/settings", b"[]", 400, "a patch is an object"),
        ("/settings", b'{"a":1}', 400, "clashes at '/a'"),
        ("/settings", b"", 400, "empty"),
        ("/settings", b"{", 400, "not JSON"),
        ("/settings", b'{"b":"' + b"x" * (LIMIT - 9) + b'"}', 400, f"at most {LIMIT}"),
    ],
)
async def test_a_patch_is_refused_and_changes_nothing_when_it_does_not_fit(
    path: str, body: bytes, status: int, named: str
) -> None:
    async with running(CONFIG) as url, Client(url) as client:
        await client.set("settings", {"a": {"b": 1}})
        before = await client.get("settings")
        response = await ask(url, "PATCH", path, body)
        assert (response.status_code, named in response.json()["error"]) == (status, True), response.text
        assert await client.get("settings") == before


async def test_the_client_says_why_a_patch_is_refused() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        with pytest.raises(NotFoundError, match="settings"):
            await client.patch("settings", {})
        await client.set("settings", [])
        with pytest.raises(RefusedError, match="an array"):
            await client.patch("settings", {})


# gzip ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2_000, 500_000])
async def test_a_long_answer_is_packed_for_whoever_takes_gzip_and_for_nobody_else(size: int) -> None:
    async with running(CONFIG) as url, Client(url) as client:
        await client.set("settings", "x" * size)
        packed = await ask(url, "GET", "/settings", Accept_Encoding="gzip, deflate")
        plain = await ask(url, "GET", "/settings", Accept_Encoding="identity")
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < size / 10
        assert "content-encoding" not in plain.headers
        assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
        assert packed.json() == plain.json()
        refused = await ask(url, "GET", "/settings", Accept_Encoding="gzip;q=0, identity")
        assert "content-encoding" not in refused.headers


async def test_a_short_answer_is_not_packed() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        await client.set("settings", 1)
        assert "content-encoding" not in (await ask(url, "GET", "/settings", Accept_Encoding="gzip")).headers


async def test_a_packed_value_is_taken() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        value = {"a": "x" * 10_000}
        body = gzip.compress(json.dumps(value).encode())
        assert (await ask(url, "POST", "/settings", body, Content_Encoding="gzip")).status_code == 200
        assert (await client.get("settings")).data == value


WHOLE = gzip.compress(b'"value"')


@pytest.mark.parametrize(
    ("body", "coding", "status", "named"),
    [
        (gzip.compress(b'"' + b"x" * 50_000_000 + b'"', 9), "gzip", 413, str(LIMIT)),
        (gzip.compress(b" " * (LIMIT + 1)), "gzip", 413, str(LIMIT)),
        (b"1", "gzip", 400, "is not gzip"),
        (WHOLE[:-9], "gzip", 400, "end is missing"),
        (WHOLE + b"1", "gzip", 400, "after the end"),
        (gzip.compress(b""), "gzip", 400, "empty"),
        (b"1", "br", 415, "br"),
    ],
    ids=["bomb", "one too many", "no gzip", "cut", "more", "nothing", "brotli"],
)
async def test_a_packed_value_is_refused_and_changes_nothing_when_it_is_too_long_or_broken(
    body: bytes, coding: str, status: int, named: str
) -> None:
    async with running(CONFIG) as url:
        response = await ask(url, "POST", "/settings", body, Content_Encoding=coding)
        assert (response.status_code, named in response.json()["error"]) == (status, True), response.text
        assert (await ask(url, "GET", "/settings")).status_code == 404


# CORS ----------------------------------------------------------------------------------------------------------------


async def test_a_page_of_any_origin_may_use_the_data_routes_and_not_those_of_the_cluster() -> None:
    async with running(CONFIG) as url:
        preflight = await ask(url, "OPTIONS", "/users/ann", Origin="http://page", Access_Control_Request_Method="PATCH")
        assert preflight.is_success
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert "PATCH" in preflight.headers["access-control-allow-methods"]
        assert "Content-Type" in preflight.headers["access-control-allow-headers"]
        for path in ("/", "/absent", "/settings"):
            response = await ask(url, "GET", path, Origin="http://page")
            assert response.headers["access-control-allow-origin"] == "*"
            assert "X-Pivot-Stamp" in response.headers["access-control-expose-headers"]
        for method in ("GET", "OPTIONS"):
            response = await ask(url, method, "/_pivot/status", Origin="http://page")
            assert "access-control-allow-origin" not in response.headers


# The root ------------------------------------------------------------------------------------------------------------


async def root(url: str, query: str) -> Any:
    response = await ask(url, "GET", "/?" + query, Accept="application/json")
    assert response.headers["content-type"] == "application/json"
    return response.json()


async def test_the_root_lists_keys_page_by_page() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        for key in ("settings", "users/ann", "users/bob", "elsewhere"):
            await client.set(key, 1)
        everything = {"keys": ["elsewhere", "settings", "users/ann", "users/bob"], "total": 4}
        assert {**await root(url, ""), **everything} == await root(url, "api=keys")
        page = await root(url, "api=keys&page=2&limit=1&filter=users")
        assert page == {"keys": ["users/bob"], "page": 2, "limit": 1, "total": 2, "filter": "users"}
        assert (await root(url, "api=keys&page=9"))["keys"] == []


async def test_the_root_says_what_the_server_is_and_who_is_subscribed() -> None:
    async with running(CONFIG) as url, Client(url) as client:
        info = await root(url, "api=info")
        assert (info["role"], info["keys"]) == ("pivot", ["settings", "users/*"])
        assert await root(url, "api=state") == {"pools": [], "totalConnections": 0}
        async with client.watch("users/*") as states, client.watch("settings") as others:
            await anext(states)
            await anext(others)
            pools = [{"key": "settings", "connections": 1}, {"key": "users/*", "connections": 1}]
            assert await root(url, "api=state") == {"pools": pools, "totalConnections": 2}
        assert await root(url, "api=filters") == {"paths": [], "filters": [], "static": False}


# The page ------------------------------------------------------------------------------------------------------------

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def test_a_browser_gets_the_page_and_every_program_gets_json() -> None:
    async with running(CONFIG) as url:
        page = await ask(url, "GET", "/", Accept=BROWSER)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "Accept" in page.headers["vary"]
        for accept in ("application/json", "*/*", "application/json, text/html", "text/plain"):
            assert (await ask(url, "GET", "/", Accept=accept)).json()["keys"] == []
        assert (await ask(url, "GET", "/?api=keys", Accept=BROWSER)).json()["keys"] == []


async def test_the_page_consists_of_files_of_this_server_and_may_load_and_run_nothing_else() -> None:
    async with running(CONFIG) as url:
        page = await ask(url, "GET", "/", Accept=BROWSER)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script>|<style>| style=| on[a-z]+=|https?:", page.text)
        loaded = re.findall(r'<(?:script|link)[^>]* (?:src|href)="(/[^"]*)"', page.text)
        assert loaded == ["/_pivot/page.css", "/_pivot/page.js"]
        for path, kind in zip(loaded, ("text/css", "text/javascript"), strict=True):
            assert (await ask(url, "GET", path)).headers["content-type"] == f"{kind}; charset=utf-8"
        script = (await ask(url, "GET", loaded[1])).text
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|import\b", script)
