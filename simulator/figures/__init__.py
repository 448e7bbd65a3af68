"""Figures: pictures of runs, one call each. Every one says which run it shows, and what it left out.

Start at `space_time`. Each returns a `Picture`, which a notebook shows and `Picture.save` writes; `campaign` a `Page`.
"""

from simulator.figures.availability import availability
from simulator.figures.campaign import Page, campaign
from simulator.figures.card import card
from simulator.figures.difference import difference
from simulator.figures.divergence import divergence
from simulator.figures.fanout import fanout
from simulator.figures.ledger import ledger
from simulator.figures.picture import Picture
from simulator.figures.spacetime import space_time
from simulator.figures.strip import key_strip
from simulator.figures.sweep import sweep
from simulator.figures.topology import topology

__all__ = [
    "Page",
    "Picture",
    "availability",
    "campaign",
    "card",
    "difference",
    "divergence",
    "fanout",
    "key_strip",
    "ledger",
    "space_time",
    "sweep",
    "topology",
]
