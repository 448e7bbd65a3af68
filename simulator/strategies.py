"""Strategies: plans for Hypothesis, which makes those that fail smaller by itself.

Layer: simulator (edge). Needs the package hypothesis. `Plan.draw` makes up plans with every fault there is, from a seed
and faster; these have fewer kinds, and every part of them can be left out. Start at `plans`.
"""

from collections.abc import Sequence

from hypothesis import strategies as st

from simulator.experiment.operations import Crash, Delete, Heal, Isolate, Operation, Partition, Push, Read, Skew, Write
from simulator.experiment.plan import LEADER, Durability, Plan, Step
from simulator.world.link import How

_TENTH = 0.1
_LENGTHS = st.sampled_from((0.5, 1.0, 3.0, 8.0))


def plans(
    *,
    nodes: st.SearchStrategy[int] | None = None,
    keys: tuple[str, ...] = ("settings", "users/*"),
    faults: bool = True,
    steps_max: int = 20,
    safety_s: float = 20.0,
) -> st.SearchStrategy[Plan]:
    """Plans of clients, and of faults unless told otherwise.

    Args:
        nodes: how many nodes; None = 1 to 3.
        keys: collections: clients name these, and `a`, `b`, `c` in the place of a `*`.
        faults: whether links are cut, members crash and clocks are wrong.
        steps_max: most steps of a plan.
        safety_s: when faults end, s.
    """

    def of(count: int) -> st.SearchStrategy[Plan]:
        members = (LEADER, *(f"n{number}" for number in range(1, count + 1)))
        kinds = [operations(members, keys=keys), *([cuts(members), accidents(members)] if faults else [])]
        times = st.integers(0, round(safety_s / _TENTH)).map(lambda tenths: round(tenths * _TENTH, 1))
        steps = st.lists(st.builds(Step, times, st.one_of(kinds)), max_size=steps_max)
        return st.builds(
            Plan,
            seed=st.integers(0, 2**31 - 1),
            nodes=st.just(count),
            keys=st.just(keys),
            durability=durabilities(),
            steps=steps.map(lambda some: tuple(sorted(some, key=lambda step: step.at_s))),
            safety_s=st.just(safety_s),
        )

    return (st.integers(1, 3) if nodes is None else nodes).flatmap(of)


def durabilities() -> st.SearchStrategy[Durability]:
    """What members keep when they crash."""
    return st.sampled_from(("memory", "normal", "full"))


def operations(
    members: Sequence[str], *, keys: tuple[str, ...] = ("settings", "users/*")
) -> st.SearchStrategy[Operation]:
    """What clients do at these members."""
    member = st.sampled_from(list(members))
    key = st.sampled_from([key.replace("*", name) for key in keys for name in ("abc" if "*" in key else "a")])
    value = st.integers(0, 9)
    kinds: list[st.SearchStrategy[Operation]] = [
        st.builds(Write, member, key, value),
        st.builds(Delete, member, key),
        st.builds(Read, member, key),
    ]
    globs = [path for path in keys if path.endswith("/*")]
    if globs:
        kinds.append(st.builds(Push, member, st.sampled_from(globs), value))
    return st.one_of(kinds)


def cuts(members: Sequence[str]) -> st.SearchStrategy[Operation]:
    """Cut links among these members, which heal by themselves or when something heals them."""
    group = st.lists(st.sampled_from(list(members)), min_size=1, max_size=len(members) - 1, unique=True)
    how: st.SearchStrategy[How] = st.sampled_from(("drop", "hold", "reset"))

    def split(some: list[str], for_s: float, how: How) -> Partition:
        rest = tuple(member for member in members if member not in some)
        return Partition((tuple(sorted(some)), rest), for_s=for_s, how=how)

    return st.one_of(
        st.builds(Isolate, st.sampled_from(list(members)), for_s=_LENGTHS, how=how),
        st.builds(split, group, _LENGTHS, how),
        st.builds(Heal),
    )


def accidents(members: Sequence[str]) -> st.SearchStrategy[Operation]:
    """Crashes of these members, and wall clocks that are wrong for a while."""
    member = st.sampled_from(list(members))
    ahead_s = st.sampled_from((-3600.0, -5.0, 0.5, 30.0, 3600.0))
    return st.one_of(
        st.builds(Crash, member, for_s=_LENGTHS),
        st.builds(Skew, member, ahead_s, for_s=_LENGTHS),
    )
