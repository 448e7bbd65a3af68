"""Small random histories for checkers: some are legal, most are not. Times are few and small, so that all collides.

Start at `evidence`.
"""

import random

from pivot.config import Knobs
from pivot.core.entry import Entry
from pivot.types import StoreId
from simulator.experiment.checkers.evidence import Evidence
from simulator.experiment.history import Kind, Record, final_stamps, ledger
from simulator.experiment.losses import Losses
from simulator.experiment.observer import Gauge, Observations, Reopening, Sighting
from simulator.experiment.outcome import LostUpdate, Outcome
from simulator.experiment.plan import Plan
from simulator.world.chance import START_NS
from simulator.world.network import NetworkStatistics

MEMBERS = ("leader", "n1")
KEYS = ("settings", "users/a")
CLIENTS = ("x", "y")
Table = dict[str, Entry]


def version(chance: random.Random, key: str = "") -> Entry:
    deleted = chance.random() < 0.3
    stamp = START_NS + chance.randint(1, 8)
    created = stamp if chance.random() < 0.8 else START_NS
    data = "" if deleted else str(chance.randint(0, 2))
    updated = 0 if created == stamp else stamp
    origin = StoreId(chance.choice(MEMBERS))
    prev = chance.choice((None, 0, START_NS + chance.randint(1, 8)))
    return Entry(key or chance.choice(KEYS), created, updated, data, deleted=deleted, prev=prev, origin=origin)


def table(chance: random.Random) -> Table:
    return {key: version(chance, key) for key in KEYS if chance.random() < 0.8}


def sighting(chance: random.Random, at_ns: int) -> Sighting:
    member = chance.choice(MEMBERS)
    withdrawn = chance.random() < 0.1
    return Sighting(at_ns, member, chance.choice((1, 1, 2)), StoreId(member), version(chance), withdrawn=withdrawn)


def reopening(chance: random.Random, at_ns: int) -> Reopening:
    had = table(chance)
    shown = {**had, **table(chance)}
    has = {key: entry for key, entry in had.items() if chance.random() < 0.6}
    has |= {key: version(chance, key) for key in KEYS if chance.random() < 0.2}
    excuse = chance.choice(("", "its disk lied"))
    return Reopening(at_ns, chance.choice(MEMBERS), had, shown, has, excuse)


def record(chance: random.Random, number: int, invoked_s: float) -> Record:
    kind: Kind = chance.choice(("write", "read", "read", "delete", "push"))
    target = chance.choice(KEYS)
    made = Record(
        id=number,
        member=chance.choice(MEMBERS),
        client=chance.choice(CLIENTS),
        kind=kind,
        target=target,
        value=None if kind == "delete" else chance.randint(0, 2),
        invoked_s=invoked_s,
    )
    match chance.choice(("ok", "ok", "ok", "ok", "ok", "info", "fail")):
        case "ok":
            made.outcome = "ok"
            made.answered_s = invoked_s + chance.randint(0, 4) / 1e9
            if kind == "read":
                made.saw = chance.choice((0, *(START_NS + number for number in range(1, 9))))
            else:
                keys = KEYS if kind == "delete" and chance.random() < 0.3 else (target,)
                made.changes = {key: START_NS + chance.randint(1, 8) for key in keys}
        case "fail":
            made.outcome = "fail"
            made.answered_s = invoked_s + chance.randint(0, 4) / 1e9
            made.code = chance.choice(("storage", "busy", "down", "?"))
            made.disk_failed = chance.choice(((0, 0), (0, 1)))
        case _:
            made.outcome = "info"
    return made


def losses(chance: random.Random) -> Losses:
    made = Losses()
    while chance.random() < 0.4:
        before = version(chance)
        others = [table(chance)] if chance.random() < 0.5 else []
        made.note_loss({before.key: before}, others)
    while chance.random() < 0.4:
        before, after = chance.randint(1, 8), chance.randint(1, 8)
        if before != after:
            made.note_reissue(chance.choice(KEYS), START_NS + before, START_NS + after)
    if chance.random() < 0.3:
        made.appeared[chance.choice(KEYS), START_NS + chance.randint(1, 8)] = None
    return made


def evidence(seed: int) -> Evidence:
    """A history of a few operations and sightings within some ns."""
    chance = random.Random(seed)
    few = chance.choice((2, 4, 8))  # some histories are short, or nothing in them would be legal
    plan = Plan(seed=0, nodes=1, safety_s=0.0, knobs=Knobs(mailbox_max=2, ahead_s_max=chance.choice((1e-8, 60.0))))
    at_ns = sorted(chance.randint(0, 12) for _ in range(few))
    invoked = sorted(chance.randint(0, 12) / 1e9 for _ in range(few))
    records = tuple(record(chance, number + 1, at_s) for number, at_s in enumerate(invoked))
    forgiven = losses(chance)
    tables = {member: table(chance) for member in MEMBERS if member == "leader" or chance.random() < 0.9}
    if chance.random() < 0.5:
        tables = dict.fromkeys(tables, tables["leader"])
    collected = {key: entry for key, entry in table(chance).items() if entry.deleted and key not in tables["leader"]}
    converged = None if chance.random() < 0.4 else 0.0
    silent_s = chance.choice((None, 10.0, 80.0))
    gauges = (Gauge("a mailbox", chance.randint(0, 3), 2),)
    outcome = Outcome(
        hash="",
        events=0,
        converged_s=converged,
        ended_s=chance.choice((1.0, 100.0)) if silent_s is None else silent_s,
        tables=tables,
        outboxes={member: chance.choice((0, 0, 1)) for member in MEMBERS},
        collected=collected,
        records=records,
        late=tuple(each for each in records if each.outcome == "info" and chance.random() < 0.2),
        ledger=tuple(ledger(records, final_stamps({**collected, **tables["leader"]}), forgiven)),
        observations=Observations(
            sightings=tuple(sighting(chance, each) for each in at_ns),
            reopenings=tuple(reopening(chance, chance.randint(0, 12)) for _ in range(chance.choice((0, 0, 1, 2)))),
            gauges=gauges,
            lowest_ns={member: -chance.choice((0, 0, 5)) for member in MEMBERS},
            upset_ns=chance.choice((None, 5, 10_000_000_000)),
            equal_s=chance.choice((None, 0.0, 0.5)),
            silent_s=silent_s,
            talk={"page": 1},
        ),
        losses=forgiven,
        conflicts=tuple(
            LostUpdate(chance.choice(MEMBERS), chance.choice(KEYS), START_NS + winner, START_NS + loser)
            for winner in range(1, 9)
            for loser in range(1, 9)
            if chance.random() < 0.3
        ),
        broken=tuple("bad" for _ in range(chance.choice((0, 0, 0, 1)))),
        crashes=tuple("bad" for _ in range(chance.choice((0, 0, 0, 1)))),
        reached={"tombstones collected": chance.choice((0, 0, 3))},
        leader="leader",
        potency={},
        settled=chance.random() < 0.8,
        network=NetworkStatistics(0, 0, 0, 0, 0, {"overflow": 1} if chance.random() < 0.2 else {}, 0, 0),
        trace=(),
    )
    return Evidence(plan, outcome)
