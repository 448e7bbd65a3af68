"""Peers: where other nodes are, as entries under the nodes key say.

Layer: core (pure). Whoever can write such an entry must not be able to aim us at the world: only IP addresses within
the configured networks count, and names, which may mean any address, do not. Start at `peer_address`.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from pivot.types import Address, JsonValue

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
PORT_MAX: Final = 2**16 - 1
_decoder = msgspec.json.Decoder(dict[str, JsonValue])


def peer_address(data: str, networks: Iterable[Network]) -> Address | None:
    """The URL of the node that an entry is about; None when it is about none, or one that may not be called.

    Args:
        data: the entry's value, JSON. A node has `ip` and `port`, also spelt `IP` and `Port`; a port is a number or
            digits, and without one, or with 0, the entry is plain data.
        networks: where nodes may be.
    """
    try:
        fields = _decoder.decode(data)
    except msgspec.DecodeError:
        return None
    ip, port = fields.get("ip", fields.get("IP")), fields.get("port", fields.get("Port"))
    if isinstance(port, str) and port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX)):
        port = int(port)
    if (
        not isinstance(ip, str)
        or "%" in ip
        or not isinstance(port, int)
        or isinstance(port, bool)
        or not 0 < port <= PORT_MAX
    ):
        return None
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return None
    if not any(address in network for network in networks):
        return None
    return Address(f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}")
