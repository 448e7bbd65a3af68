"""Catalogue: every mutant, which guarantee or rule it breaks, who must see it, and which faults that takes.

Layer: simulator/experiment/mutants. Start at `RING`.
"""

from typing import Final

from simulator.experiment.mutants import ring
from simulator.experiment.mutants.mutant import Mutant

RING: Final = (
    Mutant(
        plant=ring.tie_by_arrival,
        breaks="G1",
        checkers=("last write wins", "replica monotonicity", "broken", "convergence"),
    ),
    Mutant(plant=ring.echo_loop, breaks="G1", checkers=("outbox", "convergence", "quiescence")),
    Mutant(
        plant=ring.blind_overwrite,
        breaks="G2",
        checkers=("replica monotonicity", "lost write", "last write wins", "resurrection"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=ring.delete_always_wins,
        breaks="G2",
        checkers=("replica monotonicity", "lost write", "broken", "convergence"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=ring.update_beats_tombstone,
        breaks="G3",
        checkers=("resurrection", "broken", "convergence"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=ring.wall_clock_only,
        breaks="G5",
        checkers=("monotonic writes", "writes follow reads", "replica monotonicity", "lost write", "resurrection"),
        nemeses=("skew",),
    ),
    Mutant(plant=ring.leader_restamps, breaks="G1", checkers=("invented", "last write wins", "lost write")),
    Mutant(
        plant=ring.tombstone_dropped,
        breaks="G3",
        checkers=("resurrection", "broken", "convergence"),
        nemeses=("partition",),
    ),
    Mutant(
        plant=ring.tombstone_gc_early,
        breaks="R1",
        checkers=("resurrection", "broken", "convergence"),
        nemeses=("partition", "collect"),
    ),
    Mutant(
        plant=ring.pull_deletes_missing,
        breaks="G2",
        checkers=("lost write", "replica monotonicity", "durability", "broken"),
        nemeses=("wipe", "crash"),
    ),
    Mutant(
        plant=ring.ack_before_fsync,
        breaks="G2",
        checkers=("durability", "lost write", "resurrection"),
        nemeses=("crash",),
    ),
    Mutant(
        plant=ring.fsync_every_n, breaks="G2", checkers=("durability", "lost write", "resurrection"), nemeses=("crash",)
    ),
    Mutant(
        plant=ring.outbox_not_persisted, breaks="G2", checkers=("broken", "convergence"), nemeses=("crash", "partition")
    ),
    Mutant(
        plant=ring.log_truncated_without_epoch,
        breaks="G1",
        checkers=("convergence", "broken", "lost write"),
        nemeses=("crash",),
    ),
    Mutant(plant=ring.ack_clears_all, breaks="G2", checkers=("convergence", "broken", "lost write")),
    Mutant(
        plant=ring.cursor_past_failed_entry, breaks="G6", checkers=("broken", "convergence"), nemeses=("partition",)
    ),
    Mutant(plant=ring.originator_filter_forever, breaks="G1", checkers=("broken", "convergence"), nemeses=("crash",)),
    Mutant(plant=ring.poke_one_shot, breaks="G1", checkers=("outbox", "convergence"), nemeses=("weather",)),
    Mutant(plant=ring.health_never_rechecks, breaks="G1", checkers=("convergence", "outbox"), nemeses=("partition",)),
)
"""The first ring."""
