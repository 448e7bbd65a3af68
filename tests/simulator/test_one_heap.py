"""The ordering rule: everything that reaches a mailbox is an event of the one heap, and one event wakes one actor.

Observed, not believed: the heap, the mailboxes and the actors of a run are watched from outside, and a shortcut planted
into the switchboard is noticed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import get_args

import pytest

from pivot.actors.core import ActorCore
from pivot.actors.mailbox import Mailbox
from pivot.core.collection import Change
from pivot.core.events import Event
from pivot.types import Now
from simulator import Plan, Run, draw, write
from simulator.experiment.plan import Step
from simulator.runtimes.base import RuntimeName
from simulator.world.disk import Disk
from simulator.world.drive import COMMIT_NS
from simulator.world.heap import EventHeap


@dataclass
class Observed:
    """What was seen of a run.

    Attributes:
        outside: mailboxes that were filled outside any event.
        steps: number of the event, actors that began a batch in it.
        begun: when each batch that must be committed was stepped, ns.
        kept: when each commit was kept, ns.
    """

    outside: list[str] = field(default_factory=list[str])
    steps: dict[int, list[ActorCore]] = field(default_factory=dict[int, list[ActorCore]])
    begun: list[int] = field(default_factory=list[int])
    kept: list[int] = field(default_factory=list[int])

    def violations(self) -> list[str]:
        crowded = [event for event, cores in self.steps.items() if len({id(core) for core in cores}) > 1]
        return [f"{name} was filled outside any event" for name in self.outside] + [
            f"event {event} woke {len(self.steps[event])} actors" for event in crowded
        ]


def observe(plan: Plan, patch: pytest.MonkeyPatch, runtime: RuntimeName) -> Observed:
    """Play a plan and watch."""
    seen = Observed()
    heap_of_run = EventHeap()
    running = False

    def run_next(heap: EventHeap) -> bool:
        nonlocal running, heap_of_run
        running, heap_of_run = True, heap
        try:
            return original_run_next(heap)
        finally:
            running = False

    def put(mailbox: Mailbox, event: Event) -> None:
        if not running:
            seen.outside.append(mailbox.name)
        original_put(mailbox, event)

    def begin(core: ActorCore, now: Now, batch: Sequence[Event]) -> list[Change]:
        seen.steps.setdefault(heap_of_run.executed, []).append(core)
        changes = original_begin(core, now, batch)
        if changes:
            seen.begun.append(heap_of_run.now_ns)
        return changes

    def keep(disk: Disk, changes: Sequence[Change]) -> None:
        seen.kept.append(heap_of_run.now_ns)
        original_keep(disk, changes)

    original_run_next, original_put = EventHeap.run_next, Mailbox.put
    original_begin, original_keep = ActorCore.begin, Disk.keep
    patch.setattr(EventHeap, "run_next", run_next)
    patch.setattr(Mailbox, "put", put)
    patch.setattr(ActorCore, "begin", begin)
    patch.setattr(Disk, "keep", keep)
    Run.of(plan, runtime=runtime)
    assert len(seen.steps) > 50, "nothing worth watching happened"
    return seen


on_both = pytest.mark.parametrize("runtime", get_args(RuntimeName))


@on_both
@pytest.mark.parametrize("seed", range(10))
def test_every_delivery_is_an_event_and_wakes_one_actor(
    seed: int, runtime: RuntimeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert observe(draw(seed), monkeypatch, runtime).violations() == []


@on_both
def test_a_commit_takes_virtual_time_and_ends_as_an_event(
    runtime: RuntimeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = tuple(Step(1.0 + number, write("leader", "settings", number)) for number in range(5))
    plan = Plan(seed=1, nodes=1, durability="full", steps=writes, safety_s=7.0)
    seen = observe(plan, monkeypatch, runtime)
    assert len(seen.begun) > len(writes)
    assert [end - begin for begin, end in zip(seen.begun, seen.kept, strict=True)] == [COMMIT_NS] * len(seen.kept)


def test_a_delivery_that_bypasses_the_heap_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(_: EventHeap, call: Callable[[], None]) -> None:
        call()

    monkeypatch.setattr(EventHeap, "call_soon", at_once)
    assert observe(draw(1), monkeypatch, "trio").violations() != []
