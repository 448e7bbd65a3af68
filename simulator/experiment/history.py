"""History: what clients saw, and what became of every acknowledged write.

Layer: simulator/experiment. The history is what a client outside can know: it invoked an operation, and it was answered
ok, refused (certainly not done) or not at all (unknown). The ledger says of each acknowledged write whether it won, was
superseded by rule (last write wins), ended with the only stores that held it, or was lost, which is a bug.
Start at `ledger`.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, final

import msgspec

from pivot.core.entry import Entry
from pivot.types import JsonValue
from simulator.experiment.losses import NO_LOSSES, Losses

Outcome: TypeAlias = Literal["ok", "fail", "info"]
"""ok = acknowledged; fail = certainly not done; info = unknown."""
Kind: TypeAlias = Literal["write", "push", "delete", "read"]
Fate: TypeAlias = Literal["won", "superseded", "gone", "lost"]


@final
class Record(msgspec.Struct, kw_only=True):
    """One operation of a client.

    Attributes:
        id: number of the operation, in order of invocation.
        member: whom the client asked.
        client: who asked; operations of one client are a session, those without a client are in none.
        kind: `write`, `push`, `delete` or `read`.
        target: the key or pattern it named.
        value: what was written, or what a read found; None for a delete, and where nothing was found.
        invoked_s: when, s.
        answered_s: when the answer came, s; None = there was none.
        outcome: what the client knows.
        changes: what was changed, when acknowledged: key -> stamp it was given, ns.
        saw: stamp of the version that a read found, ns; 0 = none was there.
        code: why it was not acknowledged, in a word: `down` = the member does not run, else see `Failed.code`.
        reason: likewise, for people.
        disk_failed: commits that its member's disk had refused when this was asked, and when it was answered.
    """

    id: int
    member: str
    client: str = ""
    kind: Kind
    target: str
    value: JsonValue
    invoked_s: float
    answered_s: float | None = None
    outcome: Outcome = "info"
    changes: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    saw: int = 0
    code: str = ""
    reason: str = ""
    disk_failed: tuple[int, int] = (0, 0)


class LedgerLine(msgspec.Struct, frozen=True):
    """What became of one acknowledged change of one key.

    Attributes:
        id: number of the operation.
        member: where it was acknowledged.
        kind: `write`, `push` or `delete`.
        key: which key.
        stamp: of the operation, ns.
        fate: see the module.
        by: number of the acknowledged operation that is there instead; 0 = none is known.
    """

    id: int
    member: str
    kind: str
    key: str
    stamp: int
    fate: Fate
    by: int


def ledger(
    records: Iterable[Record], final_stamps: Mapping[str, tuple[int, bool]], losses: Losses = NO_LOSSES
) -> list[LedgerLine]:
    """Account for every acknowledged write.

    Args:
        records: the history.
        final_stamps: key -> (stamp, deleted) of what is there at the end, tombstones included.
        losses: what ended with the only stores that held it, and what members wrote again.

    Returns:
        One line per acknowledged operation and key, in order of operations.
    """
    acknowledged = [record for record in records if record.outcome == "ok"]
    owners = {change: record.id for record in acknowledged for change in record.changes.items()}
    names = {key: losses.names(key, stamp) for key, (stamp, _) in final_stamps.items()}
    lines: list[LedgerLine] = []
    for record in acknowledged:
        for key, written in record.changes.items():
            stamp, deleted = final_stamps.get(key, (0, False))
            fate: Fate
            if written in names.get(key, ()) and deleted == (record.kind == "delete"):
                fate = "won"
            elif losses.covers(key, stamp, written):  # of equal stamps the greater version won
                fate = "superseded"
            else:
                fate = "gone" if losses.gone(key, written) else "lost"
            by = 0
            if fate == "superseded":
                by = next((owners[key, name] for name in names.get(key, ()) if (key, name) in owners), 0)
            lines.append(LedgerLine(record.id, record.member, record.kind, key, written, fate, by))
    return lines


def final_stamps(table: Mapping[str, Entry]) -> dict[str, tuple[int, bool]]:
    """Key -> (stamp, deleted) of a table."""
    return {key: (entry.stamp, entry.deleted) for key, entry in table.items()}
