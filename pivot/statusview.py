"""Status as a person wants to see it: who this is, whom it knows, what it holds.

Layer: edge.
"""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pivot.client import FollowerInfo
from pivot.printing import Out
from pivot.types import JsonValue


def show_status(status: dict[str, JsonValue], url: str) -> None:
    """Print what `Client.status` returned."""
    out = Out()
    role = "leads" if status.get("role") == "pivot" else f"follows {status.get('pivotIP')}"
    out.print(f"{url}: member {status.get('member')} {role}; durability {status.get('durability')}", markup=False)
    if status.get("last_error"):
        out.print(f"last error: {status['last_error']}", markup=False)
    if status.get("readingFrom"):
        out.print(f"leader away, reading from {', '.join(map(str, _list(status['readingFrom'])))}", markup=False)
    _table(out, "collections", status.get("collections"), ("path", "entries", "tombstones", "head", "cursor", "outbox"))
    _table(out, "peers", status.get("peers"), ("address", "role", "healthy", "reason"))


def show_followers(followers: Sequence[FollowerInfo]) -> None:
    """Print what `Client.followers` returned."""
    out = Out()
    rows: JsonValue = [{name: getattr(each, name) for name in each.__struct_fields__} for each in followers]
    _table(out, "followers", rows, FollowerInfo.__struct_fields__)
    if not followers:
        out.print("nobody is known to follow")


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _table(out: Console, title: str, rows: JsonValue, columns: tuple[str, ...]) -> None:
    if not isinstance(rows, list) or not rows:
        return
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column)
    for row in rows:
        if isinstance(row, dict):
            table.add_row(*(_cell(column, _find(row, column)) for column in columns))
    out.print(table)


def _find(row: dict[str, JsonValue], column: str) -> JsonValue:
    """A column of a row, or of an object within it."""
    if column in row:
        return row[column]
    inner = [value[column] for value in row.values() if isinstance(value, dict) and column in value]
    return inner[0] if inner else ""


def _cell(column: str, value: JsonValue) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case "" if column == "path":
            return "(not replicated)"
        case _:
            return escape(str(value))
