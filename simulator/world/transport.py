"""SimulatedTransport: carries envelopes, as the same bytes as over HTTP, through the simulated network.

Layer: simulator/world.
"""

from typing import final

from pivot.core.messages import Envelope
from pivot.errors import PeerError
from pivot.transport.base import Receiver
from pivot.transport.codec import decode, encode
from pivot.types import Address, MemberId
from simulator.world.network import Network


@final
class SimulatedTransport:
    """One member's way to the others; what an address is over HTTP is a member's name here.

    Attributes:
        refused: envelopes that the codec refused.
    """

    def __init__(self, member: MemberId, network: Network) -> None:
        self.refused = 0
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

        self._network.attach(self._member, receive)

    def send(self, envelope: Envelope) -> None:
        """See `Transport.send`."""
        label = envelope.body.__struct_config__.tag
        self._network.send(self._member, envelope.target, encode(envelope), str(label))
