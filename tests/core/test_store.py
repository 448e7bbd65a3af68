"""Store: which collection a key belongs to, what a write makes of what is here, and loading what an engine kept."""

from hypothesis import given
from hypothesis import strategies as st

from pivot.core.collection import Change, Place, PutRow, Retention, Row, SetFollower, SetPlace, SetRetention
from pivot.core.store import CONFLICTS_MAX, SPENT_MAX, UNREPLICATED, Resync
from tests.core.builders import (
    OURS,
    SETTINGS,
    USERS,
    WALL_NS,
    A,
    entry,
    follower,
    opened,
    place,
    put,
    set_place,
)


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
    assert store.stage(set_place(4)) == set_place(4)
    assert store.commit() == []
    assert store[USERS].place == place(4)


def test_a_write_to_a_key_without_a_row_is_greater_than_every_tombstone_that_was_collected() -> None:
    leader = opened([SetRetention(USERS, Retention(floor=3, collected=WALL_NS + 50))])
    node = opened([set_place(9, floor=3, collected=WALL_NS + 50)], follows=True)
    for store in (leader, node):
        assert store.next_version(WALL_NS, "users/a", "1").stamp == WALL_NS + 51
        store.stage_entry(entry("users/a", 5), acked=None)
        assert store.next_version(WALL_NS + 1, "users/a", "1").stamp == WALL_NS + 1
        assert store.next_version(WALL_NS + 2, "settings", "1").stamp == WALL_NS + 2


def test_a_clock_that_was_ahead_goes_on_from_the_greatest_stamp_that_is_not() -> None:
    store = opened([put(1, entry("users/a", 5)), put(2, entry("users/b", 90))])
    store.settle_clock(100)
    assert store.clock.last == 90
    store.settle_clock(50)
    assert store.clock.last == 5
    store.settle_clock(4)
    assert store.clock.last == 0


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
        SetPlace("things/*", place(6)),
    ]
    store = opened(kept, follows=True)
    assert store[USERS].get("users/a") == Row(entry("users/a", 1), 1)
    assert store[UNREPLICATED].get("things/a") == Row(entry("things/a", 2), 2)
    assert store[USERS].place == Place()


def test_no_number_is_used_again_though_the_row_that_had_it_was_collected() -> None:
    assert opened(seq=9).stage_entry(entry(), acked=None).row.seq == 10
    store = opened([put(3, entry()), SetRetention(USERS, Retention(floor=7))], seq=2)
    assert store.stage_entry(entry(), acked=None).row.seq == 8
    elsewhere = opened([SetRetention("things/*", Retention(floor=7))])
    assert elsewhere.stage_entry(entry(), acked=None).row.seq == 8


def test_a_loaded_store_knows_its_followers() -> None:
    store = opened([SetFollower(USERS, follower("n", 4))])
    assert store.describe().collections[0].followers == (follower("n", 4),)


# Re-syncs ------------------------------------------------------------------------------------------------------------


def test_a_resync_begins_at_0_and_goes_on_only_where_it_is_and_under_its_floor() -> None:
    store = opened(follows=True)
    assert store.resync(USERS, 7, 3) is None
    assert not store.resyncing(USERS)
    begun = store.resync(USERS, 7, 0)
    assert begun is not None
    assert begun == Resync(7)
    begun.position = 3
    assert store.resyncing(USERS)
    assert store.resync(USERS, 7, 3) is begun
    assert store.resync(USERS, 7, 2) is None
    assert store.resync(USERS, 8, 3) is None
    assert store.resync(SETTINGS, 7, 3) is None
    store.end_resync(USERS)
    store.end_resync(USERS)
    assert not store.resyncing(USERS)


def test_a_resync_begins_anew_at_0_whatever_came_before() -> None:
    store = opened(follows=True)
    begun = store.resync(USERS, 7, 0)
    assert begun is not None
    begun.keys["users/a"] = None
    assert store.resync(USERS, 7, 0) == Resync(7)


def test_a_failed_commit_ends_every_resync_because_what_it_merged_is_not_kept() -> None:
    store = opened(follows=True)
    store.resync(USERS, 7, 0)
    store.discard()
    assert not store.resyncing(USERS)


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


def test_a_pushed_item_does_not_take_a_key_that_an_earlier_life_gave_out() -> None:
    taken = [opened().fresh_key(WALL_NS, USERS)]
    store = opened([put(1, entry(taken[0], 1))])
    fresh = store.fresh_key(WALL_NS, USERS)
    assert fresh > taken[0]
    assert fresh[:-4] == taken[0][:-4]


def test_a_pushed_items_key_is_not_given_out_twice_though_nothing_was_kept_under_it() -> None:
    store = opened()
    keys = [store.fresh_key(wall_ns, USERS) for wall_ns in (WALL_NS, WALL_NS, WALL_NS - 10**9)]
    assert keys == sorted(dict.fromkeys(keys))


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


def test_a_lost_update_whose_commit_failed_is_told_when_they_meet_again() -> None:
    store = opened()
    ours, theirs = entry(stamp=5), entry(stamp=6, prev=0)
    assert store.conflict(Row(ours, 1), theirs) is not None
    store.discard()
    assert store.conflicts == 0
    assert store.conflict(Row(ours, 1), theirs) is not None
    store.commit()
    store.discard()
    assert store.conflict(Row(ours, 1), theirs) is None
    assert store.conflicts == 1


def test_a_lost_update_by_what_is_kept_is_told_once_whatever_fails_afterwards() -> None:
    store = opened([put(1, entry("users/a", 6, prev=0))])
    row, late = store[USERS].get("users/a"), entry("users/a", 5)
    assert store.conflict(row, late) is not None
    store.discard()
    assert store.conflict(row, late) is None
    assert store.conflicts == 1


def test_lost_updates_beyond_the_remembered_ones_are_told_again() -> None:
    store = opened()
    for stamp in range(1, CONFLICTS_MAX + 2):
        assert store.conflict(Row(entry(stamp=stamp), 1), entry(stamp=2 * CONFLICTS_MAX, prev=0)) is not None
    assert store.conflict(Row(entry(stamp=1), 1), entry(stamp=2 * CONFLICTS_MAX, prev=0)) is not None
    assert store.conflict(Row(entry(stamp=CONFLICTS_MAX), 1), entry(stamp=2 * CONFLICTS_MAX, prev=0)) is None


def test_the_oldest_stamps_that_were_given_up_are_forgotten() -> None:
    store = opened()
    for stamp in range(1, SPENT_MAX + 2):
        store.spend(entry(stamp=stamp))
    assert store.fresh_stamp(1, "users/a", above=0) == 1
    assert store.fresh_stamp(2, "users/a", above=0) == SPENT_MAX + 2


# Reading -------------------------------------------------------------------------------------------------------------


def test_a_store_is_described_in_numbers() -> None:
    store = opened([put(1, entry("users/a", 7)), put(2, entry("users/b", 8, None))], follows=True)
    info = store.describe()
    assert (info.store, info.epoch, info.clock, info.conflicts) == (OURS, A, 8, 0)
    users = info.collections[0]
    assert (users.path, users.entries, users.tombstones, users.head, users.outbox) == (USERS, 1, 1, 2, 2)
    assert (users.follows, users.place, users.retention, users.followers) == (True, Place(), Retention(), ())


def test_the_table_has_tombstones_and_only_what_is_replicated() -> None:
    rows = [put(1, entry("users/a", 7, None)), put(2, entry("elsewhere", 8), collection=UNREPLICATED)]
    store = opened(rows)
    assert list(store.table()) == ["users/a"]
    assert store.live_keys("") == ["elsewhere"]
    assert [collection.path for collection in store.replicated()] == [USERS, SETTINGS]


def test_what_waits_for_an_upstream_is_counted_over_all_collections() -> None:
    changes = [put(1, entry("users/a", 1)), put(2, entry("users/b", 2), acked=5)]
    changes.append(put(3, entry(SETTINGS, 3), collection=SETTINGS))
    assert opened(changes, follows=True).outbox_size == 2
    assert opened(changes).outbox_size == 0  # a leader waits for nobody
