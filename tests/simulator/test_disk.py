"""A disk that crashes, tears, forgets, lies, fails and is slow: what must survive does, and every fault is seen."""

from collections.abc import Awaitable, Callable

import pytest

from pivot.core.collection import PutRow, Row
from pivot.core.entry import Entry
from pivot.engine.base import StoreImage
from pivot.errors import StorageError
from pivot.types import Epoch, StoreId
from simulator.errors import BadConditionsError
from simulator.runtimes.loop import run
from simulator.runtimes.trio import SimulatedEngine
from simulator.world.disk import UNSYNCED_MAX, Disk, SyncedDurability, Trouble
from simulator.world.drive import COMMIT_NS, DiskDrive
from simulator.world.heap import EventHeap
from simulator.world.rng import Streams

COMMITS = 20
SEEDS = range(200)


def put(number: int, part: int = 0) -> PutRow:
    """One of two rows of a commit, so that half a commit shows."""
    entry = Entry(f"users/{number}-{part}", number, 0, "1", deleted=False, prev=None, origin=StoreId("s"))
    return PutRow("users/*", Row(entry, 2 * number + part))


def disk(seed: int, durability: SyncedDurability = "full") -> Disk:
    chance = Streams(seed).stream("disk")
    return Disk(store=StoreId("s"), epoch=Epoch("e"), durability=durability, chance=chance)


def numbers(of: Disk) -> list[int]:
    """Commits that are there; each whole, and none without those before it."""
    there = [key.removeprefix("users/").split("-") for key in of.rows]
    found = sorted({int(number) for number, _ in there})
    assert len(there) == 2 * len(found), "half a commit is there"
    assert found == list(range(1, len(found) + 1)), "there is a hole"
    return found


def crashed(seed: int, durability: SyncedDurability, trouble: Trouble, *, on_its_way: bool = False) -> Disk:
    """A disk after some commits and a crash."""
    one = disk(seed, durability)
    one.trouble = trouble
    for number in range(1, COMMITS + 1):
        one.keep((put(number), put(number, 1)))
    if on_its_way:
        one.under_way = (put(COMMITS + 1), put(COMMITS + 1, 1))
    one.crash()
    return one


@pytest.mark.parametrize("seed", [SEEDS])
def test_full_durability_keeps_every_commit(seed: range) -> None:
    assert all(len(numbers(crashed(number, "full", Trouble()))) == COMMITS for number in seed)


@pytest.mark.parametrize(("durability", "trouble"), [("normal", Trouble()), ("full", Trouble(lies=True))])
def test_a_crash_takes_the_last_unsynced_commits_at_most_so_many_and_never_leaves_a_hole(
    durability: SyncedDurability, trouble: Trouble
) -> None:
    left = [len(numbers(crashed(seed, durability, trouble))) for seed in SEEDS]
    assert {COMMITS - count for count in left} == set(range(UNSYNCED_MAX + 1))
    statistics = [crashed(seed, durability, trouble).statistics for seed in SEEDS]
    assert sum(each.lost for each in statistics) == sum(COMMITS - count for count in left)
    assert any(each.torn for each in statistics)
    assert all(each.lied == (COMMITS if trouble.lies else 0) for each in statistics)


def test_an_honest_sync_makes_everything_before_it_safe() -> None:
    for seed in SEEDS:
        one = disk(seed)
        one.trouble = Trouble(lies=True)
        one.keep((put(1), put(1, 1)))
        one.trouble = Trouble()
        one.keep((put(2), put(2, 1)))
        one.crash()
        assert numbers(one) == [1, 2]


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_commit_on_its_way_is_there_as_a_whole_or_not_at_all(durability: SyncedDurability) -> None:
    disks = [crashed(seed, durability, Trouble(), on_its_way=True) for seed in SEEDS]
    whole = [one for one in disks if len(numbers(one)) == COMMITS + 1]
    assert 0 < len(whole) < len(disks)
    assert all(one.statistics.unanswered for one in whole)
    assert any(one.statistics.torn for one in disks if one not in whole)


def test_a_disk_that_recovers_beyond_a_torn_record_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def recover_all(self: Disk, log: list[object]) -> None:
        for record in log:
            self._now.apply(record.changes)  # type: ignore[attr-defined]  # pyright: ignore

    monkeypatch.setattr(Disk, "_recover", recover_all)
    with pytest.raises(AssertionError, match="half a commit"):
        _ = [numbers(crashed(seed, "normal", Trouble())) for seed in SEEDS]


def test_the_same_seed_takes_the_same() -> None:
    first = [numbers(crashed(seed, "normal", Trouble())) for seed in SEEDS]
    assert first == [numbers(crashed(seed, "normal", Trouble())) for seed in SEEDS]


def in_virtual_time(main: Callable[[EventHeap], Awaitable[None]]) -> None:
    run(main, seed=1)


def opened(heap: EventHeap, one: Disk, life: str) -> Awaitable[StoreImage]:
    return SimulatedEngine(DiskDrive(one, heap, new_id=lambda: life)).open()


def test_every_life_knows_how_much_of_those_before_it_has_whatever_a_crash_took() -> None:
    async def main(heap: EventHeap) -> None:
        forgetful = 0
        for seed in SEEDS:
            one = disk(seed, "normal")
            await opened(heap, one, "first")
            one.keep((put(1),))
            one.keep((put(2),))
            await opened(heap, one, "second")
            one.keep((put(3),))
            one.crash()
            seq = 2 * len(one.rows)
            image = await opened(heap, one, "third")
            there = [life.epoch for life in image.lineage.lives]
            lives = ["e", "first", "second"]
            assert there == lives[: len(there)]
            assert image.lineage.kept(Epoch("first")) == min(seq, 4)
            assert image.lineage.kept(Epoch("second")) == (seq if "second" in there else 0)
            forgetful += "second" not in there
        assert 0 < forgetful < len(SEEDS)

    in_virtual_time(main)


@pytest.mark.parametrize(("trouble", "why"), [(Trouble(fail=1.0), "I/O error"), (Trouble(full=True), "no space left")])
def test_a_failing_commit_says_why_and_keeps_nothing(trouble: Trouble, why: str) -> None:
    async def main(heap: EventHeap) -> None:
        one = disk(1)
        engine = SimulatedEngine(DiskDrive(one, heap))
        one.trouble = trouble
        with pytest.raises(StorageError, match=why):
            await engine.commit([put(1)])
        assert not one.rows
        assert one.statistics.failed == 1
        one.trouble = Trouble()
        await engine.commit([put(1)])
        assert list(one.rows) == ["users/1-0"]

    in_virtual_time(main)


def test_commits_fail_about_as_often_as_they_should() -> None:
    one = disk(3)
    one.trouble = Trouble(fail=0.3)
    refused = [bool(one.refusal()) for _ in range(1000)]
    assert 250 < sum(refused) < 350


def test_a_slow_disk_is_slow() -> None:
    async def main(heap: EventHeap) -> None:
        one = disk(1)
        one.trouble = Trouble(slow_s=0.5)
        await SimulatedEngine(DiskDrive(one, heap)).commit([put(1)])
        assert heap.now_ns == COMMIT_NS + 500_000_000
        assert one.statistics.slowed == 1

    in_virtual_time(main)


@pytest.mark.parametrize(("name", "trouble"), [("slow_s", {"slow_s": -1.0}), ("fail", {"fail": 1.5})])
def test_trouble_that_cannot_be_is_refused(name: str, trouble: dict[str, float]) -> None:
    with pytest.raises(BadConditionsError, match=name):
        Trouble(**trouble)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
