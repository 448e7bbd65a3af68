"""Registering: how a node says under the nodes key where it is.

Layer: server. Start at `register`.
"""

import re
from typing import Final

import msgspec
import trio

from pivot.core.entry import canonical
from pivot.errors import ConfigError
from pivot.server.stores import Stores

REGISTER_AFTER_S: Final = 5.0
"""How long a node that wants to register waits to see whether it is registered already."""


async def register(stores: Stores, address: str, *, known: trio.Event) -> None:
    """Register a server under the nodes key, unless it is registered there already.

    A node waits until it knows its leader's entries (not for ever: it may start while the leader is away); else every
    start would write the entry again.

    Args:
        stores: of the server.
        address: its `host:port`.
        known: set when it has all of its leader's entries under the nodes key.
    """
    key, value = registration(stores.config.nodes_key, address)
    if stores.config.cluster_url:
        with trio.move_on_after(REGISTER_AFTER_S):
            await known.wait()
    found = await stores.read(key)
    if not found or found[0].data != value:
        await stores.put(key, value)


def registration(nodes_key: str, address: str) -> tuple[str, str]:
    """Key and value (canonical JSON) under which a node at `host:port` registers; the same at every start.

    Raises:
        ConfigError: there is no nodes key, or the address is none.
    """
    if not nodes_key:
        raise ConfigError(f"cannot register {address!r}: no nodes key is configured")
    ip, separator, port = address.rpartition(":")
    if not separator or not ip or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ConfigError(f"address is {address!r}, it must be host:port with a port of 1 to 65535")
    name = re.sub(r"[^A-Za-z0-9.]", "-", f"{ip}-{port}").strip("-")
    return nodes_key[:-1] + name, canonical(msgspec.json.encode({"ip": ip, "port": int(port)}))
