"""Cuts and changes: some links, cut or in other weather by one cause until it ends; what the verbs of `Network` return.

Layer: simulator/world. Cuts may overlap: each heals by itself, and a link lets messages through when none is left.
Changes of weather may overlap, too: each says only what it changes, and of two that change the same the later counts.
Start at `Cut` and `Change`.
"""

from collections.abc import Callable
from typing import final

import msgspec
from msgspec.structs import replace

from simulator.world.latency import Latency
from simulator.world.link import Conditions, Deliver, Fate, How
from simulator.world.topology import Edge


@final
class Cut:
    """Some links, cut by one cause until it heals.

    Attributes:
        name: the cause, unique in its network.
        links: the links it cuts.
        how: what it does to messages.
        lost: how many messages it stopped, alone or together with other cuts; 0 proves nothing about anything.
        held: how many it held until it healed.
        healed: whether it is over.
    """

    __slots__ = ("_heal", "healed", "held", "how", "links", "lost", "name")

    def __init__(self, name: str, links: tuple[Edge, ...], heal: "Callable[[Cut], None]", how: How = "drop") -> None:
        self.name = name
        self.links = links
        self.how: How = how
        self.lost = 0
        self.held = 0
        self.healed = False
        self._heal = heal

    def heal(self) -> None:
        """End this cut; links that other cuts hold stay cut. Does nothing the second time."""
        if not self.healed:
            self.healed = True
            self._heal(self)


@final
class Difference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is other than the weather says, see `Conditions`; None = nothing."""

    latency: Latency | None = None
    correlation: float | None = None
    loss: float | None = None
    duplication: float | None = None
    duplication_s: float | None = None
    reordering: float | None = None
    reordering_s: float | None = None
    corruption: float | None = None
    bandwidth: float | None = None
    queue_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            BadConditionsError: names the number.
        """
        self.on(Conditions())

    def on(self, conditions: Conditions) -> Conditions:
        """These conditions with the difference."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return replace(conditions, **{name: value for name, value in fields.items() if value is not None})

    def touches(self, fate: Fate) -> bool:
        """Whether a message with such a fate has felt it."""
        if isinstance(fate, Deliver):
            return bool(
                self.latency
                or self.bandwidth
                or (self.duplication and fate.copies_at_ns)
                or (self.reordering and fate.reordered)
                or (self.corruption and fate.corrupted is not None)
            )
        return bool((fate.why == "loss" and self.loss) or (fate.why == "queue" and self.bandwidth))


@final
class Change:
    """Some links in other weather by one cause until it ends.

    Attributes:
        name: the cause, unique in its network.
        links: the links it is about.
        difference: what is other there.
        touched: how many messages felt it.
        ended: whether it is over.
    """

    __slots__ = ("_end", "difference", "ended", "links", "name", "touched")

    def __init__(
        self, name: str, links: tuple[Edge, ...], difference: Difference, end: "Callable[[Change], None]"
    ) -> None:
        self.name = name
        self.links = links
        self.difference = difference
        self.touched = 0
        self.ended = False
        self._end = end

    def end(self) -> None:
        """Let the weather be as it is without this change. Does nothing the second time."""
        if not self.ended:
            self.ended = True
            self._end(self)
