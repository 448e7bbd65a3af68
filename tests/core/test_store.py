"""Store: which collection a key belongs to, what a write makes of what is here, and loading what an engine kept."""

from hypothesis import given
from hypothesis import strategies as st

from pivot.core.collection import Change, PutRow, Row, SetCursor
from pivot.core.store import CONFLICTS_MAX, UNREPLICATED
from pivot.types import NO_EPOCH
from tests.core.builders import OURS, SETTINGS, USERS, WALL_NS, A, entry, opened, put


def test_a_key_belongs_to_its_own_collection_or_to_the_glob_that_matches_or_to_none() -> None:
    store = opened()
    assert store.collection_of("settings").path == SETTINGS
    assert store.collection_of("users/a").path == USERS
    assert store.collection_of("users/a/b").path == UNREPLICATED
    assert store.collection_of("").path == UNREPLICATED


def test_a_first_write_creates_and_a_second_updates() -> None:
    store = opened()
    first = store.next_version(WALL_NS, "users/a", "1")
    assert (first.created, first.updated, first.prev, first.origin) == (WALL_NS, 0, 0, OURS)
    store.stage_entry(first, acked=None)
    second = store.next_version(WALL_NS, "users/a", "2")
    assert (second.created, second.updated, second.prev) == (WALL_NS, WALL_NS + 1, WALL_NS)
    assert not second.deleted


def test_a_write_after_a_delete_begins_another_life_of_the_key() -> None:
    store = opened([put(1, entry("users/a", 5))])
    tombstone = store.next_version(10, "users/a", None)
    assert (tombstone.deleted, tombstone.data, tombstone.created, tombstone.updated) == (True, "", 5, 10)
    store.stage_entry(tombstone, acked=None)
    again = store.next_version(20, "users/a", "1")
    assert (again.created, again.updated, again.prev) == (20, 0, 10)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sampled_from([None, "1"])), max_size=30))
def test_a_write_always_wins_where_it_was_made(writes: list[tuple[str, int, str | None]]) -> None:
    store = opened([put(1, entry("users/a", 20)), put(2, entry("users/b", 5, None))])
    for letter, wall_ns, data in writes:
        key = f"users/{letter}"
        before = store.collection_of(key).peek(key)
        version = store.next_version(wall_ns, key, data)
        assert before is None or version.version > before.entry.version
        store.stage_entry(version, acked=None)


def test_numbers_rise_over_all_collections_and_are_not_used_again_after_a_failed_commit() -> None:
    store = opened()
    assert store.stage_entry(entry("users/a", 1), acked=None).row.seq == 1
    assert store.stage_entry(entry("settings", 2), acked=None).row.seq == 2
    store.discard()
    assert store.stage_entry(entry("users/a", 3), acked=None).row.seq == 3
    assert [(grown.path, grown.head) for grown in store.commit()] == [(USERS, 3)]
    assert store.commit() == []
    assert store.head == 3


def test_a_commit_that_moves_only_a_cursor_grows_no_feed() -> None:
    store = opened(follows=True)
    store.stage(SetCursor(USERS, A, 4))
    assert store.commit() == []
    assert (store[USERS].epoch, store[USERS].cursor) == (A, 4)


# Loading -------------------------------------------------------------------------------------------------------------


def test_a_loaded_store_goes_on_above_what_it_holds() -> None:
    store = opened([put(3, entry("users/a", 70)), put(7, entry("settings", 50), collection=SETTINGS)])
    assert store.clock.last == 70
    assert store.stage_entry(entry("users/b", 1), acked=None).row.seq == 8
    assert store.next_version(1, "users/c", "1").stamp == 71


def test_a_row_whose_collection_is_configured_otherwise_now_moves_and_counts_as_unconfirmed() -> None:
    kept: list[Change] = [
        PutRow("things/*", Row(entry("users/a", 1), 1, 5)),
        PutRow("things/*", Row(entry("things/a", 2), 2, 6)),
        SetCursor("things/*", A, 6),
    ]
    store = opened(kept, follows=True)
    assert store[USERS].get("users/a") == Row(entry("users/a", 1), 1)
    assert store[UNREPLICATED].get("things/a") == Row(entry("things/a", 2), 2)
    assert (store[USERS].epoch, store[USERS].cursor) == (NO_EPOCH, 0)


# Names ---------------------------------------------------------------------------------------------------------------


def test_a_pushed_item_gets_a_key_that_is_not_here_even_when_the_clock_stands_still() -> None:
    store = opened()
    keys: list[str] = []
    for _ in range(20):
        keys.append(store.fresh_key(WALL_NS, USERS))
        store.stage_entry(entry(keys[-1], 1), acked=None)
    assert len(dict.fromkeys(keys)) == 20
    assert keys == sorted(keys)
    assert all(key.startswith("users/0de0b6b3a76") for key in keys)


def test_a_delete_hits_what_is_live_before_or_after_the_commit_in_key_order() -> None:
    store = opened([put(1, entry("users/d", 1)), put(2, entry("users/c", 2, None)), put(3, entry("users/b", 3))])
    store.stage_entry(entry("users/a", 4), acked=None)
    store.stage_entry(entry("users/b", 5, None), acked=None)
    assert store.doomed("users/*") == ["users/a", "users/b", "users/d"]
    assert store.doomed("users/b") == ["users/b"]
    assert store.doomed("users/c") == []
    assert store.doomed("*/d") == ["users/d"]
    assert store.doomed("settings") == []


# Conflicts -----------------------------------------------------------------------------------------------------------


def test_a_lost_update_is_told_once_whichever_side_meets_it() -> None:
    store = opened()
    ours, theirs = entry(stamp=5, prev=0), entry(stamp=9, prev=0)
    assert store.conflict(None, theirs) is None
    seen = store.conflict(Row(ours, 1), theirs)
    assert seen is not None
    assert (seen.winner, seen.loser) == (theirs, ours)
    assert store.conflict(Row(theirs, 2), ours) is None
    assert store.conflict(Row(ours, 1), entry(stamp=9, prev=5)) is None
    assert store.conflicts == 1


def test_lost_updates_beyond_the_remembered_ones_are_told_again() -> None:
    store = opened()
    for stamp in range(1, CONFLICTS_MAX + 2):
        assert store.conflict(Row(entry(stamp=stamp), 1), entry(stamp=2 * CONFLICTS_MAX, prev=0)) is not None
    assert store.conflict(Row(entry(stamp=1), 1), entry(stamp=2 * CONFLICTS_MAX, prev=0)) is not None
    assert store.conflict(Row(entry(stamp=CONFLICTS_MAX), 1), entry(stamp=2 * CONFLICTS_MAX, prev=0)) is None


# Reading -------------------------------------------------------------------------------------------------------------


def test_a_store_is_described_in_numbers() -> None:
    store = opened([put(1, entry("users/a", 7)), put(2, entry("users/b", 8, None))], follows=True)
    info = store.describe()
    assert (info.store, info.epoch, info.clock, info.conflicts) == (OURS, A, 8, 0)
    users = info.collections[0]
    assert (users.path, users.entries, users.tombstones, users.head, users.outbox) == (USERS, 1, 1, 2, 2)


def test_the_table_has_tombstones_and_only_what_is_replicated() -> None:
    rows = [put(1, entry("users/a", 7, None)), put(2, entry("elsewhere", 8), collection=UNREPLICATED)]
    store = opened(rows)
    assert list(store.table()) == ["users/a"]
    assert store.live_keys("") == ["elsewhere"]
