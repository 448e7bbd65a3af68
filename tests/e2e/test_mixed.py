"""Mixed mode over real sockets: a gateway leads some keys and follows another leader for others; a device follows both.

The whole story: created, updated and deleted on each side, with each link cut and healed.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from pivot import Config, Key, Knobs, Server, get_instance, setup
from simulator.live.proxy import Proxy
from tests.e2e.servers import until

QUICK = Knobs(
    heartbeat_s=0.2, retry_s_min=0.05, retry_s_max=0.2, ack_repeat_s=0.3, push_timeout_s=1.0, leader_timeout_s=60.0
)
HERE = "127.0.0.1:0"


def made(config: Config) -> Server:
    server = Server()
    setup(server, config)
    return server


@dataclass
class Site:
    """Who there is, and the links between them.

    Attributes:
        center: leads `devices/*`.
        gateway: leads `users/*` and `policies`, follows the center for `devices/*`.
        device: follows both.
        uplink: gateway to center.
        direct: device to center.
        local: device to gateway.
    """

    center: Server
    gateway: Server
    device: Server
    uplink: Proxy
    direct: Proxy
    local: Proxy

    @property
    def everybody(self) -> tuple[Server, ...]:
        return self.center, self.gateway, self.device


@asynccontextmanager
async def site() -> AsyncGenerator[Site]:
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:

        async def link(url: str) -> Proxy:
            proxy = Proxy(lambda: url.removeprefix("http://"))
            await nursery.start(proxy.run)
            return proxy

        center = made(Config(keys=[Key("devices/*")], knobs=QUICK, name="center"))
        at_center = await stack.enter_async_context(center.running(HERE))
        uplink, direct = await link(at_center), await link(at_center)
        ours = [Key("users/*", local=True), Key("policies", local=True), Key("devices/*")]
        gateway = made(Config(keys=ours, cluster_url=uplink.address, knobs=QUICK, name="gateway"))
        local = await link(await stack.enter_async_context(gateway.running(HERE)))
        theirs = [Key("users/*"), Key("policies"), Key("devices/*", cluster_url=direct.address)]
        device = made(Config(keys=theirs, cluster_url=local.address, knobs=QUICK, name="device"))
        await stack.enter_async_context(device.running(HERE))
        yield Site(center, gateway, device, uplink, direct, local)
        await stack.aclose()
        nursery.cancel_scope.cancel()


async def seen(servers: tuple[Server, ...], key: str, value: object) -> None:
    """Wait until all of these show a value; None = nothing."""

    async def everywhere() -> bool:
        found = [[item.data for item in await server.get_list(key)] for server in servers]
        return all(data == ([] if value is None else [value]) for data in found)

    await until(everywhere)


async def test_each_key_travels_between_its_leader_and_its_followers_and_nowhere_else() -> None:
    async with site() as here:
        center, gateway, device = here.everybody
        roles = [(await get_instance(server).status()).role for server in here.everybody]
        assert roles == ["pivot", "mixed", "node"]
        for number, (writer, key) in enumerate(
            [
                (center, "devices/a"), (gateway, "devices/b"), (device, "devices/c"),
                (gateway, "users/a"), (device, "users/b"), (gateway, "policies"), (device, "policies"),
            ]
        ):  # fmt: skip
            readers = here.everybody if key.startswith("devices") else (gateway, device)
            await writer.set(key, {"made": number})
            await seen(readers, key, {"made": number})
            other = readers[0] if writer is readers[-1] else readers[-1]
            await other.patch(key, {"changed": number})
            await seen(readers, key, {"made": number, "changed": number})
            await writer.delete(key)
            await seen(readers, key, None)
        assert await center.get_list("users/*") == await center.get_list("policies") == []


async def test_a_cut_link_stops_its_keys_only_and_what_was_written_meanwhile_arrives_when_it_heals() -> None:
    async with site() as here:
        center, gateway, device = here.everybody
        for key in ("devices/x", "devices/y", "users/x", "policies"):
            await (center if key.startswith("devices") else gateway).set(key, "before")
            await seen(here.everybody if key.startswith("devices") else (gateway, device), key, "before")

        here.uplink.cut()  # the gateway loses the center: its own keys go on, the device has the center itself
        await gateway.set("devices/x", "by the gateway, cut off")
        await center.delete("devices/y")
        await device.set("users/x", "by the device")
        await seen((gateway, device), "users/x", "by the device")
        await seen((center, device), "devices/y", None)
        await seen((center, device), "devices/x", "before")
        assert (await gateway.get("devices/y")).data == "before"
        here.uplink.heal()
        await seen(here.everybody, "devices/x", "by the gateway, cut off")
        await seen(here.everybody, "devices/y", None)

        here.local.cut()  # the device loses the gateway: devices still come from the center
        await device.set("policies", "by the device, cut off")
        await gateway.delete("users/x")
        await center.set("devices/z", "new")
        await seen(here.everybody, "devices/z", "new")
        assert [(await server.get("policies")).data for server in (gateway, device)] == [
            "before",
            "by the device, cut off",
        ]
        here.local.heal()
        await seen((gateway, device), "policies", "by the device, cut off")
        await seen((gateway, device), "users/x", None)

        here.direct.cut()  # the device loses the center: users and policies go on
        await device.delete("devices/x")
        await device.set("users/new", 1)
        await seen((gateway, device), "users/new", 1)
        await seen((center, gateway), "devices/x", "by the gateway, cut off")
        here.direct.heal()
        await seen(here.everybody, "devices/x", None)
        assert await center.get_list("users/*") == []
