"""Re-syncs: for each rule of R2 a schedule that needs it, told step by step; see `rules`.

Pages carry two rows, and two of them are under way at once. Sequence numbers in comments are the leader's.
"""

from pivot.core.messages import Gone, Page, Push, PushAck, Reset
from tests.core.host import LEADER
from tests.core.scene import Scene
from tests.core.schedules import HOUR_NS
from tests.core.world import Violation, read

NODE = "node-0"
OTHER = "node-1"


def missed(*, unconfirmed: bool = False, nodes: int = 1) -> Scene:
    """A node that is cut off has missed that `users/x` was deleted; the deletion is collected.

    The leader has a (1), b (2), c (5), d (6), e (7), f (8), its floor is 4, and the node has a, b and x. `unconfirmed`
    says that the node itself has written x, and does not know that it ever came to the leader.
    """
    scene = Scene(nodes)
    scene.put(LEADER, "users/a", "users/b")
    scene.run()
    if unconfirmed:
        written_and_unconfirmed(scene, "users/x")
    else:
        scene.put(LEADER, "users/x")
        scene.run(3.0)
    scene.cut(NODE)
    scene.delete(LEADER, "users/x")
    scene.put(LEADER, "users/c", "users/d", "users/e", "users/f")
    scene.run(4.0)
    scene.expire(NODE)
    assert scene.floor == 4
    return scene


def written_and_unconfirmed(scene: Scene, key: str) -> None:
    """The node writes a key that comes to the leader, and is cut off before it hears of that."""
    scene.hold(PushAck, NODE)
    scene.hold(Page, NODE)
    scene.put(NODE, key)
    scene.run()
    scene.cut(NODE)
    scene.lose(PushAck, Page)
    assert scene.disk(LEADER).rows[key][1].entry == scene.disk(NODE).rows[key][1].entry
    assert scene.disk(NODE).rows[key][1].acked is None


ALL = dict.fromkeys("abcdef", "1")


def pages_again(lines: list[bytes]) -> list[bytes]:
    """Those that are pages with rows of a re-sync of users."""

    def is_it(line: bytes) -> bool:
        body = read(line).body
        return isinstance(body, Page) and body.resync and body.collection == "users/*" and bool(body.entries)

    return [line for line in lines if is_it(line)]


def reading_again(scene: Scene, *, arriving: int) -> list[bytes]:
    """The node comes back and reads everything again: so many pages arrive, and those under way then are returned."""
    scene.hold(Page, NODE)
    scene.join(NODE)
    pages: list[bytes] = []
    while not pages:
        scene.run(0.5)
        pages = pages_again(scene.take(Page))
    for _ in range(arriving):
        scene.arrive(pages.pop(0))
        scene.run()
        pages += pages_again(scene.take(Page))
    return pages


def again_without_a(scene: Scene) -> None:
    """While the node is cut off once more, a is deleted and its deletion collected."""
    scene.cut(NODE)
    scene.delete(LEADER, "users/a")
    scene.put(LEADER, "users/g")
    scene.run(4.0)
    scene.expire(NODE)
    scene.take(Page)
    assert scene.floor == 9


# Where a re-sync begins and ends -------------------------------------------------------------------------------------


def a_floor_moves_during_a_resync() -> None:
    """H2: a has been read when it is deleted, and its deletion is collected before the next page."""
    scene = missed()
    reading_again(scene, arriving=1)
    again_without_a(scene)
    scene.lose(Page)
    scene.join(NODE)
    scene.end(b="1", c="1", d="1", e="1", f="1", g="1")


def a_page_of_an_earlier_reading_slips_into_a_resync() -> None:
    """H2: the page still has a, whose deletion the present re-sync should show."""
    scene = missed()
    late, *_ = reading_again(scene, arriving=0)
    again_without_a(scene)
    reading_again(scene, arriving=0)
    scene.arrive(late)
    scene.lose(Page)
    scene.end(b="1", c="1", d="1", e="1", f="1", g="1")


def a_node_connects_again_in_the_middle_of_a_resync() -> None:
    """H3: from a position beyond the floor it could push x, as if it had seen that x was deleted."""
    scene = missed(unconfirmed=True)
    reading_again(scene, arriving=2)
    scene.cluster.hint(NODE, LEADER)
    scene.run(4.0)
    scene.lose(Page)
    scene.end(**ALL, x="1")


def a_machine_stops_in_the_middle_of_a_resync() -> None:
    """H3: the position of a re-sync is no cursor: beyond the floor it would look as if nothing had been missed."""
    scene = missed()
    reading_again(scene, arriving=2)
    scene.cluster.crash(NODE, wiped=False)
    scene.lose(Page)
    scene.end(**ALL)


def a_late_word_that_something_was_collected_arrives_after_recovery() -> None:
    """H4: a needless re-sync reads pages from before a push, and takes a row confirmed meanwhile for deleted."""
    scene = missed()
    scene.copy(Gone, NODE)
    scene.join(NODE)
    scene.run(6.0)
    (late, *_) = scene.take(Gone)
    assert scene.cursor(NODE) == 8
    scene.hold(Push, NODE)
    scene.put(NODE, "users/y")
    scene.run()
    scene.hold(Page, NODE)
    scene.arrive(late)
    scene.run()
    pages = pages_again(scene.take(Page))
    for line in pages[:1]:
        scene.arrive(line)
        scene.run()
        pages += pages_again(scene.take(Page))
    scene.let(Push)
    scene.arrive(*pages[1:])
    scene.lose(Page)
    scene.end(**ALL, y="1")


def pages_of_two_readings_are_mixed() -> None:
    """H12: the last page of the first reading was the end then; a and b have moved behind it."""
    scene = missed()
    *_, last = reading_again(scene, arriving=1)
    scene.cluster.crash(NODE, wiped=False)
    scene.put(LEADER, "users/a", "users/b", value="2")
    first, *_ = reading_again(scene, arriving=0)
    scene.arrive(first, last)
    scene.lose(Page)
    scene.end(**{**ALL, "a": "2", "b": "2"})


def a_reset_arrives_late_after_two_lives() -> None:
    """H6: a Reset about an earlier life would make the node forget what the present one has confirmed."""
    scene = Scene()
    scene.copy(Reset, NODE)
    scene.cluster.crash(LEADER, wiped=True)
    scene.run(6.0)
    late = next(line for line in scene.take(Reset) if b"users" in line)
    scene.lose(Reset)
    scene.cluster.crash(LEADER, wiped=True)
    scene.run(6.0)
    scene.cluster.confirm_followers()
    scene.put(NODE, "users/a")
    scene.put(LEADER, "users/b")
    scene.run(3.0)
    scene.cut(NODE)
    scene.delete(LEADER, "users/a")
    scene.expire(NODE)
    assert scene.floor == 3
    reading_again(scene, arriving=0)
    scene.arrive(late)
    scene.lose(Page)
    scene.end(b="1")


# What is absent at its end -------------------------------------------------------------------------------------------


def a_confirmed_row_is_absent() -> None:
    """R2: what the leader had confirmed and does not have any more was deleted."""
    scene = missed()
    scene.join(NODE)
    scene.end(**ALL)


def an_unconfirmed_row_is_absent() -> None:
    """R2: an unconfirmed row that may have been deleted is a write all the same: it comes again, as a later one."""
    scene = missed(unconfirmed=True)
    scene.join(NODE)
    scene.end(**ALL, x="1")


def an_unconfirmed_row_is_later_than_all_that_was_collected() -> None:
    """R2: what cannot have been deleted stays in the outbox, as it is."""
    scene = missed()
    scene.put(NODE, "users/y")
    before = scene.disk(NODE).rows["users/y"][1].entry
    scene.join(NODE)
    scene.end(**ALL, y="1")
    after = scene.disk(LEADER).rows["users/y"][1].entry
    if after != before:
        raise Violation(f"{before} became {after} for nothing")


def a_slow_node_writes_again_what_a_peer_has_as_deleted() -> None:
    """H9: the fresh stamp is above the leader's clock, and so above a tombstone that only the peer still holds."""
    scene = Scene(2)
    written_and_unconfirmed(scene, "users/x")
    scene.run(1.0)
    scene.hold(Page, OTHER)
    scene.delete(OTHER, "users/x")
    scene.run()
    scene.cut(OTHER)
    scene.lose(Page)
    scene.expire(NODE)
    scene.expire(OTHER)
    assert scene.floor == 2
    scene.host(NODE).skew_ns = -HOUR_NS
    scene.cluster.crash(NODE, wiped=False)
    scene.join(NODE)
    scene.run(8.0)
    assert scene.live() == {"users/x": "1"}
    assert scene.disk(OTHER).rows["users/x"][1].entry.deleted
    scene.join(OTHER)
    scene.end(x="1")
