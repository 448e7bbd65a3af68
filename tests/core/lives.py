"""Lives: schedules in which a leader loses the end of what it kept, or begins another life without that; see `rules`.

A disk that loses the end of what it kept is a copy of its earlier state that is put back. Sequence numbers in comments
are the leader's.
"""

from pivot.core.messages import Page
from tests.core.host import LEADER
from tests.core.scene import Scene

NODE = "node-0"


def a_leader_loses_the_end_of_its_feed() -> None:
    """An older file is put back: the node has more of the feed than there is, and brings it back."""
    scene = Scene()
    scene.put(LEADER, "users/a")
    scene.run()
    scene.cluster.copy(LEADER)
    scene.put(LEADER, "users/b")
    scene.put(NODE, "users/c")
    scene.delete(LEADER, "users/a")
    scene.run(1.0)
    assert (scene.cursor(NODE), scene.disk(NODE).rows["users/c"][1].acked) == (4, 4)
    scene.cluster.put_back(LEADER)
    scene.end(b="1", c="1")


def a_leader_loses_the_end_of_its_feed_and_gives_its_numbers_again() -> None:
    """The node is at 3, and so is the leader again before they meet; what was 2 and 3 was something else."""
    scene = Scene()
    scene.put(LEADER, "users/a")
    scene.run()
    scene.cluster.copy(LEADER)
    scene.put(LEADER, "users/b")
    scene.put(NODE, "users/c")
    scene.run(1.0)
    scene.cut(NODE)
    scene.cluster.put_back(LEADER)
    scene.put(LEADER, "users/d", "users/e")
    scene.run()
    assert scene.cursor(NODE) == scene.disk(LEADER).rows["users/e"][1].seq == 3
    scene.join(NODE)
    scene.end(a="1", b="1", c="1", d="1", e="1")


def a_leader_loses_what_it_has_confirmed_beyond_the_cursor() -> None:
    """A row was confirmed as 2, and the node had read up to 1, which the leader still has."""
    scene = Scene()
    scene.put(LEADER, "users/a")
    scene.run(1.0)
    scene.cluster.copy(LEADER)
    scene.hold(Page, NODE)
    scene.put(NODE, "users/b")
    scene.run()
    assert (scene.cursor(NODE), scene.disk(NODE).rows["users/b"][1].acked) == (1, 2)
    scene.lose(Page)
    scene.cluster.put_back(LEADER)
    scene.end(a="1", b="1")


def a_leader_loses_a_change_of_a_row_that_had_moved_on_when_it_was_read() -> None:
    """The node has read up to 3, but not 1, which was 4 by then and is 1 again."""
    scene = Scene()
    scene.hold(Page, NODE)
    scene.put(LEADER, "users/a", "users/b", "users/c")
    scene.cluster.copy(LEADER)
    scene.put(LEADER, "users/a", "users/d", value="2")
    scene.run()
    scene.take(Page)
    scene.cluster.hint(NODE, LEADER)
    first: list[bytes] = []
    while not first:
        scene.run(0.5)
        first = [line for line in scene.take(Page) if b"users/b" in line]
    scene.arrive(first[0])
    assert (scene.cursor(NODE), scene.live(NODE)) == (3, {"users/b": "1", "users/c": "1"})
    scene.lose(Page)
    scene.cluster.put_back(LEADER)
    scene.end(a="1", b="1", c="1")


def a_leader_loses_a_deletion_and_that_it_was_collected() -> None:
    """Nobody has the tombstone any more, so the key lives again, and for everybody: the node reads from the start."""
    scene = Scene()
    scene.put(LEADER, "users/a", "users/b")
    scene.run(3.0)
    scene.cluster.copy(LEADER)
    scene.delete(LEADER, "users/a")
    scene.run(4.0)
    assert scene.disk(NODE).place("users/*").floor == scene.floor == 3
    assert "users/a" not in scene.disk(NODE).table()
    scene.cluster.put_back(LEADER)
    scene.end(a="1", b="1")


def a_leader_begins_another_life_and_has_lost_nothing() -> None:
    """What was confirmed in the life before is: it is dropped when it is absent, and not written again."""
    scene = Scene()
    scene.put(LEADER, "users/a", "users/x")
    scene.run(3.0)
    scene.cut(NODE)
    scene.delete(LEADER, "users/x")
    scene.run(4.0)
    scene.expire(NODE)
    assert scene.floor == 3
    scene.cluster.crash(LEADER, wiped=False)
    scene.join(NODE)
    scene.end(a="1")
