"""Bars: what went wrong from when to when, read from a trace.

Layer: simulator/figures. Start at `cuts`, `faults` and `outages`.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias, cast, final

import msgspec

from simulator.experiment.operations import Operation
from simulator.experiment.simulation import Run

_CUTS = ("partition", "isolate", "cut_one_way", "cut_links", "ring", "smallest_cut")
_SHOWN_OTHERWISE = (
    *(*_CUTS, "flap", "swizzle"),  # as their cuts
    *("heal", "calm", "resume", "settle", "confirm", "backup"),  # end something, or harm nobody
    *("crash", "stop", "restart", "rolling_restart", "pause", "wipe", "replace", "join"),  # as outages
)
_OBVIOUS: Final = ("member", "groups", "difference", "members", "target")
_Where: TypeAlias = tuple[tuple[str, str], ...]


@final
class Bar(msgspec.Struct, frozen=True):
    """Something that lasted.

    Attributes:
        begin_s: since when, s.
        end_s: until when, s.
        what: what it was, in a line.
        links: the links that it cut.
        member: whom it hit; empty = links, or all.
    """

    begin_s: float
    end_s: float
    what: str
    links: _Where = ()
    member: str = ""


def cuts(run: Run) -> list[Bar]:
    """Every cut, from its beginning until it healed."""
    links: dict[str, dict[tuple[str, str], None]] = {}
    begin_s: dict[str, float] = {}
    end_s: dict[str, float] = {}
    names: dict[str, str] = {}
    said = ""
    for event in run.trace:
        if event.kind == "fault":
            said = words(msgspec.json.decode(event.payload, type=Operation)) if event.label in _CUTS else ""
        elif event.kind == "cut":
            names.setdefault(event.label, said or event.label)
            links.setdefault(event.label, {})[event.member, event.peer] = None
            begin_s.setdefault(event.label, event.time_ns / 1e9)
        elif event.kind == "healed":
            end_s[event.label] = event.time_ns / 1e9
    last_s = run.outcome.ended_s
    return [Bar(begin_s[name], end_s.get(name, last_s), names[name], tuple(edges)) for name, edges in links.items()]


def faults(run: Run) -> list[Bar]:
    """Every fault that is neither a cut nor an outage, until it ends or faults stop."""
    bars: list[Bar] = []
    for event in run.trace:
        if event.kind == "fault" and event.payload and event.label not in _SHOWN_OTHERWISE:
            operation = msgspec.json.decode(event.payload, type=Operation)
            begin_s = event.time_ns / 1e9
            for_s = getattr(operation, "for_s", None)
            end_s = max(begin_s, run.plan.safety_s) if for_s is None else begin_s + for_s
            bars.append(Bar(begin_s, end_s, words(operation), member=getattr(operation, "member", "")))
    return bars


def outages(run: Run) -> list[Bar]:
    """Every time that a member did not run, or stood still."""
    bars: list[Bar] = []
    begun: dict[tuple[str, bool], tuple[float, str]] = {}
    for event in run.trace:
        at_s, pausing = event.time_ns / 1e9, event.kind in ("paused", "resumed")
        if event.kind in ("stopped", "crashed", "paused"):
            begun[event.member, pausing] = (at_s, event.kind)
        elif event.kind in ("started", "resumed") and (event.member, pausing) in begun:
            since_s, what = begun.pop((event.member, pausing))
            bars.append(Bar(since_s, at_s, what, member=event.member))
    bars += [Bar(since_s, run.outcome.ended_s, what, member=who) for (who, _), (since_s, what) in begun.items()]
    return bars


def words(operation: Operation) -> str:
    """A fault in a few words: its kind, and what is said of it that is not the default."""
    fields: dict[str, object] = msgspec.to_builtins(operation)
    return f"{fields.pop('do')} {_plain({name: value for name, value in fields.items() if name != 'for_s'})}".strip()


def _plain(value: object) -> str:
    match value:
        case dict():
            pairs = cast("dict[str, object]", value).items()
            named = [(name, _plain(each)) for name, each in pairs if each not in (None, "", 0.0, [], ())]
            return ", ".join(said if name in _OBVIOUS else f"{name} {said}" for name, said in named)
        case list() | tuple():
            several = cast("Sequence[object]", value)
            nested = any(isinstance(each, list | tuple) for each in several)
            return (" | " if nested else " ").join(_plain(each) for each in several)
        case _:
            return str(value)
