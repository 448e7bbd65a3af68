"""Comparison: what is other in one run than in another: the plan, the end, what became of each write, the first event.

Layer: simulator/experiment. Start at `compare`.
"""

from html import escape
from typing import final

import msgspec

from simulator.experiment.outcome import Outcome
from simulator.experiment.plan import Plan
from simulator.experiment.wording import describe
from simulator.world.divergence import first_divergence

_LINES_MAX = 20


@final
class Comparison(msgspec.Struct, frozen=True):
    """Two runs, side by side.

    Attributes:
        rows: what is other, there and here: (what, one, other).
        left_out: how many rows there are beyond these.
    """

    rows: tuple[tuple[str, str, str], ...]
    left_out: int = 0

    @property
    def same(self) -> bool:
        """Whether nothing is other."""
        return not self.rows

    def __repr__(self) -> str:
        """In lines."""
        if self.same:
            return "the same run"
        more = [f"and {self.left_out} more"] if self.left_out else []
        return "\n".join([*(f"{what}: {one} | {other}" for what, one, other in self.rows), *more])

    def _repr_html_(self) -> str:  # pyright: ignore[reportUnusedFunction] - a notebook calls it
        """As a table, for notebooks."""
        if self.same:
            return "<p>the same run</p>"
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        more = f"<p>and {self.left_out} more</p>" if self.left_out else ""
        return f"<table><tr><th>what</th><th>one</th><th>other</th></tr>{rows}</table>{more}"


def compare(one: tuple[Plan, Outcome], other: tuple[Plan, Outcome]) -> Comparison:
    """Say what is other, from the cause (the plan) to the consequences; of the traces the first event that differs."""
    (plan, outcome), (plan_, outcome_) = one, other
    rows: list[tuple[str, str, str]] = []

    def add(what: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            rows.append((what, _said(ours), _said(theirs)))

    for name in Plan.__struct_fields__:
        if name != "steps":
            add(f"plan, {name}", getattr(plan, name), getattr(plan_, name))
    steps, steps_ = ([f"{step.at_s:g} s {describe(step.operation)}" for step in each.steps] for each in (plan, plan_))
    rows += [("step", step, "-") for step in steps if step not in steps_]
    rows += [("step", "-", step) for step in steps_ if step not in steps]
    add("hash", outcome.hash, outcome_.hash)
    add("converged, s", outcome.converged_s, outcome_.converged_s)
    add("events", outcome.events, outcome_.events)
    for member in dict.fromkeys([*outcome.tables, *outcome_.tables]):
        table, table_ = outcome.tables.get(member, {}), outcome_.tables.get(member, {})
        for key in sorted(dict.fromkeys([*table, *table_])):
            ours, theirs = (t[key].data or "deleted" if key in t else "-" for t in (table, table_))
            add(f"{key} of {member} at the end", ours, theirs)
    fates, fates_ = ({(line.id, line.key): line.fate for line in each.ledger} for each in (outcome, outcome_))
    for number, key in sorted(dict.fromkeys([*fates, *fates_])):
        add(f"write #{number} of {key}", fates.get((number, key), "-"), fates_.get((number, key), "-"))
    if outcome.trace and outcome_.trace:
        parting = first_divergence(outcome.trace, outcome_.trace)
        if parting is not None:
            rows.append((f"event #{parting.seq}, the first", str(parting.one or "-"), str(parting.other or "-")))
    return Comparison(tuple(rows[:_LINES_MAX]), max(0, len(rows) - _LINES_MAX))


def _said(value: object) -> str:
    return value if isinstance(value, str) else "never" if value is None else msgspec.json.encode(value).decode()
