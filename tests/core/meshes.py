"""Meshes: for each rule about reading from other nodes a schedule that needs it, told step by step; see `rules`."""

from pivot.core.messages import Page, PushAck
from tests.core.host import LEADER
from tests.core.scene import Scene
from tests.core.world import Violation

NODE = "node-0"
OTHER = "node-1"


def nodes_without_a_leader(nodes: int = 2) -> Scene:
    """Nodes that know each other and have lost their leader."""
    scene = Scene(nodes)
    scene.register()
    lose_the_leader(scene)
    return scene


def lose_the_leader(scene: Scene) -> None:
    """Nobody reaches the leader any more, and all notice."""
    scene.cut(LEADER)
    for name in scene.cluster.hosts:
        if name != LEADER:
            scene.cluster.hint(name, LEADER)
    scene.run()


def a_node_writes_while_the_leader_is_away() -> None:
    """Other nodes see it, and whoever reaches the leader first delivers it."""
    scene = nodes_without_a_leader()
    scene.put(NODE, "users/a")
    scene.run(5.0)
    if scene.live(OTHER) != {"users/a": "1"}:
        raise Violation(f"others see {scene.live(OTHER)}")
    scene.cluster.crash(NODE, wiped=True)
    scene.end(a="1")


def a_node_reads_what_others_know_to_be_confirmed() -> None:
    """What the leader has told one node that it has, the other need not offer again."""
    scene = Scene(2)
    scene.register()
    scene.cut(NODE)
    scene.put(LEADER, "users/a")
    scene.put(OTHER, "users/b")
    scene.run(3.0)
    scene.uncut(NODE)
    lose_the_leader(scene)
    scene.run(5.0)
    assert scene.live(NODE) == {"users/a": "1", "users/b": "1"}
    if any(row.acked is None for _, row in scene.disk(NODE).rows.values()):
        raise Violation("a node offers what its leader has")
    scene.end(a="1", b="1")


def a_peer_has_what_was_deleted_and_collected() -> None:
    """R4: a node that has not seen what was collected is not read, for we have forgotten that it was deleted."""
    scene = Scene(2)
    scene.register()
    scene.hold(PushAck, OTHER)
    scene.hold(Page, OTHER)
    scene.put(OTHER, "users/a")
    scene.run()  # at the leader, which it does not know
    scene.cut(OTHER)
    scene.lose(PushAck)
    scene.lose(Page)
    scene.delete(LEADER, "users/a")
    scene.run(4.0)
    scene.expire(OTHER)
    assert scene.floor > scene.cursor(OTHER)
    assert "users/a" not in scene.disk(NODE).table()
    scene.uncut(OTHER)
    lose_the_leader(scene)
    scene.run(5.0)
    scene.cluster.crash(OTHER, wiped=True)
    scene.end()


def a_resync_ends_before_what_another_node_knows_to_be_confirmed() -> None:
    """R2: what the leader confirmed after a re-sync's last page is absent from it, and yet not deleted."""
    scene = Scene(2)
    scene.register()
    scene.put(LEADER, "users/a", "users/b")
    scene.run(3.0)
    scene.cut(NODE)
    scene.delete(LEADER, "users/a")
    scene.put(LEADER, "users/b", value="2")
    scene.run(4.0)
    scene.expire(NODE)
    scene.disk(NODE).failing = 9  # that deletions were collected it hears, and does not keep
    scene.hold(Page, NODE)
    scene.join(NODE)
    scene.run(3.0)
    early = scene.take(Page)
    scene.disk(NODE).failing = 0
    scene.cut(NODE)
    scene.put(LEADER, "users/c")
    scene.run(2.0)
    scene.uncut(NODE)
    lose_the_leader(scene)
    scene.run(5.0)
    assert scene.live(NODE)["users/c"] == "1"
    scene.uncut(LEADER)
    scene.lose(Page)
    scene.hold(Page, NODE)
    scene.run(6.0)
    scene.arrive(*early)
    scene.end(b="2", c="1")
