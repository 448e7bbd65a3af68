"""Explaining: which messages carried the versions that a violation is about.

Layer: simulator/experiment/checkers. Nobody keeps the trace of a run that may be all right. A run is a function of its
plan, so one that is not is played again, this time with its trace: every message is decoded, and those with a version
that the violation names are named in turn, each with its fate. If the second run is not the first, that is the finding.
Start at `explain`.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from pivot.core.messages import Page, Push, Repair
from pivot.transport.codec import decode
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.outcome import Outcome
from simulator.world.trace import TraceEvent

NAMED_MAX: Final = 6
"""Most messages that a sentence names: the first and the last ones."""


def differs(one: Outcome, other: Outcome) -> tuple[Violation, ...]:
    """What is wrong with two runs of one plan by one version of the code; empty = they are the same."""
    if one.hash == other.hash:
        return ()
    sentence = f"the same plan ran differently: hash {one.hash} ({one.events} events), {other.hash} ({other.events})"
    return (Violation("determinism", "", sentence),)


def explain(violations: Iterable[Violation], trace: Iterable[TraceEvent]) -> tuple[Violation, ...]:
    """Add to each violation the messages that carried its versions.

    Args:
        violations: of one run.
        trace: of that run, kept.
    """
    found = tuple(violations)
    wanted = {(violation.key, stamp) for violation in found for stamp in violation.stamps}
    carriers: dict[tuple[str, int], list[TraceEvent]] = {}
    fates: dict[int, str] = {}
    for event in trace:
        if event.kind == "sent":
            for version in _versions(event):
                if version in wanted:
                    carriers.setdefault(version, []).append(event)
        elif event.message >= 0:
            fates[event.message] = f"{event.kind}: {event.why}" if event.why else event.kind
    return tuple(_explained(violation, carriers, fates) for violation in found)


def _versions(event: TraceEvent) -> list[tuple[str, int]]:
    if event.label not in {"page", "push", "repair"}:
        return []
    body = decode(event.payload).body
    return [(entry.key, entry.stamp) for entry in body.entries] if isinstance(body, Page | Push | Repair) else []


def _explained(
    violation: Violation, carriers: dict[tuple[str, int], list[TraceEvent]], fates: dict[int, str]
) -> Violation:
    sent = {event.seq: event for stamp in violation.stamps for event in carriers.get((violation.key, stamp), ())}
    if not sent:
        said = "no message carried it" if violation.stamps else ""
        return replace(violation, sentence=f"{violation.sentence}; {said}") if said else violation
    events = [sent[seq] for seq in sorted(sent)]
    half = NAMED_MAX // 2
    shown = events if len(events) <= NAMED_MAX else [*events[:half], *events[-half:]]
    more = f", {len(events) - len(shown)} more between" if len(shown) < len(events) else ""
    names = ", ".join(
        f"#{event.seq} {event.label} {event.member} -> {event.peer} at {event.time_ns / 1e9:.3f} s "
        f"({fates.get(event.seq, 'under way')})"
        for event in shown
    )
    sentence = f"{violation.sentence}; carried by {names}{more}"
    return replace(violation, sentence=sentence, messages=tuple(event.seq for event in events))
