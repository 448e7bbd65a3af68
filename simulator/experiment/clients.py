"""Clients: they ask members, and note what they were told and when.

Layer: simulator/experiment. Start at `Clients.ask`.
"""

from functools import partial
from typing import Final, assert_never, final

import msgspec

from pivot.core.entry import canonical
from pivot.core.questions import Entries, Failed, Get, PushItem, Put, Question, Remove, Result, Written
from simulator.experiment.history import Kind, Record
from simulator.experiment.host import Host
from simulator.experiment.operations import Delete, Push, Read, Workload, Write
from simulator.world.heap import EventHeap
from simulator.world.trace import Trace

PATIENCE_NS: Final = 1_000_000_000
"""How long a member that runs may take to answer, beside its disk: 1 s."""


@final
class Clients:
    """All clients of one run.

    Attributes:
        records: the history.
        late: operations that a member left without an answer although it ran all the time.
        excused_ns: how much longer answers may take, all in all, because events were postponed.
    """

    def __init__(self, heap: EventHeap, trace: Trace, *, patience_ns: int) -> None:
        """Begin with an empty history.

        Args:
            heap: virtual time.
            trace: where asking and answers are noted.
            patience_ns: how long a member may take to answer.
        """
        self.records: list[Record] = []
        self.late: list[Record] = []
        self.excused_ns = 0
        self._heap = heap
        self._trace = trace
        self._patience_ns = patience_ns

    def ask(self, host: Host, operation: Workload) -> None:
        """Let a client ask a member."""
        question, kind, target = _question(operation)
        now_ns = self._heap.now_ns
        record = Record(
            id=len(self.records) + 1,
            member=operation.member,
            client=operation.client or operation.member,
            kind=kind,
            target=target,
            value=operation.value if isinstance(operation, Write | Push) else None,
            invoked_s=now_ns / 1e9,
        )
        self.records.append(record)
        self._trace.record(now_ns, "op", operation.member, label=kind, why="invoke", payload=target.encode())
        if host.member is None:
            record.outcome, record.code, record.reason = "fail", "down", f"{operation.member} does not run"
            return
        failed = host.disk_statistics().failed
        record.disk_failed = (failed, failed)
        if host.running and not host.pulse.burdened:
            look = partial(self._look, record, host, host.lives, host.pulse.stops, 0)
            self._heap.post_at(now_ns + self._patience_ns, look)
        host.member.ask(question, partial(self._answered, record, host))

    def _answered(self, record: Record, host: Host, result: Result) -> None:
        record.answered_s = self._heap.now_ns / 1e9
        match result:
            case Written():
                record.outcome = "ok"
                record.changes = dict(zip(result.keys, result.stamps, strict=True))
            case Entries():
                record.outcome = "ok"
                entry = result.entries[0] if result.entries else None
                record.value = None if entry is None else msgspec.json.decode(entry.data)
                record.saw = 0 if entry is None else entry.stamp
            case Failed():
                record.outcome = "info" if result.code == "stopped" else "fail"
                record.code, record.reason = result.code, result.reason
                record.disk_failed = (record.disk_failed[0], host.disk_statistics().failed)
            case _:
                raise AssertionError(f"a client was answered with {result!r}")
        payload = msgspec.json.encode(record.value if record.kind == "read" else record.changes)
        self._trace.record(
            self._heap.now_ns, "op", record.member, label=record.kind, why=record.outcome, payload=payload
        )

    def _look(self, record: Record, host: Host, life: int, stops: int, excused_ns: int) -> None:
        if excused_ns < self.excused_ns and record.answered_s is None:
            look = partial(self._look, record, host, life, stops, self.excused_ns)
            self._heap.post_at(self._heap.now_ns + self.excused_ns - excused_ns, look)
            return
        ran = host.member is not None and host.lives == life and host.pulse.stops == stops and not host.pulse.burdened
        if ran and record.answered_s is None:
            self.late.append(record)


def _question(operation: Workload) -> tuple[Question, Kind, str]:
    match operation:
        case Write():
            return Put(operation.key, canonical(msgspec.json.encode(operation.value))), "write", operation.key
        case Push():
            return (
                PushItem(operation.pattern, canonical(msgspec.json.encode(operation.value))),
                "push",
                operation.pattern,
            )
        case Delete():
            return Remove(operation.pattern), "delete", operation.pattern
        case Read():
            return Get(operation.key), "read", operation.key
        case _:
            assert_never(operation)
