"""Planted bugs are seen by the checkers that are there for them, in plans that are fine without them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from pivot.config import Knobs
from pivot.core.clock import HybridClock
from pivot.core.effects import Effect, SetTimer
from pivot.core.entry import Entry
from pivot.core.events import Event
from pivot.core.leader import LeaderBehaviour
from pivot.core.leading import Flow, Leading
from pivot.core.node import NodeBehaviour
from pivot.core.questions import Entries, Get, Question, Result
from pivot.core.storage import StorageBehaviour
from pivot.core.store import Store
from pivot.types import Now
from simulator import Plan, Run, Simulation, crash, draw, isolate, read, restart, settle, skew, write
from simulator.experiment.mutants import machinery
from simulator.experiment.mutants.catalogue import MUTANTS
from simulator.experiment.mutants.mutant import Mark, Patch, Seams
from simulator.world.latency import ConstantLatency
from simulator.world.link import Conditions

NAMED = {mutant.name: mutant for mutant in MUTANTS}


def test_everything_is_as_it_was_after_a_mutant() -> None:
    before = Run.of(draw(5)).hash
    for mutant in MUTANTS:
        with mutant.planted():
            pass
    assert Run.of(draw(5)).hash == before


@pytest.mark.parametrize("behaviour", [StorageBehaviour, LeaderBehaviour])
def test_a_crash_of_our_code_is_a_verdict_and_not_an_exception(
    behaviour: type[StorageBehaviour] | type[LeaderBehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: object, now: Now, event: Event) -> list[object]:
        raise ZeroDivisionError(f"planted in {type(self).__name__}")

    monkeypatch.setattr(behaviour, "step", step)
    run = Simulation(nodes=1, seed=1).at(0.5, write("leader", "settings", 1)).run(until=2)
    assert run.verdict == "crash"
    assert "ZeroDivisionError('planted in " in run.violations[0].sentence


def test_a_fault_that_touches_nothing_proves_nothing() -> None:
    run = Simulation(nodes=1, seed=1).at(0.5, skew("n1", 5.0)).run(until=1)
    assert run.violations == ()
    assert run.verdict == "unknown"


def test_a_violation_names_the_messages_that_carried_it() -> None:
    mutant = NAMED["leader_restamps"]
    plan = draw(0, nemeses=())
    with mutant.planted():
        run = Run.of(plan).explained()
    violation = next(each for each in run.violations if each.checker == "invented")
    assert "carried by #" in violation.sentence
    carriers = [run.trace[number] for number in violation.messages]
    assert carriers
    assert {event.kind for event in carriers} == {"sent"}


def test_a_second_run_that_differs_is_the_finding() -> None:
    plan = draw(3, nemeses=())
    run = Run.of(plan)
    with NAMED["leader_restamps"].planted():  # as good as any leak: another run of the same plan
        again = run.explained()
    assert again.verdict == "nondeterminism"


def test_clients_with_a_name_have_sessions_of_their_own() -> None:
    run = (
        Simulation(nodes=1, seed=2, durability="full")
        .at(0.5, isolate("n1"))
        .at(1.0, write("n1", "settings", 1, client="ann"))
        .at(2.0, read("leader", "settings", client="ann"))  # another member need not have it
        .at(2.5, crash("n1"), read("n1", "settings", client="bob"))
        .at(3.0, restart("n1"))
        .at(3.5, read("n1", "settings", client="ann"))
        .run(until=4)
    )
    assert run.verdict == "ok", run
    assert [(record.client, record.value) for record in run.outcome.records if record.kind == "read"] == [
        ("ann", None),
        ("bob", None),
        ("ann", 1),
    ]


# One bug for one checker ---------------------------------------------------------------------------------------------


def the_window_never_closes(seams: Seams, mark: Mark) -> None:
    """A leader sends all it has, however little was acknowledged."""
    pump = Leading._pump

    def pump_(leading: Leading, flow: Flow, *, certain: bool = True) -> list[Effect]:
        mark.note(flow.under_way)
        flow.under_way.clear()
        return pump(leading, flow, certain=certain)

    seams.setattr(Leading, "_pump", pump_)


def a_node_takes_its_time(seams: Seams, mark: Mark) -> None:
    """A node that lost its leader tries again after 20 s."""
    down = NodeBehaviour._down

    def down_(node: NodeBehaviour, reason: str) -> list[Effect]:
        mark.note()
        return [
            SetTimer("retry", 20.0, 20.0) if isinstance(effect, SetTimer) and effect.name == "retry" else effect
            for effect in down(node, reason)
        ]

    seams.setattr(NodeBehaviour, "_down", down_)


def a_read_is_one_version_late(seams: Seams, mark: Mark) -> None:
    """Every second read finds what the one before it could have found."""
    answer = StorageBehaviour._read
    reads, before = [0], dict[str, Result]()

    def read_(behaviour: StorageBehaviour, question: Question) -> Result:
        result = answer(behaviour, question)  # pyright: ignore[reportArgumentType] - only what it takes is asked
        if not isinstance(question, Get) or not isinstance(result, Entries):
            return result
        reads[0] += 1
        late = before.get(question.key, result) if reads[0] % 2 == 0 else result
        before.setdefault(question.key, result)
        mark.note(late != result)
        return late

    seams.setattr(StorageBehaviour, "_read", read_)


def an_update_keeps_the_stamp(seams: Seams, mark: Mark) -> None:
    """A value that is changed keeps the stamp that it was written with."""
    version = Store.next_version

    def next_version(store: Store, wall_ns: int, key: str, data: str | None) -> Entry:
        entry, row = version(store, wall_ns, key, data), store.collection_of(key).peek(key)
        if row is None or row.entry.deleted or entry.deleted:
            return entry
        mark.note()
        return replace(row.entry, data=entry.data)

    seams.setattr(Store, "next_version", next_version)


def a_clock_learns_nothing(seams: Seams, mark: Mark) -> None:
    """What others write does not move a clock."""

    def observe(clock: HybridClock, remote: int, *, wall_ns: int) -> None:
        mark.note(remote > max(clock.last, wall_ns))

    seams.setattr(HybridClock, "observe", observe)


SLOW = Conditions(latency=ConstantLatency(base_s=0.5))


def _cut_off_and_asked() -> Simulation:
    simulation = Simulation(nodes=1, seed=1).at(1.0, isolate("n1", for_s=8.0))
    for number in range(4):
        simulation.at(2.0 + number, write("n1", f"users/{number}", number))
    return simulation


def _many_writes_on_a_slow_link() -> Simulation:
    simulation = Simulation(nodes=1, seed=1, weather=SLOW, knobs=Knobs(page_rows=1, page_window=1))
    for number in range(30):
        simulation.at(4.0 + number / 100, write("leader", f"users/{number}", number))
    return simulation


def _two_writes(one: str, other: str, value: int) -> Simulation:
    """Two clients, or one, set a key in two lives of a member, the second to this value."""
    simulation = Simulation(nodes=1, seed=1, durability="full").at(1.0, write("n1", "settings", 1, client=one))
    return simulation.at(2.0, crash("n1", for_s=0.5)).at(3.0, write("n1", "settings", value, client=other))


def _a_wait() -> Simulation:
    knobs = Knobs(heartbeat_s=0.5, ack_repeat_s=0.5, silence_s_min=1.5, silence_s_max=1.5, retry_s_max=1.0)
    simulation = Simulation(nodes=1, seed=1, knobs=knobs).at(1.0, isolate("n1", for_s=3.0))
    return simulation.at(2.0, write("leader", "settings", 1)).at(5.0, settle()).at(6.0, write("leader", "settings", 2))


def _a_client_reads_what_it_wrote() -> Simulation:
    simulation = Simulation(nodes=1, seed=1)
    for number in range(2):
        simulation.at(1.0 + number, write("n1", "settings", number, client="ann"))
        simulation.at(1.5 + number, read("n1", "settings", client="ann"))
    return simulation


def _a_client_reads_twice() -> Simulation:
    simulation = Simulation(nodes=1, seed=1)
    for number in range(2):
        simulation.at(1.0 + number, write("n1", "settings", number, client="bob"))
        simulation.at(1.5 + number, read("n1", "settings", client=f"passer-by {number}"))
    return simulation.at(4.0, read("n1", "settings", client="ann")).at(5.0, read("n1", "settings", client="ann"))


def _a_client_writes_what_follows_from_what_it_read() -> Simulation:
    simulation = Simulation(nodes=1, seed=1).at(0.5, skew("n1", -5.0))
    simulation.at(1.0, write("leader", "settings", 1, client="bob")).at(2.0, read("n1", "settings", client="ann"))
    return simulation.at(3.0, write("n1", "users/a", 1, client="ann"))


@dataclass(frozen=True)
class Planted:
    """A bug that one checker alone can see.

    Attributes:
        plant: plants it.
        simulation: what shows it.
        until_s: when faults end there, s.
        liveness_s: how long things may take, s.
    """

    plant: Callable[[Seams, Mark], None]
    simulation: Callable[[], Simulation]
    until_s: float = 12.0
    liveness_s: float = 60.0

    def plan(self) -> Plan:
        return replace(self.simulation().plan(until=self.until_s), liveness_s=self.liveness_s)


ALONE = {
    "availability": Planted(machinery.writes_wait_for_the_leader, _cut_off_and_asked),
    "bounded memory": Planted(the_window_never_closes, _many_writes_on_a_slow_link),
    "stamp uniqueness": Planted(an_update_keeps_the_stamp, lambda: _two_writes("ann", "bob", 3)),
    "monotonic writes": Planted(an_update_keeps_the_stamp, lambda: _two_writes("ann", "ann", 1)),
    "settle": Planted(a_node_takes_its_time, _a_wait, until_s=40.0, liveness_s=8.0),
    "read your writes": Planted(a_read_is_one_version_late, _a_client_reads_what_it_wrote),
    "monotonic reads": Planted(a_read_is_one_version_late, _a_client_reads_twice),
    "writes follow reads": Planted(a_clock_learns_nothing, _a_client_writes_what_follows_from_what_it_read),
}


@pytest.mark.parametrize("checker", ALONE)
def test_a_bug_is_seen_by_the_one_checker_that_is_there_for_it(checker: str) -> None:
    plan, patch, mark = ALONE[checker].plan(), Patch(), Mark()
    assert Run.of(plan).violations == ()
    try:
        ALONE[checker].plant(patch, mark)
        violations = Run.of(plan).violations
    finally:
        patch.undo()
    assert mark.count
    assert {violation.checker for violation in violations} == {checker}, violations
