"""The scenarios that the original gets wrong, as plans; played in the simulator and, where possible, over HTTP.

Each says what must be there at the end: key -> value, and how many pushed entries.
"""

from dataclasses import dataclass, field
from typing import Any

from pivot.config import Knobs
from pivot.types import JsonValue
from simulator import (
    Plan,
    crash,
    delete,
    heal,
    isolate,
    pause,
    push,
    read,
    restart,
    resume,
    settle,
    skew,
    write,
)
from simulator.experiment.operations import Operation
from simulator.experiment.plan import Step

K = 20
DEFAULTS = Knobs()
CLIENTS = 8


@dataclass(frozen=True)
class Story:
    """One scenario.

    Attributes:
        steps: what happens.
        expected: key -> value at the end, of keys with a name; None = absent.
        pushed: how many entries were pushed; all must be there.
        nodes: how many nodes take part.
        reads: what its reads must find, in order; None = nothing.
        knobs: timings, where the defaults would make a test wait.
    """

    steps: list[tuple[float, Operation]]
    expected: dict[str, JsonValue] = field(default_factory=dict)
    pushed: int = 0
    nodes: int = 2
    reads: tuple[JsonValue, ...] = ()
    knobs: Knobs = DEFAULTS

    def plan(self, seed: int, **fields: Any) -> Plan:
        steps = tuple(Step(at_s, operation) for at_s, operation in self.steps)
        last = max(step.at_s for step in steps)
        return Plan(seed=seed, nodes=self.nodes, steps=steps, knobs=self.knobs, safety_s=last + 1, **fields)


def pushes(member: str, begin_s: float, count: int = K, gap_s: float = 0.02) -> list[tuple[float, Operation]]:
    return [(begin_s + number * gap_s, push(member, "users/*", {"by": member, "n": number})) for number in range(count)]


STORIES: dict[str, Story] = {
    "S0": Story([*pushes("leader", 0.5, 40), *pushes("n1", 0.5, 40), *pushes("n2", 0.5, 40)], pushed=120),
    "S1": Story([(0.5, isolate("n1")), *pushes("n1", 1.0), (3.0, heal())], pushed=K),
    "S2": Story(
        [(0.5, isolate("n1")), *pushes("n1", 1.0), (2.8, write("leader", "users/last", 1)), (3.0, heal())],
        {"users/last": 1},
        pushed=K,
    ),
    "S3": Story([(0.5, isolate("n1")), *pushes("n1", 1.0), *pushes("leader", 2.0), (3.0, heal())], pushed=2 * K),
    "S4": Story([(0.5, isolate("n1")), *pushes("leader", 1.0), *pushes("n1", 2.0), (3.0, heal())], pushed=2 * K),
    "S5": Story(
        [
            (0.5, write("leader", "settings", "old")),
            (1.5, isolate("n1")),
            (2.0, write("leader", "settings", "leader's")),
            (2.5, write("n1", "settings", "node's, later")),
            (3.0, heal()),
        ],
        {"settings": "node's, later"},
    ),
    "S6": Story(
        [
            (0.5, isolate("n1")),
            (1.0, write("n1", "users/new", "node's")),
            (1.5, write("leader", "users/new", "leader's, later")),
            (3.0, heal()),
        ],
        {"users/new": "leader's, later"},
    ),
    "S7": Story(
        [
            (0.5, write("leader", "settings", "old")),
            (0.6, write("leader", "users/kept", "old")),
            (1.0, settle()),
            (1.5, isolate("n1")),
            (2.0, delete("leader", "settings")),
            (2.1, delete("n1", "users/kept")),
            (2.5, write("n1", "settings", "node's, later")),
            (2.6, write("leader", "users/kept", "leader's, later")),
            (3.0, heal()),
        ],
        {"settings": "node's, later", "users/kept": "leader's, later"},
    ),
    "S8": Story(
        [
            (0.5, write("leader", "users/gone", "here")),
            (1.0, settle()),  # in any weather
            (1.5, isolate("n1")),
            (2.0, delete("n1", "users/gone")),
            (2.5, write("leader", "users/other", 1)),
            (3.0, heal()),
        ],
        {"users/gone": None, "users/other": 1},
    ),
    "S9": Story(
        [
            (0.5, write("leader", "settings", "old")),
            (0.6, write("leader", "users/gone", "old")),
            (1.0, settle()),
            (1.5, isolate("n1")),
            (2.0, write("n1", "settings", "updated while cut off")),
            (2.1, delete("n1", "users/gone")),
            (3.0, heal()),
        ],
        {"settings": "updated while cut off", "users/gone": None},
    ),
    "S10": Story(
        [(0.5, isolate("n1")), (0.5, isolate("n2")), *pushes("n1", 1.0), *pushes("n2", 1.0), (3.0, heal())],
        pushed=2 * K,
    ),
    "S11": Story(
        [
            *pushes("leader", 0.5),
            (1.5, write("n1", "settings", "kept")),
            (2.0, settle()),  # what the leader alone has dies with it
            (2.5, crash("leader")),
            (3.5, restart("leader")),
            (3.6, write("leader", "users/first", 1)),
        ],
        {"settings": "kept", "users/first": 1},
        pushed=K,
    ),
    "S12": Story(
        [*pushes("leader", 0.5), (1.0, settle()), (1.5, crash("n1")), (2.0, restart("n1")), (2.5, settle())],
        pushed=K,
    ),
    "S13": Story(
        [
            *pushes("leader", 0.5),
            (1.0, settle()),
            (1.5, isolate("leader")),
            (2.0, crash("n1")),
            (2.5, restart("n1")),
            (3.0, write("n1", "users/once", "while the leader was away")),
            (3.5, heal()),
        ],
        {"users/once": "while the leader was away"},
        pushed=K,
    ),
    "S14": Story(
        [
            (0.5, write("leader", "settings", "before")),
            (1.0, settle()),
            (1.5, pause("leader")),
            (2.0, read("n1", "settings")),
            (2.1, write("n1", "settings", "while the leader hung")),
            *pushes("n1", 2.2),
            (3.0, read("n1", "settings")),
            *pushes("n2", 3.1),
            (6.0, resume("leader")),
        ],
        {"settings": "while the leader hung"},
        pushed=2 * K,
        reads=("before", "while the leader hung"),
    ),
    "S15": Story(
        [
            (0.5, write("leader", "settings", "old")),
            (1.0, settle()),
            (1.5, skew("n1", 3600)),
            (2.0, write("n1", "users/own", "an hour ahead")),
            (2.2, write("n1", "settings", "an hour ahead")),
            (2.4, write("leader", "users/leader", "on time")),
            (2.6, write("n2", "users/other", "on time")),
            (2.8, write("leader", "settings", "on time")),  # n1's own conflict: its write comes later than this
            (6.0, read("n1", "users/leader")),
            (6.1, read("n1", "users/other")),
            (6.2, read("n2", "users/leader")),
            (6.3, read("n2", "settings")),
            (6.4, read("leader", "users/own")),
            (6.5, read("leader", "settings")),
            (6.6, write("n1", "users/leader", "n1 has seen it")),
            (7.0, skew("n1", 0)),
        ],
        {
            "users/own": "an hour ahead",
            "settings": "an hour ahead",
            "users/leader": "n1 has seen it",
            "users/other": "on time",
        },
        reads=("on time", "on time", "on time", "on time", None, "on time"),
        knobs=Knobs(reoffer_s=2.0),
    ),
    "S16": Story(
        [
            (0.2, skew("n1", -3600)),
            (0.5, write("n1", "users/slow", "an hour behind")),
            *pushes("n1", 0.6),
            (1.5, write("leader", "settings", "on time")),
            (2.0, settle()),
            (2.2, read("n2", "users/slow")),
            (2.3, write("n1", "settings", "after it had seen the leader's")),
            (2.4, settle()),
            (2.6, read("leader", "settings")),
            (2.7, read("n2", "settings")),
            (2.8, isolate("n1")),
            (2.9, write("n2", "users/slow", "on time")),
            (3.0, write("n1", "users/slow", "later, and stamped earlier: n1's own conflict")),
            (3.5, heal()),
        ],
        {"users/slow": "on time", "settings": "after it had seen the leader's"},
        pushed=K,
        reads=("an hour behind", "after it had seen the leader's", "after it had seen the leader's"),
    ),
    "S17": Story(
        [
            (0.5, isolate("n1")),
            (1.0, write("n1", "settings", "older, arrives late")),
            (2.0, write("leader", "settings", "newer")),
            (3.0, heal()),
        ],
        {"settings": "newer"},
    ),
    "S18": Story(
        [
            (0.5, write("leader", "settings", "healthy")),
            (1.0, settle()),
            (1.5, isolate("n1")),
            (4.5, heal()),
        ],
        {"settings": "healthy"},
    ),
    "S19": Story(
        [
            (0.5, write("leader", "users/seen", "old")),
            (1.0, settle()),
            (1.5, isolate("n1")),
            (2.0, write("leader", "users/unseen-1", 1)),
            (2.1, write("n2", "users/unseen-2", 2)),
            (2.5, delete("n1", "users/*")),
            (3.0, heal()),
        ],
        {"users/seen": None, "users/unseen-1": 1, "users/unseen-2": 2},
    ),
    "S20": Story(
        [step for client in range(CLIENTS) for step in pushes("n1", 0.5 + client * 0.001, 25, 0.04)],
        pushed=CLIENTS * 25,
    ),
}
