"""Schedules: adversaries that draw what happens next from a seeded generator, so that a failing one can be repeated.

A schedule has a temper of its own: how often things are lost, how many writes there are, whether machines stop, whether
disks fail, whether wall clocks jump by an hour. Start at `play`.
"""

from random import Random
from typing import Final

from pivot.core.questions import PushItem, Put, Question, Remove
from tests.core.harness import Cluster
from tests.core.host import KNOBS, LEADER, registration
from tests.core.world import read

KEYS: Final = ("users/a", "users/b", "users/c", "settings")
ACTORS: Final = ("storage", "health", "")
HELD: Final = (b'"push_ack"', b'"page"', b'"push"', b'"reset"', b'"ack"', b'"glimpse"')
SKEW_NS_MAX: Final = 20 * 10**9
"""A third of what members tolerate, so that no two clocks are too far apart."""
HOUR_NS: Final = 3600 * 10**9
"""Far more than members tolerate."""


def play(seed: int, *, steps: int = 250) -> Cluster:
    """Play one schedule to its end, healed; raises `Violation` when the cluster breaks a promise."""
    rng = Random(seed)
    cluster = Cluster(rng.randint(1, 3))
    names = tuple(cluster.hosts)
    harms = rng.choice((0, 1, 2))  # 0: no machine stops and no disk fails, only the network loses
    echo = rng.choice((0.0, 0.2, 0.5))  # how often an envelope comes once more
    haste = rng.choice((4, 10, 20))  # how much is delivered for each write
    loss = rng.choice((0.0, 0.1, 0.4))
    order = rng.choice(("old", "any", "new"))  # which envelope mostly comes next; "new" leaves old ones under way
    held = rng.choice((b"", *HELD))  # a kind of message that is mostly kept under way
    if rng.random() < 0.7:
        cluster.heal()  # begin connected
    if rng.random() < 0.7:
        cluster.confirm_followers()  # from now on tombstones are collected
    if rng.random() < 0.6:  # nodes know each other, and read from each other when their leader is away
        for number in range(len(names) - 1):
            cluster.ask(LEADER, Put(*registration(number)))
    cuts = rng.choice((0.0, 0.0, 0.02, 0.05, 0.1))  # how often a node loses its leader, or finds it again
    lost: dict[str, None] = {}
    jumps = rng.random() < 0.4  # whether wall clocks jump by an hour, and back
    copying = rng.random() < 0.4  # whether older disks are put back
    batching = rng.choice((0.0, 0.5, 0.9))  # how often work waits, so that batches grow
    for _ in range(steps):
        name = rng.choice(names)
        match rng.choices(("ask", "flow", "work", "wait", "harm"), (6, haste, 4, 2, harms))[0]:
            case "ask":
                cluster.ask(name, draw_question(rng))
            case "flow":
                place = pick(cluster, rng, order)
                if place is not None and apart(cluster.bag.lines[place], lost):
                    cluster.drop(place)
                elif place is not None and not (held and held in cluster.bag.lines[place] and rng.random() < 0.8):
                    flow(cluster, rng, place, loss, echo)
            case "work":
                cluster.work(name, rng.choice((*ACTORS, cluster.hosts[name].role)))
            case "wait":
                cluster.wait(rng.choice((0.1, 0.1, 0.6, 0.6, 1.1, 2.1)))
            case _:
                harm(cluster, rng, name, jumps=jumps, copying=copying)
        if rng.random() < cuts:
            if name in lost:
                del lost[name]
            else:
                lost[name] = None
                for each in names[1:]:
                    if name in (each, LEADER) and rng.random() < 0.7:
                        cluster.hint(each, LEADER)
        if rng.random() >= batching:
            for each in names:
                cluster.work(each)
        cluster.check()
    cluster.heal()
    return cluster


def draw_question(rng: Random) -> Question:
    """A write; few different values, so that equal ones meet."""
    key = rng.choice(KEYS)
    match rng.choices(("put", "remove", "clear", "push"), (8, 3, 1, 1))[0]:
        case "put":
            return Put(key, str(rng.randint(1, 3)))
        case "remove":
            return Remove(key)
        case "clear":
            return Remove("users/*")
        case _:
            return PushItem("users/*", "0")


def pick(cluster: Cluster, rng: Random, order: str) -> int | None:
    """Which envelope is next."""
    count = len(cluster.bag.lines)
    if not count:
        return None
    if order == "any" or rng.random() < 0.3:
        return rng.randrange(count)
    return 0 if order == "old" else rng.randrange(max(0, count - 4), count)


def apart(line: bytes, lost: dict[str, None]) -> bool:
    """Whether an envelope is between the leader and a node that has lost it."""
    envelope = read(line)
    ends = (envelope.sender, envelope.target)
    return LEADER in ends and any(end in lost for end in ends)


def flow(cluster: Cluster, rng: Random, place: int, loss: float, echo: float) -> None:
    """One envelope arrives, arrives now and again later, or is lost."""
    if rng.random() < loss:
        cluster.drop(place)
    else:
        cluster.deliver(place, again=rng.random() < echo)


def harm(cluster: Cluster, rng: Random, name: str, *, jumps: bool, copying: bool) -> None:
    """Something breaks at a member."""
    host = cluster.hosts[name]
    match rng.randrange(22 if copying else 12):
        case 0:
            cluster.crash(name, wiped=False)
        case 1:
            cluster.crash(name, wiped=True)
        case 2:
            host.disk.failing = rng.randint(1, 3)
        case 3:
            host.disk.dying = rng.choice(("before", "after"))
        case 4:
            cluster.revive(name, rng.choice(("health", host.role)))
        case 5:
            cluster.work(name, rng.choice(("storage", host.role)), stop_after=rng.randint(0, 3))
        case 6 | 7:
            cluster.expire(rng.randrange(8))
        case 8:
            cluster.hint(name, rng.choice(tuple(cluster.hosts)) if host.leads else LEADER)
        case 9:
            cluster.confirm_followers()
        case 10:
            cluster.wait(KNOBS.member_ttl_s)
        case 11:
            hours = rng.choice((-1, 0, 0, 1)) if jumps else 0
            host.skew_ns = hours * HOUR_NS + rng.randint(-SKEW_NS_MAX, SKEW_NS_MAX)
        case number:
            who = LEADER if rng.random() < 0.7 else name
            if number % 2:
                cluster.copy(who)
            else:
                cluster.put_back(who)
