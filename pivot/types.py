"""Names of things that travel everywhere: ids, and the two clocks a decision may look at.

Layer: bottom; imports nothing of ours.
"""

from typing import TYPE_CHECKING, Final, NewType, TypeAlias

import msgspec

MemberId = NewType("MemberId", str)
"""Who sends an envelope: stable name of one running leader or node."""

StoreId = NewType("StoreId", str)
"""Identity of one store; written into `Entry.origin`."""

Epoch = NewType("Epoch", str)
"""Identity of one life of a store: new when it is created, wiped or restored. Empty means "none yet"."""

NO_EPOCH: Final = Epoch("")

Address = NewType("Address", str)
"""Where a transport reaches a peer: a member id, or the URL under which an upstream was configured."""

if TYPE_CHECKING:
    JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
    """Any value JSON can express."""
else:
    JsonValue = object  # msgspec reads annotations and knows no recursive alias; a decoder yields just these types


class Now(msgspec.Struct, frozen=True, gc=False):
    """The instant at which a behaviour decides.

    Attributes:
        wall_ns: this member's wall clock, ns since the Unix epoch; may step back or be wrong.
        monotonic_s: seconds on a clock that never steps back; only differences mean something.
    """

    wall_ns: int
    monotonic_s: float
