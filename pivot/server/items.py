"""Items: an entry as users see it, in answers and in subscriptions.

Layer: server.
"""

from typing import Final

import msgspec

from pivot.core.entry import Entry
from pivot.paths import last_segment

ABSENT: Final = b'{"created":0,"updated":0,"index":"","data":{}}'
"""What a subscription shows of a key that has no entry."""


class Item(msgspec.Struct, frozen=True):
    """An entry as users see it.

    Attributes:
        created: when this life of the key began, ns since the Unix epoch.
        updated: when it was last replaced; 0 = never.
        index: last segment of the path.
        path: the key.
        data: the value.
    """

    created: int
    updated: int
    index: str
    path: str
    data: msgspec.Raw


def item(entry: Entry) -> Item:
    """What users see of an entry."""
    return Item(entry.created, entry.updated, last_segment(entry.key), entry.key, msgspec.Raw(entry.data.encode()))
