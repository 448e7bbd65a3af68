"""Outcome: what a played plan left behind; all that checkers, reports and figures look at.

Layer: simulator/experiment. Plain data. Start at `Outcome`.
"""

from typing import final

import msgspec

from pivot.core.entry import Entry
from simulator.experiment.history import LedgerLine, Record
from simulator.experiment.losses import Losses
from simulator.experiment.observer import Observations
from simulator.world.network import NetworkStatistics
from simulator.world.trace import TraceEvent


@final
class LostUpdate(msgspec.Struct, frozen=True):
    """A member reported that of two versions, whose writers had not seen each other, one was superseded.

    Attributes:
        member: where they met.
        key: which.
        winner: stamp of the one that is there now.
        loser: stamp of the other one.
    """

    member: str
    key: str
    winner: int
    loser: int


@final
class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a played plan left behind.

    Attributes:
        hash: rolling hash over everything that happened.
        events: how many events that were.
        converged_s: when all members were equal for good, and nothing was left to say; None = never.
        ended_s: virtual time at the end.
        tables: member -> key -> version at the end, tombstones included.
        outboxes: member -> how many of its versions its leader had not confirmed at the end.
        collected: key -> the deletion that its absence stands for; the tombstone was collected, in the leader's last
            life or in one that had to be forgotten since.
        records: what clients saw.
        late: operations that a member left without an answer although it ran.
        ledger: what became of every acknowledged write.
        observations: what was seen of each member from outside.
        losses: what ended with the only stores that held it, and what members wrote again.
        conflicts: lost updates, as members reported them.
        broken: what members said that only a bug makes them say.
        crashes: how our own code crashed.
        reached: how often what happened; a fault that touched nothing proves nothing.
        leader: who led at the end.
        potency: kind of fault that was played -> how much it has touched; all 0 = the run proves nothing.
        settled: whether members became equal in time at every `settle`.
        network: what the network did.
        trace: every event, when they were kept.
    """

    hash: str
    events: int
    converged_s: float | None
    ended_s: float
    tables: dict[str, dict[str, Entry]]
    outboxes: dict[str, int]
    collected: dict[str, Entry]
    records: tuple[Record, ...]
    late: tuple[Record, ...]
    ledger: tuple[LedgerLine, ...]
    observations: Observations
    losses: Losses
    conflicts: tuple[LostUpdate, ...]
    broken: tuple[str, ...]
    crashes: tuple[str, ...]
    reached: dict[str, int]
    leader: str
    potency: dict[str, int]
    settled: bool
    network: NetworkStatistics
    trace: tuple[TraceEvent, ...]
