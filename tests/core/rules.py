"""Rules: for each rule of the protocol a schedule that needs it, told step by step.

Every story ends healed, with what users must see. `test_rules` tells it twice: as it is, and with its rule switched off
(see `switches`); then a promise must break. Sequence numbers in comments are the leader's. The stories about re-syncs
are in `resyncs`, those about leaders that lose the end of what they kept in `lives`.
"""

from pivot.core.events import Asked
from pivot.core.messages import Ack, Page, Push, PushAck
from pivot.core.questions import MergePage, Put, ReadOutbox
from tests.core.host import LEADER
from tests.core.scene import Scene
from tests.core.schedules import HOUR_NS

NODE = "node-0"
OTHER = "node-1"


# What nodes push, and what the leader answers ------------------------------------------------------------------------


def a_push_arrives_after_the_deletion_of_its_row_was_collected() -> None:
    """R3: the push carries what its sender had seen when it was built, which is below the floor by now."""
    scene = Scene()
    scene.copy(Push, NODE)
    scene.put(NODE, "users/a")
    scene.run()
    (late,) = scene.take(Push)
    scene.delete(LEADER, "users/a")
    scene.run(4.0)
    assert scene.floor == 2
    scene.arrive(late)
    scene.end()


def a_row_is_read_for_a_push_before_a_page_that_deletes_it_is_kept() -> None:
    """R3: rows are read as they were before the page, so the push must not say that its sender had seen the page."""
    scene = Scene()
    scene.hold(PushAck, NODE)
    scene.hold(Page, NODE)
    scene.put(NODE, "users/a")
    scene.run()  # at the leader as 1, unconfirmed here
    scene.lose(PushAck)
    scene.hold(Push, NODE)
    scene.delete(LEADER, "users/a")
    scene.cluster.hint(NODE, LEADER)
    scene.run()
    scene.take(Page, Push)
    scene.run(2.0)  # connected again, everything is offered, and a page from 0 to 2 is under way
    scene.cluster.bag.lines += [line for line in scene.take(Page) if b"users/a" in line]
    scene.take(Push)
    while scene.cluster.bag.lines:
        scene.cluster.deliver(0)
    scene.cluster.wait(7.0)  # the push has no answer: its row is offered again
    scene.cluster.work(NODE, "node")
    asked = [event.question for event in scene.host(NODE).inboxes["storage"].waiting if isinstance(event, Asked)]
    assert [type(question) for question in asked[:2]] == [MergePage, ReadOutbox]  # in one batch
    scene.lose(Page)
    scene.run()
    late = scene.take(Push)
    scene.lose(Push)
    scene.run(5.0)
    assert (scene.floor, scene.cursor(NODE)) == (2, 2)
    scene.arrive(*late)
    scene.end()


def an_answer_of_an_earlier_life_arrives_late() -> None:
    """H5: the leader confirmed the row and lost its disk; its answer arrives when the node follows the new life."""
    scene = Scene()
    scene.hold(PushAck, NODE)
    scene.put(NODE, "users/a")
    scene.run()
    late = scene.take(PushAck)
    scene.hold(Push, NODE)
    scene.cluster.crash(LEADER, wiped=True)
    scene.run(6.0)
    assert scene.disk(NODE).place("users/*").epoch == scene.disk(LEADER).epoch
    scene.arrive(*late)
    scene.end(a="1")


def an_answer_arrives_when_its_row_has_been_written_again() -> None:
    """R6: an answer confirms the version that it names, not the row."""
    scene = Scene()
    scene.hold(PushAck, NODE)
    scene.put(NODE, "users/a", value="1")
    scene.run()
    scene.hold(Push, NODE)
    scene.put(NODE, "users/a", value="2")
    scene.let(PushAck)
    scene.end(a="2")


def a_leader_loses_its_disk() -> None:
    """A new epoch: what an earlier life confirmed is offered again."""
    scene = Scene()
    scene.put(NODE, "users/a")
    scene.put(LEADER, "users/b")
    scene.run(3.0)
    scene.cluster.crash(LEADER, wiped=True)
    scene.end(a="1", b="1")


# What the leader sends, and what nodes read --------------------------------------------------------------------------


def a_page_is_lost_and_the_next_one_arrives() -> None:
    """A page is applied only if it starts exactly at the cursor."""
    scene = Scene()
    scene.hold(Page, NODE)
    scene.put(LEADER, "users/a", "users/b")
    scene.run()
    scene.take(Page)  # lost
    scene.put(LEADER, "users/c")
    scene.run()
    scene.let(Page)
    scene.end(a="1", b="1", c="1")


def a_push_is_lost() -> None:
    """A push without an answer is repeated."""
    scene = Scene()
    scene.hold(Push, NODE)
    scene.put(NODE, "users/a")
    scene.run()
    scene.end(a="1")


def a_member_expires_and_misses_a_deletion() -> None:
    """H1, R6: both ends know that a cursor below the floor has missed something."""
    scene = Scene()
    scene.put(LEADER, "users/a")
    scene.run(3.0)
    scene.cut(NODE)
    scene.delete(LEADER, "users/a")
    scene.put(LEADER, "users/b")
    scene.expire(NODE)
    assert scene.floor > scene.cursor(NODE)
    scene.join(NODE)
    scene.end(b="1")


def an_acknowledgement_of_a_wiped_node_arrives_late() -> None:
    """H8: followers are stores. The node's new life has not seen the deletion that its earlier one had."""
    scene = Scene()
    scene.put(LEADER, "users/a")
    scene.run(3.0)
    scene.hold(Ack, NODE)
    scene.delete(LEADER, "users/a")
    scene.run()
    late = scene.take(Ack)
    scene.lose(Ack)
    scene.host(NODE).skew_ns = -HOUR_NS
    scene.cluster.crash(NODE, wiped=True)
    scene.hold(Push, NODE)
    scene.hold(Page, NODE)
    scene.put(NODE, "users/a", value="2")  # older than the deletion, says its clock
    scene.run(1.0)
    scene.arrive(*late)
    scene.run(2.0)
    scene.lose(Page)
    scene.let(Push)
    scene.end()


# What the leader collects --------------------------------------------------------------------------------------------


def a_leader_loses_its_disk_and_its_list_of_followers() -> None:
    """H7: until the list can be complete again nothing is collected."""
    scene = Scene(2)
    scene.put(LEADER, "users/a")
    scene.run(3.0)
    scene.cut(OTHER)
    scene.delete(NODE, "users/a")
    scene.run()
    scene.cluster.crash(LEADER, wiped=True)
    scene.run(8.0)
    assert scene.disk(NODE).place("users/*").epoch == scene.disk(LEADER).epoch
    scene.join(OTHER)
    scene.end()


def a_floor_is_announced_to_a_node_with_a_deletion_of_its_own() -> None:
    """R5: a node forgets only tombstones that its leader has confirmed, and collected."""
    scene = Scene()
    scene.put(LEADER, "users/a", "users/b")
    scene.run(3.0)
    scene.hold(Push, NODE)
    scene.delete(NODE, "users/a")
    scene.delete(LEADER, "users/b")
    scene.run(4.0)
    assert scene.disk(NODE).place("users/*").floor == scene.floor > 0
    scene.end()


def deleted_here_and_collected_and_still_there(*, ahead_ns: int = 0) -> Scene:
    """`users/a` was deleted by `OTHER`, which is cut off with its tombstone confirmed; nobody else has it any more.

    `ahead_ns` is how fast the leader's clock was until then.
    """
    scene = Scene(2)
    scene.host(LEADER).skew_ns = ahead_ns
    scene.put(LEADER, "users/a")
    scene.run(3.0)
    scene.hold(Page, OTHER)
    scene.delete(OTHER, "users/a")
    scene.run()
    scene.cut(OTHER)
    scene.lose(Page)
    scene.expire(OTHER)
    assert scene.floor == 2
    assert "users/a" in scene.disk(OTHER).table()
    assert "users/a" not in scene.disk(NODE).table()
    scene.host(LEADER).skew_ns = 0
    return scene


def a_slow_node_writes_a_key_whose_deletion_was_collected() -> None:
    """H10, R5: the write takes a stamp above the greatest collected one."""
    scene = deleted_here_and_collected_and_still_there()
    scene.host(NODE).skew_ns = -HOUR_NS
    scene.cluster.crash(NODE, wiped=False)
    scene.put(NODE, "users/a", value="2")
    scene.run(6.0)
    scene.join(OTHER)
    scene.end(a="2")


def a_leader_whose_clock_went_back_writes_a_key_whose_deletion_was_collected() -> None:
    """H10, R5, at the leader: after a restart its rows do not remember how late it was."""
    scene = deleted_here_and_collected_and_still_there()
    scene.host(LEADER).skew_ns = -HOUR_NS
    scene.cluster.crash(LEADER, wiped=False)
    scene.put(LEADER, "users/a", value="2")
    scene.run(6.0)
    scene.join(OTHER)
    scene.end(a="2")


def a_slow_node_writes_a_key_whose_deletion_an_earlier_life_collected() -> None:
    """H10: a node remembers the greatest collected stamp also when its leader begins a new life."""
    scene = deleted_here_and_collected_and_still_there()
    scene.cluster.crash(LEADER, wiped=True)
    scene.run(6.0)
    scene.host(NODE).skew_ns = -HOUR_NS
    scene.cluster.crash(NODE, wiped=False)
    scene.put(NODE, "users/a", value="2")
    scene.run(6.0)
    scene.join(OTHER)
    scene.end(a="2")


def a_key_is_written_whose_deletion_was_collected_and_ahead_of_every_clock() -> None:
    """H10, H11: the leader takes what is later than its clock allows, if only by what it has collected."""
    scene = deleted_here_and_collected_and_still_there(ahead_ns=HOUR_NS)
    scene.cluster.crash(LEADER, wiped=False)
    scene.put(NODE, "users/a", value="2")
    scene.run(6.0)
    scene.join(OTHER)
    scene.end(a="2")


# Clocks --------------------------------------------------------------------------------------------------------------


def a_node_writes_while_its_clock_is_an_hour_ahead() -> None:
    """H11: the fresh stamp counts from what is not ahead of every clock, or it is refused again."""
    scene = Scene()
    scene.host(NODE).skew_ns = HOUR_NS
    scene.put(NODE, "users/a")
    scene.run(3.0)
    assert scene.live() == {}
    scene.end(a="1")


def a_version_from_the_future_has_no_author_any_more() -> None:
    """H11: who holds the only version of a key writes it again, author or not."""
    scene = Scene()
    scene.host(LEADER).skew_ns = HOUR_NS
    scene.put(LEADER, "users/a")
    scene.run(3.0)
    scene.host(LEADER).skew_ns = 0
    scene.cluster.crash(LEADER, wiped=True)
    scene.end(a="1")


def a_version_from_the_future_is_written_again_below_what_was_read_meanwhile() -> None:
    """H11: what the leader has may be greater than the fresh version, so it is read again."""
    scene = Scene()
    scene.host(NODE).skew_ns = HOUR_NS
    scene.hold(PushAck, NODE)
    scene.put(NODE, "users/a")
    scene.run()
    scene.host(LEADER).skew_ns = HOUR_NS // 180
    scene.put(LEADER, "users/a", value="2")
    scene.run()
    assert (scene.cursor(NODE), scene.live(NODE)) == (1, {"users/a": "1"})
    scene.host(NODE).skew_ns = 0
    scene.let(PushAck)
    scene.end(a="2")


# Disks ---------------------------------------------------------------------------------------------------------------


def a_machine_stops_before_a_write_is_kept() -> None:
    """Persist before Reply: who was not told may lose the write, and nobody else is."""
    scene = Scene()
    scene.disk(NODE).failing = 1
    scene.put(NODE, "users/a")
    scene.put(NODE, "users/b")
    assert scene.cluster.acknowledged == 1
    scene.disk(NODE).dying = "before"
    scene.cluster.ask(NODE, Put("users/c", "1"))
    scene.cluster.work(NODE, "storage")
    assert scene.cluster.acknowledged == 1
    scene.end(b="1")


def a_push_is_merged_while_the_leaders_disk_is_full() -> None:
    """Persist before Reply: a node is told only of what is kept."""
    scene = Scene()
    scene.disk(LEADER).failing = 1
    scene.put(NODE, "users/a")
    scene.run()
    assert (scene.live(), scene.disk(NODE).rows["users/a"][1].acked) == ({}, None)
    scene.end(a="1")
