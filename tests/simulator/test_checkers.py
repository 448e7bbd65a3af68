"""Each checker says what its definition says, over many random histories, and agrees with one that tries everything."""

from collections import Counter
from collections.abc import Callable

import pytest

from simulator.experiment.checkers.availability import availability
from simulator.experiment.checkers.bounds import bounded_memory
from simulator.experiment.checkers.convergence import convergence, outbox, settle
from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.legality import invented, legality, uniqueness
from simulator.experiment.checkers.quiescence import quiescence
from simulator.experiment.checkers.replicas import monotonicity
from simulator.experiment.checkers.reporting import unreported_losses
from simulator.experiment.checkers.sessions import sessions
from simulator.experiment.checkers.soundness import broken, crashes
from simulator.experiment.checkers.staleness import staleness
from simulator.experiment.checkers.survival import durability, lost_writes, resurrections
from simulator.experiment.checkers.violation import Violation
from tests.simulator import brute
from tests.simulator.histories import evidence

Checker = Callable[[Evidence], list[Violation]]
Where = Callable[[Evidence, Violation], str]


def nowhere(_: Evidence, __: Violation) -> str:
    return ""


def key(_: Evidence, violation: Violation) -> str:
    return violation.key


def stamp(_: Evidence, violation: Violation) -> str:
    return f"{violation.key} {violation.stamps[0]}"


def operation(_: Evidence, violation: Violation) -> str:
    return str(violation.operations[0])


def change(_: Evidence, violation: Violation) -> str:
    return f"{violation.operations[0]} {violation.key}"


def member(_: Evidence, violation: Violation) -> str:
    return violation.sentence.split()[0] if violation.checker == "outbox" else ""


def at_member(_: Evidence, violation: Violation) -> str:
    words = violation.sentence.split()
    return f"{words[3] if words[0] == 'at' else words[0]} {violation.key}"


def session(found: Evidence, violation: Violation) -> str:
    record = found.outcome.records[violation.operations[1] - 1]
    return f"{record.client} {record.member} {violation.key}"


PAIRS: dict[str, tuple[tuple[Checker, ...], Callable[[Evidence], brute.Found], Where]] = {
    "legality": ((legality,), brute.legality, key),
    "invented": ((invented,), brute.invented, stamp),
    "uniqueness": ((uniqueness,), brute.uniqueness, key),
    "lost writes": ((lost_writes,), brute.survival, change),
    "replicas": ((monotonicity, resurrections), brute.replicas, at_member),
    "reporting": ((unreported_losses,), brute.reporting, at_member),
    "durability": ((durability,), brute.durability, stamp),
    "sessions": ((sessions,), brute.sessions, session),
    "availability": ((availability,), brute.availability, operation),
    "convergence": ((convergence, outbox), brute.convergence, member),
    "quiescence": ((quiescence,), brute.quiescence, nowhere),
    "staleness": ((staleness,), brute.staleness, nowhere),
    "others": ((bounded_memory, crashes, broken, settle), brute.others, nowhere),
}
BUDGETS = [range(300), pytest.param(range(10_000), marks=[pytest.mark.long, pytest.mark.timeout(1800)])]


@pytest.mark.parametrize("seeds", BUDGETS, ids=len)
@pytest.mark.parametrize("name", PAIRS)
def test_a_checker_finds_what_its_definition_forbids_and_nothing_else(name: str, seeds: range) -> None:
    checkers, definition, where = PAIRS[name]
    seen: Counter[str] = Counter()
    for seed in seeds:
        found = evidence(seed)
        wrong = {(v.checker, where(found, v)) for checker in checkers for v in checker(found)}
        assert wrong == definition(found), seed
        seen.update(checker for checker, _ in wrong)
        seen["fine"] += not wrong
    assert seen["fine"] >= len(seeds) / 50, seen
    assert all(count >= len(seeds) / 300 for count in seen.values()), seen
