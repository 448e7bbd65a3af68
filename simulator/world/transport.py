"""SimulatedTransport: carries envelopes, as the same bytes as over HTTP, through the simulated network.

Layer: simulator/world.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, final

from pivot.core.messages import Envelope, Page
from pivot.errors import PeerError
from pivot.transport.base import Receiver
from pivot.transport.codec import decode, encode
from pivot.types import Address, JsonValue, MemberId
from simulator.world.network import Network

PORT: Final = 80
HEARTBEAT: Final = "heartbeat"
"""How a page that carries nothing is called in traces and counts."""


@final
class SimulatedTransport:
    """One member's way to the others; it knows them by name, and those that register by where they say they are.

    Attributes:
        refused: envelopes that the codec refused.
    """

    def __init__(
        self,
        member: MemberId,
        network: Network,
        *,
        deliver: Callable[[Callable[[], None]], None] | None = None,
        names: Mapping[str, MemberId] | None = None,
    ) -> None:
        """Prepare a transport.

        Args:
            member: whose it is.
            network: what carries the bytes.
            deliver: lets something happen to the member now or when its process goes on; None = always now.
            names: address -> who is there; every other address is a name.
        """
        self._names = names or {}
        self.refused = 0
        self._deliver = deliver
        self._member = member
        self._network = network

    def attach(self, receiver: Receiver) -> None:
        """See `Transport.attach`; the member is on the network from now on."""

        def receive(payload: bytes, sender: str) -> None:
            try:
                envelope = decode(payload)
            except PeerError:
                self.refused += 1
                return
            receiver.receive(envelope, Address(sender))

        def receive_when_running(payload: bytes, sender: str) -> None:
            assert self._deliver is not None
            self._deliver(partial(receive, payload, sender))

        def link_lost(peer: str, reason: str) -> None:
            tell = partial(receiver.link_lost, Address(peer), reason)
            if self._deliver is None:
                tell()
            else:
                self._deliver(tell)

        self._network.attach(self._member, receive if self._deliver is None else receive_when_running, link_lost)

    def send(self, envelope: Envelope) -> None:
        """See `Transport.send`."""
        body = envelope.body
        heartbeat = isinstance(body, Page) and not body.entries and body.since == body.next
        label = HEARTBEAT if heartbeat else str(body.__struct_config__.tag)
        target = self._names.get(envelope.target, envelope.target)
        self._network.send(self._member, target, encode(envelope), label)


def registration(place: int) -> dict[str, JsonValue]:
    """What a client writes under the nodes key about the member at this place among all members."""
    return {"ip": f"10.0.{place // 256}.{place % 256}", "port": PORT}


def names(members: Sequence[str]) -> dict[str, MemberId]:
    """Where members are, as those who read their registrations call them."""
    return {f"http://{registration(place)['ip']}:{PORT}": MemberId(name) for place, name in enumerate(members)}
