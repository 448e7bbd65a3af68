"""Status as a person wants to see it: who this is, whom it knows, what it holds.

Layer: edge.
"""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pivot.printing import Out
from pivot.types import JsonValue


def show_status(status: dict[str, JsonValue], url: str) -> None:
    """Print what `Client.status` returned."""
    out = Out()
    role = "leads" if status.get("role") == "pivot" else f"follows {status.get('pivotIP')}"
    out.print(f"{url}: member {status.get('member')} {role}; durability {status.get('durability')}", markup=False)
    if status.get("last_error"):
        out.print(f"last error: {status['last_error']}", markup=False)
    _table(out, "collections", status.get("collections"), ("path", "entries", "tombstones", "head", "cursor", "outbox"))
    _table(out, "peers", status.get("peers"), ("address", "role", "healthy", "reason"))


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
    inner = (value for value in row.values() if isinstance(value, dict) and column in value)
    return row[column] if column in row else next(inner, {}).get(column, "")


def _cell(column: str, value: JsonValue) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case "" if column == "path":
            return "(not replicated)"
        case _:
            return escape(str(value))
