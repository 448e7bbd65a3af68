"""Fan-out: what one write at a leader costs, depending on how many nodes follow it.

Layer: simulator/experiment. Start at `measure`. `python -m simulator.experiment.fanout 10 100 1000` prints what it
measures as JSON lines, which `load` reads.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import msgspec

from simulator.errors import FigureError
from simulator.experiment.observer import IDLE
from simulator.experiment.plan import LEADER, Plan
from simulator.experiment.simulation import Simulation
from simulator.experiment.verbs import write
from simulator.experiment.world import play

WRITES: Final = 10
_BEGIN_S, _GAP_S = 3.0, 0.5


@final
class Fanout(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        nodes: how many follow the leader.
        messages: per write: pages and acknowledgements, repeated ones included; heartbeats are apart.
        bytes: of these, per write.
        last_s: how long until the last node had a write, s, the mean of all writes; simulated links take 1 to 5 ms.
        idle: messages per second while nothing is written.
        hash: of the run.
    """

    nodes: int
    messages: float
    bytes: float
    last_s: float
    idle: float
    hash: str


def measure(nodes: int, *, seed: int = 0) -> Fanout:
    """Play a healthy cluster in the kernel, let a client write ten times, and count."""
    simulation = Simulation(nodes=nodes, seed=seed)
    for number in range(WRITES):
        simulation.at(_BEGIN_S + number * _GAP_S, write(LEADER, "settings", number))
    outcome = play(simulation.plan(until=_BEGIN_S + WRITES * _GAP_S), keep_trace=True)
    begin_ns = round(_BEGIN_S * 1e9)
    sent = [event for event in outcome.trace if event.kind == "sent"]
    busy = [event for event in sent if event.time_ns >= begin_ns and event.label not in IDLE]
    pages = dict.fromkeys(event.seq for event in busy if event.label == "page")
    arrived = [event for event in outcome.trace if event.kind == "delivered" and event.message in pages]
    last_s = 0.0
    for number in range(WRITES):
        at_ns = begin_ns + round(number * _GAP_S * 1e9)
        end_ns = at_ns + round(_GAP_S * 1e9)
        last_s += (max(event.time_ns for event in arrived if at_ns <= event.time_ns < end_ns) - at_ns) / 1e9
    acks = [event for event in sent if event.label == "ack" and event.time_ns >= begin_ns]
    idle = [event for event in sent if 1e9 <= event.time_ns < begin_ns]
    return Fanout(
        nodes=nodes,
        messages=round((len(busy) + len(acks)) / WRITES, 1),
        bytes=round(sum(event.size for event in (*busy, *acks)) / WRITES, 1),
        last_s=round(last_s / WRITES, 6),
        idle=round(len(idle) / (_BEGIN_S - 1.0), 1),
        hash=outcome.hash,
    )


def load(file: Path | str) -> list[Fanout]:
    """What was measured before.

    Raises:
        FigureError: it cannot be read.
    """
    try:
        return [msgspec.json.decode(line, type=Fanout) for line in Path(file).read_bytes().splitlines()]
    except (OSError, msgspec.DecodeError) as error:
        raise FigureError(f"{file} has no measured fan-out: {error}") from None


def main(arguments: Sequence[str]) -> None:
    """Measure for each number of nodes, and print a line for each."""
    for nodes in arguments:
        Plan(seed=0, nodes=int(nodes), safety_s=0.0)  # refuses a number that cannot be
        sys.stdout.write(msgspec.json.encode(measure(int(nodes))).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
