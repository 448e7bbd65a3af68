"""Frame: the history of a run as a table of pandas, for those who have it.

Layer: simulator/experiment. Start at `frame`.
"""

from typing import TYPE_CHECKING

import msgspec

from simulator.errors import FigureError
from simulator.experiment.outcome import Outcome

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = ("client", "member", "kind", "target", "value", "invoked_s", "answered_s", "outcome", "fate", "by", "code")


def frame(outcome: Outcome) -> "DataFrame":
    """One row per operation; `fate` and `by` say what became of it, of a list of changes the first key's.

    Raises:
        FigureError: pandas is not installed.
    """
    try:
        from pandas import DataFrame  # noqa: PLC0415 - nobody needs it but for this
    except ImportError:
        raise FigureError("a table needs pandas: pip install pandas") from None
    fates = {line.id: line for line in reversed(outcome.ledger)}
    rows: list[list[object]] = []
    for record in outcome.records:
        line = fates.get(record.id)
        fields = msgspec.structs.asdict(record) | {"fate": line.fate if line else "", "by": line.by if line else 0}
        rows.append([fields[name] for name in _COLUMNS])
    ids = [record.id for record in outcome.records]
    return DataFrame(rows, columns=list(_COLUMNS), index=ids).rename_axis("id")
