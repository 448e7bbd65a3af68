"""Staleness: while nothing is wrong, a version is everywhere soon.

Layer: simulator/experiment/checkers. Theory: a commit wakes the flow of its collection at once, so a version crosses
one or two links, each in bounded time, and is committed after each; pages that overtake each other are asked for again
when a heartbeat shows the gap. The bound holds from the start until the first fault, in weather that loses nothing and
whose latency has a limit; what comes later is the matter of `convergence`. What counts is the first moment at which a
member shows that version or a greater one. O(sightings x members).
"""

from typing import Final

from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.checkers.violation import Violation
from simulator.experiment.operations import Join
from simulator.experiment.plan import Plan
from simulator.world.latency import ConstantLatency, UniformLatency

STALE_HEARTBEATS: Final = 5.0
"""How old a version may be until it is everywhere, in heartbeats, beside the latency of the links it has to cross."""
GREETING_S: Final = 2.0
"""How long members may need to find each other at the start, on links with no latency."""
ROWS_MIN: Final = 100
BYTES_MIN: Final = 2**16
"""Pages with less room are many, overtake each other again and again, and each time a heartbeat goes by."""
_CROSSINGS: Final = 6
"""Most links that are crossed on the way: subscription or push, page, and as much again for what was under way."""


def bound_s(plan: Plan) -> float | None:
    """How old a version may get in this plan's weather; None = there is no bound."""
    if any(isinstance(step.operation, Join) for step in plan.steps):
        return None  # who joins late has nothing until then
    if has_small_pages(plan):
        return None
    if any(each.loss or each.corruption or each.reordering or each.bandwidth for each in plan.weathers()):
        return None
    slowest_s = latency_s_max(plan)
    return None if slowest_s is None else STALE_HEARTBEATS * plan.knobs.heartbeat_s + _CROSSINGS * slowest_s


def has_small_pages(plan: Plan) -> bool:
    """Whether what a member has to read comes in many pages."""
    return plan.knobs.page_rows < ROWS_MIN or plan.knobs.page_bytes < BYTES_MIN


def latency_s_max(plan: Plan) -> float | None:
    """The longest that any link may take for a message, s; None = there is no limit."""
    slowest_ns = 0
    for weather in plan.weathers():
        if not isinstance(weather.latency, UniformLatency | ConstantLatency):
            return None
        slowest_ns = max(slowest_ns, weather.latency.sample_ns(1.0))
    return slowest_ns / 1e9


def staleness(evidence: Evidence) -> list[Violation]:
    """Every version that was shown in time before the first fault was shown everywhere within the bound."""
    limit_s = bound_s(evidence.plan)
    if limit_s is None or evidence.outcome.crashes:
        return []
    seen = evidence.outcome.observations
    calm_ns = round(evidence.outcome.ended_s * 1e9) if seen.upset_ns is None else seen.upset_ns
    limit_ns, greeted_ns = round(limit_s * 1e9), round((limit_s + GREETING_S) * 1e9)
    first: dict[tuple[str, str], list[tuple[int, tuple[int, bool, int, str]]]] = {}
    for sighting in seen.sightings:
        if not sighting.withdrawn:
            entry = sighting.entry
            first.setdefault((sighting.member, entry.key), []).append((sighting.at_ns, entry.version))
    violations: list[Violation] = []
    for sighting in seen.sightings:
        due_ns = max(sighting.at_ns + limit_ns, greeted_ns)
        if due_ns >= calm_ns:
            break
        entry = sighting.entry
        for member in evidence.plan.members:
            shown = first.get((member, entry.key), ())
            if not sighting.withdrawn and not any(at <= due_ns and version >= entry.version for at, version in shown):
                sentence = (
                    f"{member} did not have {evidence.name(entry.key, entry.stamp)} of {entry.key} within "
                    f"{limit_s:.1f} s, though nothing was wrong"
                )
                ids = evidence.ids(entry.key, entry.stamp)
                violations.append(Violation("staleness", entry.key, sentence, ids, (entry.stamp,)))
    return violations[:1]
