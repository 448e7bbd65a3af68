"""Random writes, merges, failures and comings and goings: what a subscriber has patched equals a fresh GET.

The storage is the real one, committed by hand, so that a subscription can begin at any place between a write, its
commit and its publication. The jsonpatch library applies the patches; it is the oracle, and no code of ours.
"""

import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jsonpatch
import msgspec
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot.core.effects import Publish
from pivot.core.entry import Entry
from pivot.core.questions import Entries, Get, ListAll, MergePage, Patch, PushItem, Put, Question, Remove
from pivot.paths import is_glob
from pivot.server.hub import Hub, Subscriber
from pivot.server.items import ABSENT, item
from pivot.server.view import View
from tests.core.builders import USERS, WALL_NS, A, Desk, entry, following_desk, only

KEYS = ("users/a", "users/b", "users/c", "settings", "box/a/things/1", "box/b/things/1")
PATTERNS = ("users/*", "users/*", "users/*", "*/*", "users/a", "settings", "box/*/things/*", "box/b/*/*")
VALUES = ("1", "true", "null", "{}", "[]", '{"a":1}', '{"a":{"b":[1,2,3]},"c":"x"}', '{"a":{"b":[3,2,1]},"c":"y"}')
PATCHES = ('{"a":1}', '{"a":{"b":[0]}}', '{"c":null}')


@dataclass
class Merge:
    """A page of the leader's feed; which cursor it begins at is known when it comes."""

    entries: tuple[Entry, ...]


@dataclass
class Batch:
    """Questions that storage takes together; None lets a subscription that is beginning come one step further."""

    steps: list[Question | Merge | None]
    fails: bool


@dataclass
class Join:
    """Somebody subscribes; `resume` = he holds what a former subscriber of the pattern held."""

    pattern: str
    resume: bool


@dataclass
class Leave:
    """Whoever came first goes, also while his subscription is only beginning."""


@dataclass
class Look:
    """Everybody reads, and is compared with a fresh GET."""


questions = st.one_of(
    st.builds(Put, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.builds(PushItem, st.just(USERS), st.sampled_from(VALUES)),
    st.builds(Remove, st.sampled_from((*KEYS, USERS, "box/*/things/*"))),
    st.builds(Patch, st.sampled_from(KEYS), st.sampled_from(PATCHES)),
)


def version_of_the_leader(key: str, ahead_ns: int, age_ns: int, data: str | None) -> Entry:
    return entry(key, WALL_NS + ahead_ns, data, created=WALL_NS + ahead_ns - age_ns)


merged = st.builds(
    version_of_the_leader,
    st.sampled_from(("users/a", "users/b", "users/d")),
    st.integers(0, 40),
    st.integers(1, 9),
    st.sampled_from((None, *VALUES)),
)
merges = st.builds(Merge, st.lists(merged, max_size=4, unique_by=lambda version: version.key).map(tuple))
steps = st.lists(st.one_of(questions, questions, merges, st.none(), st.none()), min_size=2, max_size=6)
batches = st.builds(Batch, steps, st.sampled_from([False, False, False, True]))
joins = st.builds(Join, st.sampled_from(PATTERNS), st.booleans())
stories = st.lists(
    st.one_of(batches, batches, joins, joins, st.builds(Leave), st.builds(Look)), min_size=20, max_size=40
)


@dataclass
class Watcher:
    """A subscriber and what he holds."""

    pattern: str
    version: str = ""
    held: Any = None
    subscriber: Subscriber | None = None
    presence: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def run(self, hub: Hub) -> None:
        with self.presence:
            async with hub.subscribed(self.pattern, self.version) as self.subscriber:
                await trio.sleep_forever()

    async def read(self) -> None:
        """Apply all frames that wait."""
        assert self.subscriber is not None
        with trio.move_on_after(0):
            while (text := await self.subscriber.take()) is not None:
                frame = json.loads(text)
                assert frame["version"] != self.version, "a frame that changes nothing"
                self.version = frame["version"]
                self.held = frame["data"] if frame["snapshot"] else jsonpatch.apply_patch(self.held, frame["data"])


class Stage:
    """A store, a hub, and who watches."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.desk: Desk = following_desk()
        self.hub = Hub(self.load)
        self.gates: list[trio.Event] = []
        self.watchers: list[Watcher] = []
        self.gone: list[Watcher] = []
        self.nursery = nursery
        nursery.start_soon(self.hub.run)

    async def load(self, pattern: str) -> tuple[Entry, ...]:
        """Storage answers when it comes to it, and the answer is noticed some time later."""
        await self.gate()
        found = self.desk.stage(ListAll(pattern) if is_glob(pattern) else Get(pattern))
        assert isinstance(found, Entries)
        await self.gate()
        return found.entries

    async def gate(self) -> None:
        gate = trio.Event()
        self.gates.append(gate)
        await gate.wait()

    async def further(self) -> None:
        """Open the gate at which somebody has waited longest."""
        if self.gates:
            self.gates.pop(0).set()
            await trio.testing.wait_all_tasks_blocked()

    async def batch(self, batch: Batch) -> None:
        published: list[Entry] = []
        cursor = self.desk.store[USERS].place.cursor
        for step in batch.steps:
            match step:
                case None:
                    await self.further()
                    continue
                case Merge():
                    end = cursor + len(step.entries)
                    seqs = tuple(range(cursor + 1, end + 1))
                    self.desk.stage(MergePage(USERS, A, cursor, step.entries, seqs, end, 0))
                    cursor = end
                case _:
                    self.desk.stage(step)
            published += [version for publish in only(self.desk.effects, Publish) for version in publish.entries]
        if batch.fails:
            self.desk.fail()
            return
        self.desk.commit()
        self.hub.publish(published)

    async def join(self, join: Join) -> None:
        watcher = Watcher(join.pattern)
        former = [one for one in self.gone if one.pattern == join.pattern and join.resume]
        if former:
            watcher.version, watcher.held = former[-1].version, former[-1].held
        self.watchers.append(watcher)
        self.nursery.start_soon(watcher.run, self.hub)
        await trio.testing.wait_all_tasks_blocked()

    async def leave(self) -> None:
        if self.watchers:
            watcher = self.watchers.pop(0)
            if watcher.subscriber is not None:
                await watcher.read()
            watcher.presence.cancel()
            await trio.testing.wait_all_tasks_blocked()
            if watcher.subscriber is not None:
                self.gone.append(watcher)

    async def look(self) -> None:
        """Everybody who is subscribed by now reads; what he holds is what GET answers."""
        await trio.testing.wait_all_tasks_blocked()
        for watcher in self.watchers:
            if watcher.subscriber is None:
                continue
            await watcher.read()
            live = self.desk.store.live(watcher.pattern)
            fresh = json.loads(msgspec.json.encode([item(one) for one in live]))
            if not is_glob(watcher.pattern):
                fresh = fresh[0] if fresh else json.loads(ABSENT)
            assert watcher.held == fresh
            assert json.dumps(watcher.held, sort_keys=True) == json.dumps(fresh, sort_keys=True)  # 1 is not true
            assert watcher.version == View(watcher.pattern, live).version


async def play(story: list[Any]) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        for act in story:
            match act:
                case Batch():
                    await stage.batch(act)
                case Join():
                    await stage.join(act)
                case Leave():
                    await stage.leave()
                case _:
                    await stage.look()
        while stage.gates:
            await stage.further()
        assert all(watcher.subscriber for watcher in stage.watchers)
        await stage.look()
        while stage.watchers:
            await stage.leave()
        assert stage.hub.statistics() == {}
        nursery.cancel_scope.cancel()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stories)
def test_what_a_subscriber_has_patched_equals_a_fresh_get(story: list[Any]) -> None:
    trio.run(partial(play, story))
