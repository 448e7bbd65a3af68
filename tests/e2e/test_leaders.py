"""What goes on between a server and its leaders: confirmed writes, several leaders, followers and their tombstones."""

from typing import Any

import msgspec
import trio

from pivot.client import Client
from pivot.config import Config, Key, Knobs
from pivot.errors import NotFoundError
from pivot.transport.http_client import HttpClient, Response
from simulator.live.proxy import Proxy
from tests.e2e.servers import running, until

KEYS = (Key("settings"), Key("users/*"))
QUICK = Knobs(collect_s=0.1, heartbeat_s=0.1, retry_s_min=0.1, retry_s_max=0.5)


async def request(url: str, method: str, path: str, body: bytes | None = None) -> Response:
    async with HttpClient() as http:
        return await http.request(method, url + path, content=body, timeout_s=10)


async def status(url: str) -> Any:
    return msgspec.json.decode((await request(url, "GET", "/_pivot/status")).body)


def error_of(response: Response) -> str:
    error: str = msgspec.json.decode(response.body)["error"]
    return error


async def has(url: str, key: str, value: object) -> bool:
    async with Client(url) as client:
        try:
            return (await client.get(key)).data == value
        except NotFoundError:
            return value is None


async def caught_up(url: str) -> bool:
    return all(each["place"]["epoch"] for each in (await status(url))["collections"] if each["follows"])


# Confirmed writes ----------------------------------------------------------------------------------------------------


async def test_a_write_that_wants_its_leader_is_there_when_it_is_answered() -> None:
    async with running(Config(keys=KEYS)) as leader, running(Config(keys=KEYS, cluster_url=leader)) as node:
        await until(lambda: caught_up(node))
        written = await request(node, "POST", "/settings?ack=leader&timeout=20", b"1")
        assert (written.status, written.body) == (200, b'{"index":"settings"}\n')
        assert await has(leader, "settings", 1)
        pushed = await request(node, "POST", "/users/*?ack=leader&timeout=20", b"2")
        assert pushed.status == 200
        gone = await request(node, "DELETE", "/settings?ack=leader&timeout=20")
        assert (gone.status, gone.body) == (204, b"")
        assert await has(leader, "settings", None)


async def test_a_write_without_its_leader_is_kept_and_said_to_be_unconfirmed() -> None:
    async with running(Config(keys=KEYS, cluster_url="http://127.0.0.1:1")) as node:
        written = await request(node, "POST", "/settings?ack=leader&timeout=0.05", b"1")
        assert (written.status, written.body) == (202, b'{"index":"settings","acked":false}\n')
        assert "x-pivot-stamp" in written.headers
        assert await has(node, "settings", 1)
        gone = await request(node, "DELETE", "/settings?ack=leader&timeout=0")
        assert (gone.status, gone.body) == (202, b'{"index":"","acked":false}\n')
        assert await has(node, "settings", None)


async def test_a_leader_confirms_its_own_writes_at_once() -> None:
    async with running(Config(keys=KEYS)) as leader:
        assert (await request(leader, "POST", "/settings?ack=leader&timeout=0", b"1")).status == 200


async def test_a_confirmation_that_nobody_can_give_is_refused_and_nothing_is_written() -> None:
    async with running(Config(keys=KEYS)) as leader:
        for path, reason in (
            ("/elsewhere?ack=leader", "key 'elsewhere' is in no collection, so no leader can confirm it"),
            ("/settings?ack=everybody", "parameter ack is 'everybody', allowed is leader"),
            ("/settings?ack=leader&timeout=-1", "parameter timeout is '-1', allowed is 0 to 60 s"),
            ("/settings?ack=leader&timeout=soon", "parameter timeout is 'soon', allowed is 0 to 60 s"),
        ):
            refused = await request(leader, "POST", path, b"1")
            assert (refused.status, error_of(refused)) == (400, reason)
        assert await has(leader, "settings", None)


# Several leaders -----------------------------------------------------------------------------------------------------


async def test_every_key_goes_to_its_own_leader() -> None:
    async with (
        running(Config(keys=(Key("a/*"), Key("c/*")))) as first,
        running(Config(keys=(Key("b/*"), Key("c/*")))) as second,
    ):
        keys = (Key("a/*"), Key("b/*", cluster_url=second), Key("c/*", local=True))
        async with running(Config(keys=keys, cluster_url=first)) as mixed:
            for key in ("a/x", "b/x", "c/x"):
                await request(mixed, "POST", f"/{key}", b"1")
            await until(lambda: has(first, "a/x", 1))
            await until(lambda: has(second, "b/x", 1))
            await request(second, "POST", "/b/y", b"2")
            await until(lambda: has(mixed, "b/y", 2))
            said = await status(mixed)
            assert said["role"] == "mixed"
            assert {peer["address"] for peer in said["peers"]} == {first, second}
            assert {each["path"]: each["outbox"] for each in said["collections"]} == {
                "a/*": 0, "b/*": 0, "c/*": 0, "": 0
            }  # fmt: skip
            assert await has(first, "c/x", None)
            assert await has(second, "c/x", None)


async def test_a_member_that_leads_one_key_and_follows_for_another_has_followers_of_its_own() -> None:
    async with running(Config(keys=(Key("a/*"),))) as top:
        middle_keys = (Key("a/*"), Key("b/*", local=True))
        async with running(Config(keys=middle_keys, cluster_url=top)) as middle:
            keys = (Key("a/*"), Key("b/*", cluster_url=middle))
            async with running(Config(keys=keys, cluster_url=top)) as bottom:
                await request(bottom, "POST", "/b/x", b"1")
                await until(lambda: has(middle, "b/x", 1))
                await request(bottom, "POST", "/a/x", b"2")
                await until(lambda: has(middle, "a/x", 2))


# Followers and tombstones --------------------------------------------------------------------------------------------


async def tombstones(url: str) -> int:
    return sum(each["tombstones"] for each in (await status(url))["collections"])


async def test_tombstones_end_when_all_followers_have_them_and_the_list_is_complete() -> None:
    async with (
        running(Config(keys=KEYS, knobs=QUICK)) as leader,
        running(Config(keys=KEYS, cluster_url=leader, knobs=QUICK)) as node,
    ):
        await until(lambda: caught_up(node))
        await request(node, "POST", "/users/ann?ack=leader", b"1")
        assert (await request(node, "DELETE", "/users/ann?ack=leader&timeout=20")).status == 204
        assert (await tombstones(leader), await tombstones(node)) == (1, 1)
        assert (await request(leader, "POST", "/_pivot/followers/complete")).status == 204
        await until(lambda: _none_left(leader, node))
        users = next(each for each in (await status(leader))["collections"] if each["path"] == "users/*")
        assert users["retention"]["known"]
        assert users["retention"]["floor"] > 0
        assert len(users["followers"]) == 1


async def _none_left(*urls: str) -> bool:
    return not any([await tombstones(url) for url in urls])


async def test_a_follower_that_will_not_come_back_holds_no_tombstone_once_the_operator_says_so() -> None:
    async with running(Config(keys=KEYS, knobs=QUICK)) as leader:
        async with running(Config(keys=KEYS, cluster_url=leader, knobs=QUICK)) as node:
            await request(node, "POST", "/users/ann?ack=leader&timeout=20", b"1")
            await until(lambda: _followed(leader))
        await request(leader, "DELETE", "/users/ann")
        await request(leader, "POST", "/_pivot/followers/complete")
        await trio.sleep(0.5)
        assert await tombstones(leader) == 1
        stores = {f["store"] for each in (await status(leader))["collections"] for f in each["followers"]}
        for store in stores:
            assert (await request(leader, "DELETE", f"/_pivot/followers/{store}")).status == 204
        await until(lambda: _none_left(leader))
        unknown = await request(leader, "DELETE", "/_pivot/followers/nobody")
        assert (unknown.status, error_of(unknown)) == (404, "store 'nobody' does not follow this member")


async def _followed(leader: str) -> bool:
    collections = (await status(leader))["collections"]
    return all(each["followers"] for each in collections if each["path"])


# Lost updates --------------------------------------------------------------------------------------------------------


async def test_a_lost_update_is_shown_with_both_versions() -> None:
    async with running(Config(keys=KEYS, knobs=QUICK)) as leader, trio.open_nursery() as nursery:
        link = Proxy(lambda: leader.removeprefix("http://"))
        await nursery.start(link.run)
        async with running(Config(keys=KEYS, cluster_url=link.address, knobs=QUICK)) as node:
            await until(lambda: caught_up(node))
            link.cut()
            await request(leader, "POST", "/settings", b'"leader"')
            await request(node, "POST", "/settings", b'"node"')
            link.heal()
            await until(lambda: has(leader, "settings", "node"))
            (conflict,) = msgspec.json.decode((await request(leader, "GET", "/_pivot/conflicts")).body)
            assert conflict["key"] == "settings"
            assert conflict["winner"]["entry"]["data"] == "node"
            assert conflict["loser"]["entry"]["data"] == "leader"
        nursery.cancel_scope.cancel()
