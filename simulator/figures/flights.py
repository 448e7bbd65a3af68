"""Flights: every copy of every message, from its sending to its end, read from a trace; bundled when there are many.

Layer: simulator/figures. Start at `flights`, then `bundled`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, final

import msgspec

from simulator.world.trace import TraceEvent

Fate: TypeAlias = Literal["delivered", "copy", "held", "corrupted", "lost", "under way"]
"""How a copy ended: delivered; so, as one more copy; so, after a link held it; so, with another content; not at all; or
the run ended before. A lost copy is lost whatever else befell it."""


@final
class Flight(msgspec.Struct, frozen=True, gc=False):
    """One copy.

    Attributes:
        sent_ns: when it was sent.
        end_ns: when it was delivered or lost.
        src: from whom.
        dst: to whom.
        label: kind of message.
        fate: how it ended.
        why: why it was lost.
        size: bytes.
        seq: number of the "sent" event.
    """

    sent_ns: int
    end_ns: int
    src: str
    dst: str
    label: str
    fate: Fate
    why: str
    size: int
    seq: int


@final
class Bundle(msgspec.Struct, frozen=True, gc=False):
    """Flights that are drawn as one.

    Attributes:
        first: the first of them.
        count: how many there are.
        labels: kind of message -> how many.
    """

    first: Flight
    count: int
    labels: dict[str, int]


def flights(trace: Iterable[TraceEvent]) -> list[Flight]:
    """Every copy, in order of its end; what is still under way comes last."""
    sent: dict[int, TraceEvent] = {}
    copies: Counter[int] = Counter()  # not yet ended
    marks: dict[int, Fate] = {}
    delivered: dict[int, None] = {}
    found: list[Flight] = []
    last_ns = 0
    for event in trace:
        last_ns, of = event.time_ns, event.message
        match event.kind:
            case "sent":
                sent[event.seq] = event
                copies[event.seq] = 1
            case "duplicated":
                copies[of] += 1
            case "held" | "corrupted":
                marks[of] = "held" if event.kind == "held" else "corrupted"
            case "delivered" | "lost":
                copies[of] -= 1
                fate: Fate = (
                    "lost" if event.kind == "lost" else marks.get(of, "copy" if of in delivered else "delivered")
                )
                delivered[of] = None
                found.append(_flight(sent[of], event.time_ns, fate, event.why))
            case _:
                pass
    found += [_flight(sent[of], last_ns, "under way", "") for of, count in copies.items() for _ in range(count)]
    return found


def bundled(
    these: Iterable[Flight], lanes: Mapping[str, int], bundles_max: int, span_ns: int
) -> tuple[list[Bundle], float]:
    """Put together what goes the same way with the same fate at about the same time, as finely as the limit allows.

    Args:
        these: what is to be drawn.
        lanes: member -> its lane; several may share one.
        bundles_max: most bundles there may be; at least one for every pair of lanes and fate.
        span_ns: how much time the picture shows.

    Returns:
        The bundles, and how long (s) one lasts; 0 = each is a single copy.
    """
    every = [(flight, lanes[flight.src], lanes[flight.dst]) for flight in these]
    if len(every) <= bundles_max:
        return [Bundle(flight, 1, {flight.label: 1}) for flight, _, _ in every], 0.0
    pieces = 4096
    while True:
        length = max(1, span_ns // pieces)
        groups: dict[tuple[int, int, int, Fate], list[Flight]] = {}
        for flight, src, dst in every:
            groups.setdefault((flight.sent_ns // length, src, dst, flight.fate), []).append(flight)
        if len(groups) <= bundles_max or pieces == 1:
            break
        pieces //= 4
    found = [Bundle(group[0], len(group), dict(Counter(flight.label for flight in group))) for group in groups.values()]
    return found, length / 1e9


def _flight(sent: TraceEvent, end_ns: int, fate: Fate, why: str) -> Flight:
    return Flight(sent.time_ns, end_ns, sent.member, sent.peer, sent.label, fate, why, sent.size, sent.seq)
