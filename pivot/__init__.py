"""Pivot keeps many servers' state in step: one leader, any number of nodes, last write wins.

Names are imported when they are first used, so that `pivot --help` stays quick.
"""

TYPE_CHECKING = False  # as in `typing`, which is not worth importing so early
if TYPE_CHECKING:
    from pivot.client import Client, Written
    from pivot.config import Config, Key, Knobs
    from pivot.errors import PivotError
    from pivot.replies import Item
    from pivot.server.server import Server

__all__ = ["Client", "Config", "Item", "Key", "Knobs", "PivotError", "Server", "Written"]

_HOMES = {
    "Client": "pivot.client",
    "Config": "pivot.config",
    "Item": "pivot.replies",
    "Key": "pivot.config",
    "Knobs": "pivot.config",
    "PivotError": "pivot.errors",
    "Server": "pivot.server.server",
    "Written": "pivot.client",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pivot' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
