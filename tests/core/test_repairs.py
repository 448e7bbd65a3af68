"""Repairs: a disk that forgets is noticed by the digest, and mended by what the other side has; nothing is deleted."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from pivot.core.collection import Row
from pivot.core.notices import Diverged, Withdrawn
from tests.core.host import LEADER
from tests.core.scene import Scene

NODE = "node-0"
OTHER = "node-1"
KEY = "users/b"


def lose_row(scene: Scene, name: str) -> None:
    """A row is gone from a disk, which nobody has decided."""
    del scene.disk(name).rows[KEY]


def take_back_row(scene: Scene, name: str) -> None:
    """A disk has an older version of a row than it had kept."""
    home, row = scene.disk(name).rows[KEY]
    stamp = row.entry.stamp - 10**6
    older = replace(row.entry, created=stamp - 1, updated=stamp, data='"old"')
    scene.disk(name).rows[KEY] = (home, Row(older, row.seq, row.acked))


def settled() -> Scene:
    scene = Scene(2)
    for key, value in (("users/a", "1"), (KEY, "2"), ("users/c", "3")):
        scene.put(LEADER, key, value=value)
        scene.put(LEADER, "settings", value=value)
    scene.delete(LEADER, "users/a")
    scene.run(4.0)
    scene.cluster.forgetful = True
    return scene


@pytest.mark.parametrize("name", [LEADER, NODE])
@pytest.mark.parametrize("damage", [lose_row, take_back_row], ids=lambda damage: damage.__name__)
def test_a_damaged_row_is_mended_from_the_other_side(damage: Callable[[Scene, str], None], name: str) -> None:
    scene = settled()
    damage(scene, name)
    scene.cluster.crash(name, wiped=False)
    scene.end(b="2", c="3")
    noticed = [where for where, notice in scene.cluster.notices if isinstance(notice, Diverged)]
    assert noticed
    assert set(noticed) == ({NODE} if name == NODE else {NODE, OTHER})
    assert not [notice for _, notice in scene.cluster.notices if isinstance(notice, Withdrawn)]


def test_a_node_whose_own_row_is_gone_takes_it_from_its_leader_again() -> None:
    scene = settled()
    scene.put(NODE, KEY, value="5")
    scene.run(3.0)
    lose_row(scene, NODE)
    scene.cluster.crash(NODE, wiped=False)
    scene.end(b="5", c="3")


def test_a_deleted_row_that_a_disk_brings_back_is_deleted_again_while_its_tombstone_is_kept() -> None:
    scene = settled()
    home, before = scene.disk(NODE).rows[KEY]
    scene.cut(OTHER)  # which holds the tombstone back
    scene.delete(LEADER, KEY)
    scene.run(2.0)
    after = scene.disk(NODE).rows[KEY][1]
    assert after.entry.deleted
    scene.disk(NODE).rows[KEY] = (home, Row(before.entry, after.seq, after.acked))
    scene.cluster.crash(NODE, wiped=False)
    scene.run(4.0)
    assert KEY not in scene.live(NODE)
    scene.end(c="3")


def test_more_damage_than_one_page_carries_is_mended_bit_by_bit() -> None:
    scene = settled()
    keys = [f"users/n{number}" for number in range(9)]
    scene.put(LEADER, *keys)
    scene.put(LEADER, "users/c", value="3")
    scene.run(4.0)
    for key in keys[::2]:
        del scene.disk(NODE).rows[key]
    scene.cluster.crash(NODE, wiped=False)
    scene.end(b="2", c="3", **{f"n{number}": "1" for number in range(9)})
    assert len([notice for _, notice in scene.cluster.notices if isinstance(notice, Diverged)]) > 1
