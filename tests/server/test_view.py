"""View: which operations a change is, where they point, and that a version stands for the state alone."""

import json
from typing import Any

import jsonpatch
import msgspec
import pytest

from pivot.core.entry import Entry
from pivot.server import view as room
from pivot.server.items import Item
from pivot.server.view import View
from tests.core.builders import entry

GLOB = "users/*"


def steps(view: View, *changes: Any) -> list[dict[str, Any]]:
    """The operations of a change, which lead from the state before to the state after."""
    before = json.loads(view.state())
    operations = json.loads(msgspec.json.encode(view.update(changes)))
    assert jsonpatch.apply_patch(before, operations) == json.loads(view.state())
    return operations


def places(operations: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(operation["op"], operation["path"]) for operation in operations]


def test_a_new_entry_is_added_at_its_place_newest_created_first() -> None:
    view = View(GLOB, [entry("users/a", 10), entry("users/b", 20)])
    assert places(steps(view, entry("users/c", 30))) == [("add", "/0")]
    assert places(steps(view, entry("users/d", 15))) == [("add", "/2")]
    assert places(steps(view, entry("users/aa", 20))) == [("add", "/1")]
    assert [found["path"] for found in json.loads(view.state())] == [
        "users/c", "users/aa", "users/b", "users/d", "users/a",
    ]  # fmt: skip


def test_a_replaced_entry_is_patched_inside_and_keeps_its_place() -> None:
    view = View(GLOB, [entry("users/a", 10, '{"name":"Ann","tags":[1,2,3]}'), entry("users/b", 20)])
    changed = entry("users/a", 30, '{"name":"Anna","tags":[1,2,3]}', created=10)
    assert steps(view, changed) == [
        {"op": "replace", "path": "/1/updated", "value": 30},
        {"op": "replace", "path": "/1/data/name", "value": "Anna"},
    ]


def test_an_entry_whose_life_began_anew_moves() -> None:
    view = View(GLOB, [entry("users/a", 10), entry("users/b", 20)])
    assert places(steps(view, entry("users/a", 30))) == [("remove", "/1"), ("add", "/0")]


def test_a_deleted_entry_is_removed_and_one_that_was_not_there_is_nothing() -> None:
    view = View(GLOB, [entry("users/a", 10), entry("users/b", 20)])
    assert places(steps(view, entry("users/b", 30, None))) == [("remove", "/0")]
    assert steps(view, entry("users/b", 30, None)) == []
    assert steps(view, entry("users/a", 10)) == []
    assert len(view) == 1


@pytest.mark.parametrize("change", ["create", "replace", "delete"])
def test_a_single_key_is_patched_member_by_member_also_from_and_to_absence(change: str) -> None:
    view = View("users/a", [] if change == "create" else [entry("users/a", 10, '{"a":1}')])
    after = entry("users/a", 20, None if change == "delete" else '{"a":2}', created=0 if change == "create" else 10)
    operations = steps(view, after)
    assert all(operation["path"] for operation in operations)  # never the whole document: some clients keep the old one
    shown = json.loads(view.state())
    assert shown.get("path") == (None if change == "delete" else "users/a")


def test_a_move_inside_a_value_names_both_its_places_from_the_root() -> None:
    long = "x" * 100
    view = View(GLOB, [entry("users/a", 10, json.dumps({"a": long}))])
    (_, moved) = steps(view, entry("users/a", 20, json.dumps({"b": long}), created=10))
    assert moved == {"op": "move", "from": "/0/data/a", "path": "/0/data/b"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[1]", "[2]"),
        (json.dumps([1] * 1000, separators=(",", ":")), json.dumps([2] * 1000, separators=(",", ":"))),
        (json.dumps("x" * room.DIFF_BYTES_MAX), json.dumps("y" * room.DIFF_BYTES_MAX)),
        ('{"a":1}', "123456789012345678901234567890"),
    ],
)
def test_a_value_is_replaced_when_its_changes_are_longer_or_too_many_to_look_for(before: str, after: str) -> None:
    view = View(GLOB, [entry("users/a", 10, before)])
    assert places(steps(view, entry("users/a", 20, after, created=10))) == [
        ("replace", "/0/updated"),
        ("replace", "/0/data"),
    ]


def test_true_and_1_are_different() -> None:
    view = View(GLOB, [entry("users/a", 10, '{"a":1}')])
    assert steps(view, entry("users/a", 20, '{"a":true}', created=10))[1]["value"] is True


def test_a_version_stands_for_the_state_however_it_came_to_be() -> None:
    a, b = entry("users/a", 10), entry("users/b", 20)
    view = View(GLOB)
    empty = view.version
    versions = [empty]
    for change in (a, b, entry("users/a", 30, created=10), entry("users/a", 40, None), entry("users/b", 50, None)):
        view.update([change])
        versions.append(view.version)
    assert len(set(versions)) == 5
    assert versions[-1] == empty == "0" * 32
    assert View(GLOB, [b, a]).version == View(GLOB, [a, b]).version == versions[2]


def test_a_change_costs_no_more_in_a_long_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: neither items nor hashes are made of entries that did not change."""
    made: list[str] = []
    real_item, real_hash = room.item, room._hash

    def counted_item(one: Entry) -> Item[msgspec.Raw]:
        made.append(one.key)
        return real_item(one)

    def counted_hash(one: Entry) -> int:
        made.append(one.key)
        return real_hash(one)

    monkeypatch.setattr(room, "item", counted_item)
    monkeypatch.setattr(room, "_hash", counted_hash)
    counts: list[int] = []
    for length in (10, 10_000):
        view = View(GLOB, [entry(f"users/{number}", number) for number in range(1, length + 1)])
        made.clear()
        view.update([entry("users/5", 99_999, "2", created=5), entry("users/new", 7), entry("users/9", 99_999, None)])
        counts.append(len(made))
    assert counts[0] == counts[1]
