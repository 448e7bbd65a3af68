"""Digest: equal for equal live entries whatever their history, different else, and narrowed down to buckets."""

from hypothesis import given
from hypothesis import strategies as st

from pivot.core.collection import Collection, DropRow
from pivot.core.digest import BUCKETS, NO_DIGEST, BucketSums, bucket_of, differing
from pivot.core.entry import Entry
from tests.core.builders import THEIRS, USERS, entry, put

STAMPS = st.integers(1, 9)
LETTERS = st.sampled_from("abcde")


@st.composite
def live(draw: st.DrawFn) -> Entry:
    return entry(f"users/{draw(LETTERS)}", draw(STAMPS), draw(st.sampled_from(["1", "2"])))


def fingerprints(sums: BucketSums) -> tuple[str, tuple[str, ...]]:
    return sums.text(), sums.sums()


@given(st.lists(live()).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_in_which_entries_came_does_not_matter(orders: tuple[list[Entry], list[Entry]]) -> None:
    one, other = orders
    assert fingerprints(BucketSums(one)) == fingerprints(BucketSums(other))


@given(st.lists(live()), live())
def test_taking_an_entry_out_undoes_taking_it_in(entries: list[Entry], other: Entry) -> None:
    sums = BucketSums(entries)
    before = fingerprints(sums)
    sums.add(other)
    assert fingerprints(sums) != before
    sums.remove(other)
    assert fingerprints(sums) == before


@given(st.dictionaries(LETTERS, st.tuples(STAMPS, STAMPS)), st.dictionaries(LETTERS, st.tuples(STAMPS, STAMPS)))
def test_digests_are_equal_just_when_the_entries_are(
    ours: dict[str, tuple[int, int]], theirs: dict[str, tuple[int, int]]
) -> None:
    one, other = (
        BucketSums(entry(f"users/{letter}", stamp, str(data)) for letter, (stamp, data) in table.items())
        for table in (ours, theirs)
    )
    assert (one.text() == other.text()) == (ours == theirs) == (one.sums() == other.sums())
    apart = [letter for letter in "abcde" if ours.get(letter) != theirs.get(letter)]
    assert differing(one.sums(), other.sums()) == sorted(dict.fromkeys(bucket_of(f"users/{key}") for key in apart))


def test_two_versions_that_users_could_tell_apart_have_different_digests() -> None:
    versions = [
        entry(stamp=5),
        entry(stamp=6),
        entry(stamp=6, created=5),
        entry(stamp=6, created=4),
        entry(stamp=5, data="2"),
        entry("users/b", 5),
    ]
    assert len(dict.fromkeys(BucketSums([version]).text() for version in versions)) == len(versions)


def test_who_wrote_a_version_over_what_is_no_part_of_it() -> None:
    one, other = entry(prev=1, origin=THEIRS), entry(prev=None)
    assert BucketSums([one]).text() == BucketSums([other]).text()


def test_no_digest_is_equal_to_no_digest_of_anything() -> None:
    assert BucketSums().text() != NO_DIGEST
    assert len(BucketSums().text()) == 32
    assert [len(value) for value in BucketSums([entry()]).sums()] == [32] * BUCKETS


# Of a collection -----------------------------------------------------------------------------------------------------

WRITES = st.lists(st.tuples(LETTERS, st.sampled_from(["put", "delete", "drop"]), STAMPS), max_size=20)


@given(WRITES, st.integers(0, 20))
def test_the_digest_of_a_collection_is_that_of_its_live_rows_whenever_it_was_first_asked_for(
    writes: list[tuple[str, str, int]], first: int
) -> None:
    ours = Collection(USERS, follows=False)
    for seq, (letter, what, stamp) in enumerate(writes, 1):
        if seq > first:
            assert ours.digest.text()
        key = f"users/{letter}"
        if what == "drop":
            ours.apply(DropRow(USERS, key, seq))
        else:
            ours.apply(put(seq, entry(key, stamp, None if what == "delete" else "1")))
    rows = [row.entry for row in ours.rows() if not row.entry.deleted]
    assert fingerprints(ours.digest) == fingerprints(BucketSums(rows))
