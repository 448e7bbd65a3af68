"""Items: an entry as users see it, in answers and in subscriptions.

Layer: server.
"""

from typing import Final, TypeAlias

import msgspec

from pivot.core.entry import Entry
from pivot.paths import last_segment
from pivot.replies import Item

AnyItem: TypeAlias = Item[msgspec.Raw]
"""An entry whose value is passed on as it is."""
ABSENT: Final = b'{"created":0,"updated":0,"index":"","data":{}}'
"""What a subscription shows of a key that has no entry."""


def item(entry: Entry) -> AnyItem:
    """What users see of an entry."""
    return Item(entry.created, entry.updated, last_segment(entry.key), entry.key, msgspec.Raw(entry.data.encode()))
