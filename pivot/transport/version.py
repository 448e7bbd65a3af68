"""Version: what a member says it speaks, at `GET /_pivot/version`, and asking a peer for it.

Layer: transport. The original says `{"protocol": "2.0", "package": ...}`; ours says the same, since it speaks that too,
and adds what it prefers, which the original does not read. Start at `ask_version`.
"""

from collections.abc import Collection
from importlib.metadata import version
from typing import Final

import msgspec

from pivot.config import Way
from pivot.core.messages import PROTOCOL
from pivot.errors import BadAnswerError
from pivot.transport.http_client import HttpClient, one_line
from pivot.types import Address

VERSION_PATH: Final = "/_pivot/version"
ORIGINAL: Final = "2.0"
"""Protocol of the original."""


class Native(msgspec.Struct, frozen=True):
    """Our own messages: lowest and highest version, and the member that speaks them."""

    least: int
    most: int
    member: str


class Version(msgspec.Struct, frozen=True):
    """What a member speaks.

    Attributes:
        protocol: of the original.
        package: software, for people.
        native: our own messages; None = it does not know them.
    """

    protocol: str
    package: str = ""
    native: Native | None = None

    @property
    def is_native(self) -> bool:
        """Whether it speaks our own messages in a version that we speak."""
        return self.native is not None and self.native.least <= PROTOCOL <= self.native.most


def agree(version: Version, allowed: Collection[Way]) -> Way | None:
    """How we replicate with a peer that speaks this; None = in no way that is `allowed`."""
    if version.is_native and "native" in allowed:
        return "native"
    return "2.0" if version.protocol == ORIGINAL and "2.0" in allowed else None


def our_version(member: str, allowed: Collection[Way]) -> Version:
    """What a member of ours says that it speaks."""
    native = Native(PROTOCOL, PROTOCOL, member) if "native" in allowed else None
    protocol = ORIGINAL if "2.0" in allowed else f"native {PROTOCOL}"
    return Version(protocol, f"pivot-trio {version('pivot-trio')}", native)


async def ask_version(client: HttpClient, url: Address, *, timeout_s: float) -> Version:
    """What the peer at `url` speaks.

    Raises:
        TransportError: it cannot be reached, or not in time.
        BadAnswerError: it says nothing that we understand.
    """
    asked = url + VERSION_PATH
    response = await client.request("GET", asked, timeout_s=timeout_s)
    if response.status != 200:
        raise BadAnswerError(asked, f"status {response.status}", one_line(response.body))
    try:
        return msgspec.json.decode(response.body, type=Version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswerError(asked, str(error), one_line(response.body)) from None
