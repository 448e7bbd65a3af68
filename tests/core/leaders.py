"""Leaders: a leader of users and settings, whom it knows, and what nodes say to it.

Start at `subscribed`.
"""

from typing import Final

from pivot.config import Knobs
from pivot.core.effects import SetTimer
from pivot.core.events import Started
from pivot.core.leader import COLLECT, HEARTBEAT, LeaderBehaviour
from pivot.core.messages import Ack, Hello, Subscribe
from pivot.core.questions import Failed
from pivot.types import Address, Epoch
from tests.core.builders import NODE, SETTINGS, USERS, A, answer, feed, received, run

KNOBS: Final = Knobs(page_window=2, peers_max=2, collect_s=60.0)
PEER: Final = Address(NODE)
BUSY: Final = Failed("busy", "full")


def hello(*collections: str, protocol: tuple[int, int] = (1, 1), cluster: str = "") -> Hello:
    """A node greets."""
    return Hello(protocol=protocol, cluster=cluster, wall_ns=1, collections=collections or (USERS,))


def subscribe(cursor: int, *, epoch: Epoch = A, collection: str = USERS, resync: bool = False) -> Subscribe:
    """A node wants what comes after its cursor."""
    return Subscribe(collection=collection, epoch=epoch, cursor=cursor, resync=resync)


def ack(cursor: int, *, epoch: Epoch = A, resync: bool = False) -> Ack:
    """A node has kept users up to its cursor."""
    return Ack(collection=USERS, epoch=epoch, cursor=cursor, resync=resync)


def begun(*, cluster: str = "", knobs: Knobs = KNOBS) -> LeaderBehaviour:
    """A leader that knows nobody."""
    leader = LeaderBehaviour(epoch=A, collections=(USERS, SETTINGS), cluster_id=cluster, knobs=knobs)
    assert run(leader, Started()) == [SetTimer(HEARTBEAT, 1.0, 1.0), SetTimer(COLLECT, 60.0, 60.0)]
    return leader


def greeted(*names: str, knobs: Knobs = KNOBS) -> LeaderBehaviour:
    """A leader that knows nodes; one unless they are named."""
    leader = begun(knobs=knobs)
    for name in names or (NODE,):
        run(leader, received(hello(), sender=name))
    return leader


def subscribed(cursor: int = 0, *, knobs: Knobs = KNOBS) -> LeaderBehaviour:
    """A leader whose only subscriber has everything up to `cursor`, nothing under way."""
    leader = greeted(knobs=knobs)
    asking = run(leader, received(subscribe(cursor)))
    run(leader, answer(asking, feed(cursor)))
    return leader
