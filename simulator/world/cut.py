"""A cut: some links, cut by one cause until it heals; the handle that the verbs of `Network` return.

Layer: simulator/world. Cuts may overlap: each heals by itself, and a link lets messages through when none is left.
"""

from collections.abc import Callable
from typing import final

from simulator.world.topology import Edge


@final
class Cut:
    """Some links, cut by one cause until it heals.

    Attributes:
        name: the cause, unique in its network.
        links: the links it cuts.
        lost: how many messages it stopped, alone or together with other cuts; 0 proves nothing about anything.
        healed: whether it is over.
    """

    __slots__ = ("_heal", "healed", "links", "lost", "name")

    def __init__(self, name: str, links: tuple[Edge, ...], heal: "Callable[[Cut], None]") -> None:
        self.name = name
        self.links = links
        self.lost = 0
        self.healed = False
        self._heal = heal

    def heal(self) -> None:
        """End this cut; links that other cuts hold stay cut. Does nothing the second time."""
        if not self.healed:
            self.healed = True
            self._heal(self)
