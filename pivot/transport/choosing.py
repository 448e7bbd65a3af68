"""ChoosingTransport: before each greeting, asks the leader what it speaks, and goes the way on which both agree.

Layer: transport. A leader that speaks our own messages is reached by `HttpTransport`; for one that speaks "2.0", and
for each node of ours that does, something stands in that speaks our messages (see `pivot.legacy`). Nothing else is ever
sent to a leader that does not say so: the original would keep a greeting as the value of a key. Of a leader with which
we agree on nothing our member hears a refusal, and it asks again later. Start at `ChoosingTransport.send`.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Final, final

import trio

from pivot.config import Way
from pivot.core.messages import PROTOCOL, Envelope, Hello, Refused
from pivot.errors import BadAnswerError, TransportError
from pivot.transport.base import Receiver, Transport
from pivot.transport.http_client import HttpClient
from pivot.transport.version import Version, agree, ask_version
from pivot.types import NO_EPOCH, Address, MemberId, StoreId

ASK_S: Final = 5.0
"""How long a leader may take to say what it speaks."""


@final
class ChoosingTransport:
    """One member's way to its leaders, whatever they speak; everything else goes the native way.

    Attributes:
        spoken: leader -> what it said when it was last asked.
    """

    def __init__(
        self,
        native: Transport,
        client: HttpClient,
        *,
        original: Callable[[Address, trio.Nursery], Transport],
        leaders: Iterable[Address],
        allowed: Collection[Way],
    ) -> None:
        """Begin without having asked anybody.

        Args:
            native: carries our own messages.
            client: asks the leaders.
            original: makes what stands for a leader of the original.
            leaders: URLs of those we follow.
            allowed: ways that may be gone.
        """
        self.spoken: dict[Address, Version] = {}
        self._native = native
        self._client = client
        self._original = original
        self._originals: dict[Address, Transport] = {}
        self._stand_ins: dict[Address, Transport] = {}
        self._allowed = allowed
        self._leaders = dict.fromkeys(leaders)
        self._ways: dict[Address, Transport] = {}
        self._asking: dict[Address, Envelope] = {}
        self._receiver: Receiver | None = None
        self._nursery: trio.Nursery | None = None

    def attach(self, receiver: Receiver) -> None:
        """See `Transport.attach`."""
        self._receiver = receiver
        self._native.attach(receiver)

    def send(self, envelope: Envelope) -> None:
        """See `Transport.send`; what is said to a leader before both have agreed is lost, but for the greeting."""
        leader = envelope.target
        if leader not in self._leaders:
            self._stand_ins.get(leader, self._native).send(envelope)
        elif not isinstance(envelope.body, Hello):
            way = self._ways.get(leader)
            if way is not None:
                way.send(envelope)
        elif self._nursery is not None:
            asking, self._asking[leader] = leader in self._asking, envelope
            if not asking:
                self._nursery.start_soon(self._greet, leader)

    def admit(self, name: Address, stand_in: Transport) -> None:
        """From now on what is for the node of this name goes to what stands for it."""
        self._stand_ins[name] = stand_in

    def dismiss(self, name: Address) -> None:
        """Nothing stands for the node of this name any more."""
        self._stand_ins.pop(name, None)

    def way_to(self, leader: Address) -> Way | None:
        """How we follow a leader; None = not at all, or not yet."""
        way = self._ways.get(leader)
        if way is None:
            return None
        return "native" if way is self._native else "2.0"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask leaders until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def _greet(self, leader: Address) -> None:
        """Ask a leader what it speaks, and bring it the newest greeting."""
        assert self._receiver is not None, "attach comes before send"
        assert self._nursery is not None, "it runs"
        self._ways.pop(leader, None)
        reason, refusal = "", ""
        try:
            self.spoken[leader] = version = await ask_version(self._client, leader, timeout_s=ASK_S)
            match agree(version, self._allowed):
                case "native":
                    self._ways[leader] = self._native
                case "2.0":
                    known = self._originals.get(leader)
                    self._ways[leader] = known or self._original(leader, self._nursery)
                    self._originals[leader] = self._ways[leader]
                case None:
                    refusal = f"protocol {version.protocol!r} of {version.package or 'that server'} is not spoken here"
        except BadAnswerError as error:
            refusal = str(error)
        except TransportError as error:
            reason = str(error)
        finally:
            hello = self._asking.pop(leader)
        way = self._ways.get(leader)
        if way is not None:
            way.send(hello)
        elif refusal:
            body = Refused(refusal)
            us = Address(hello.sender)
            self._receiver.receive(Envelope(PROTOCOL, MemberId(leader), us, StoreId(""), NO_EPOCH, body), leader)
        else:
            self._receiver.link_lost(leader, reason)
