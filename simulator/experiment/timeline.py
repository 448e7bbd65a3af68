"""Timeline: which member knew which version of which key when, put together from what an observer saw.

Layer: simulator/experiment. Only versions that a member shows as committed count; while a member does not run it knows
nothing. Start at `Timeline.of`.
"""

import json
from collections.abc import Iterator
from operator import attrgetter
from typing import final

import msgspec

from pivot.core.entry import Entry
from pivot.types import JsonValue
from simulator.experiment.observer import Reopening, Sighting
from simulator.experiment.outcome import Outcome
from simulator.world.trace import TraceEvent

DOWN_KINDS = ("stopped", "crashed")


@final
class Change(msgspec.Struct, frozen=True, gc=False):
    """A member learned or forgot something.

    Attributes:
        at_ns: when, virtual time.
        member: who.
        key: of what; empty = the member ended, and with it all that it knew.
        entry: what it knows now, tombstones included; None = nothing.
    """

    at_ns: int
    member: str
    key: str
    entry: Entry | None


@final
class Span(msgspec.Struct, frozen=True, gc=False):
    """A member knew one version of a key for a while.

    Attributes:
        member: who.
        key: of what.
        entry: the version.
        begin_s: since when, s.
        end_s: until when, s.
    """

    member: str
    key: str
    entry: Entry
    begin_s: float
    end_s: float


@final
class Timeline(msgspec.Struct, frozen=True):
    """All changes of a run, in order.

    Attributes:
        members: who there is.
        changes: see `Change`.
        ended_s: virtual time at the end.
    """

    members: tuple[str, ...]
    changes: tuple[Change, ...]
    ended_s: float

    @staticmethod
    def of(outcome: Outcome, members: tuple[str, ...]) -> "Timeline":
        """Put it together; that a member ended is known only when the trace was kept."""
        seen = outcome.observations
        ends = [event for event in outcome.trace if event.kind in DOWN_KINDS]
        # What a store holds when it is opened again comes before what is learned at that instant, an end before both.
        happened: list[tuple[int, int, TraceEvent | Reopening | Sighting]] = sorted(
            [
                *((event.time_ns, 0, event) for event in ends),
                *((reopening.at_ns, 1, reopening) for reopening in seen.reopenings),
                *((sighting.at_ns, 2, sighting) for sighting in seen.sightings),
            ],
            key=lambda each: each[:2],
        )
        known: dict[str, dict[str, Entry]] = {member: {} for member in members}
        changes = tuple(change for _, _, what in happened for change in _changes(what, known))
        return Timeline(members, changes, outcome.ended_s)

    def tables(self, at_s: float) -> dict[str, dict[str, Entry]]:
        """Member -> key -> version that it knew at a time, s; tombstones included."""
        known: dict[str, dict[str, Entry]] = {member: {} for member in self.members}
        for change in self.changes:
            if change.at_ns > round(at_s * 1e9):
                break
            apply(change, known)
        return known

    def state(self, at_s: float) -> dict[str, dict[str, JsonValue]]:
        """Member -> key -> value at a time, s; deleted keys are absent."""
        return {
            member: {key: json.loads(entry.data) for key, entry in sorted(table.items()) if not entry.deleted}
            for member, table in self.tables(at_s).items()
        }

    def spans(self) -> tuple[Span, ...]:
        """Who knew what from when to when, by beginning."""
        begun: dict[tuple[str, str], Change] = {}
        spans: list[Span] = []

        def end(place: tuple[str, str], at_s: float) -> None:
            change = begun.pop(place, None)
            if change is not None and change.entry is not None:
                spans.append(Span(*place, change.entry, change.at_ns / 1e9, at_s))

        for change in self.changes:
            at_s = change.at_ns / 1e9
            for place in [p for p in begun if p[0] == change.member and change.key in ("", p[1])]:
                end(place, at_s)
            if change.entry is not None:
                begun[change.member, change.key] = change
        for place in tuple(begun):
            end(place, self.ended_s)
        return tuple(sorted(spans, key=attrgetter("begin_s", "key", "member")))


def apply(change: Change, known: dict[str, dict[str, Entry]]) -> None:
    """Bring what members know up to date."""
    if not change.key:
        known[change.member].clear()
    elif change.entry is None:
        known[change.member].pop(change.key, None)
    else:
        known[change.member][change.key] = change.entry


def _changes(what: TraceEvent | Reopening | Sighting, known: dict[str, dict[str, Entry]]) -> Iterator[Change]:
    """What an event changes; `known` is kept up to date."""
    found: list[Change]
    match what:
        case TraceEvent():
            found = [Change(what.time_ns, what.member, "", None)]
        case Reopening():
            before = known[what.member]
            found = [Change(what.at_ns, what.member, key, None) for key in before if key not in what.has]
            found += [Change(what.at_ns, what.member, *item) for item in what.has.items()]
        case Sighting():
            entry = None if what.withdrawn else what.entry
            found = [Change(what.at_ns, what.member, what.entry.key, entry)]
    for change in found:
        old = known[change.member].get(change.key)
        if not change.key or (old and old.version) != (change.entry and change.entry.version):
            apply(change, known)
            yield change
