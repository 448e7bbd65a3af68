"""Hybrid logical clock: the one order in which the cluster compares writes.

Layer: core (pure). Never reads a clock: callers pass the wall time in. One int64 and no bit fields: the logical part
is the low nanoseconds, so stamps look like wall time to people and to foreign peers.
Start at `HybridClock.tick` (our write) or `HybridClock.observe` (a peer's write).
"""

from dataclasses import dataclass
from typing import final

from pivot.errors import ClockAheadError

STAMP_MAX = 2**63 - 1
"""Greatest stamp an entry may carry: int64, ns since the Unix epoch."""


@final
@dataclass(slots=True, kw_only=True)
class HybridClock:
    """Issues timestamps that never repeat and never go back, even when wall time does.

    Attributes:
        last: highest timestamp issued or observed, ns since the Unix epoch; after a restart, the highest in the store.
        ahead_ns_max: how far (ns) a peer's timestamp may lead our wall clock.
    """

    last: int = 0
    ahead_ns_max: int

    def tick(self, *, wall_ns: int, above: int = 0) -> int:
        """Return the stamp of a write made here: later than every stamp before it, and later than `above`.

        `above` is the version that is overwritten. When it lies in the far future it lifts this one stamp only, not the
        clock: one key with a wrong clock must not drag every later write along.
        """
        self.last = max(wall_ns, self.last + 1)
        return max(self.last, above + 1)

    def observe(self, remote: int, *, wall_ns: int) -> None:
        """Make our next write later than a peer's.

        Raises:
            ClockAheadError: `remote` leads both `wall_ns` and our own clock by more than `ahead_ns_max`; nothing
                changed.
        """
        if remote > max(wall_ns, self.last) + self.ahead_ns_max:
            raise ClockAheadError(stamp=remote, wall_ns=wall_ns, ahead_ns_max=self.ahead_ns_max)
        self.last = max(self.last, remote)
