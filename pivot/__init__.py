"""Pivot keeps many servers' state in step: one leader, any number of nodes, last write wins.

Names are imported when they are first used, so that `pivot --help` stays quick.
"""

TYPE_CHECKING = False  # as in `typing`, which is not worth importing so early
if TYPE_CHECKING:
    from pivot.client import Client, Written
    from pivot.config import ClientSettings, Config, Key, Knobs
    from pivot.errors import NotRunningError, PivotError, RejectedError
    from pivot.replies import Item
    from pivot.server.instance import Instance, get_instance, setup
    from pivot.server.server import Server
    from pivot.server.storage import Storage

__all__ = [
    "Client",
    "ClientSettings",
    "Config",
    "Instance",
    "Item",
    "Key",
    "Knobs",
    "NotRunningError",
    "PivotError",
    "RejectedError",
    "Server",
    "Storage",
    "Written",
    "get_instance",
    "setup",
]

_HOMES = {
    "Client": "pivot.client",
    "ClientSettings": "pivot.config",
    "Config": "pivot.config",
    "Instance": "pivot.server.instance",
    "Item": "pivot.replies",
    "Key": "pivot.config",
    "Knobs": "pivot.config",
    "NotRunningError": "pivot.errors",
    "PivotError": "pivot.errors",
    "RejectedError": "pivot.errors",
    "Server": "pivot.server.server",
    "Storage": "pivot.server.storage",
    "Written": "pivot.client",
    "get_instance": "pivot.server.instance",
    "setup": "pivot.server.instance",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pivot' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
