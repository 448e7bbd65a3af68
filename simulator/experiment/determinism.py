"""Determinism: whether a run depends on its plan alone, and if not, on which line something else gets in.

Layer: simulator/experiment. Every seed is played twice in one fresh process, and once in others under other hash seeds
and with noise on the heap; a fresh process plays a block of seeds. All hashes must be equal. Of a seed that differs two
runs are watched, under the circumstances under which it differed, and compared. Start at `check`.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, final

import msgspec

from simulator.experiment.fresh import Circumstances, ask_hashes, ask_to_watch
from simulator.experiment.trial import Task
from simulator.experiment.witness import Place, Testimony, first_difference
from simulator.world.divergence import first_divergence

BLOCK: Final = 50
PLAIN: Final = Circumstances(hash_seed=0, noise=0)
OTHERS: Final = (Circumstances(hash_seed=1, noise=1), Circumstances(hash_seed=4242, noise=2))
AGAIN: Final = "when it is run again in the same process"
_WATCHES_MAX: Final = 3
"""How often a difference is looked for that shows up by chance only."""
_EXPLAINED_MAX: Final = 3
_FIRST_LOOK: Final = 50
"""Events that are watched before it is known where two runs part: few, for watching is slow."""


@final
class Difference(msgspec.Struct, frozen=True):
    """A seed whose runs are not equal.

    Attributes:
        seed: which.
        where: under which circumstances.
        event: the first event that differs, in words; empty = not found, or not looked for.
        place: the line where something else first got in; None = likewise.
    """

    seed: int
    where: str
    event: str
    place: Place | None

    @property
    def sentence(self) -> str:
        """In words."""
        event = f": {self.event}" if self.event else ""
        place = f"; it begins at {self.place.sentence}" if self.place is not None else ""
        return f"seed {self.seed} is another run {self.where}{event}{place}"


def check(seeds: range, task: Task, *, on_block: Callable[[int], None]) -> list[Difference]:
    """Play all seeds under all circumstances; returns those that differ, the first few explained.

    Args:
        seeds: which.
        task: how their plans are drawn, and which bug is planted meanwhile.
        on_block: called with the number of seeds of each block that is done.

    Raises:
        SimulationError: a process failed.
    """
    differences: list[Difference] = []
    blocks = [seeds[at : at + BLOCK] for at in range(0, len(seeds), BLOCK)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # each thread waits for a process
        try:
            for block, found in zip(blocks, pool.map(partial(_differing, task), blocks), strict=True):
                differences += found
                on_block(len(block))
        finally:  # when we stop early, what has not begun is not wanted any more
            pool.shutdown(wait=False, cancel_futures=True)
    explained = [explain(each, task) for each in differences[:_EXPLAINED_MAX]]
    return [*explained, *differences[_EXPLAINED_MAX:]]


def explain(difference: Difference, task: Task) -> Difference:
    """Watch two runs of a seed that differed, and say where they part.

    Raises:
        SimulationError: a process failed.
    """
    pairs = [(circumstances, 1) for circumstances in OTHERS if circumstances.sentence in difference.where]
    if difference.where == AGAIN:
        pairs = [(PLAIN, 1), (PLAIN, 2)]
    for _ in range(_WATCHES_MAX):
        for circumstances, nth in pairs:
            found = _apart(difference, circumstances, nth, task)
            if found is not None:
                return found
    return difference


def _apart(difference: Difference, circumstances: Circumstances, nth: int, task: Task) -> Difference | None:
    def look(until: int) -> tuple[Testimony, Testimony]:
        seed = difference.seed
        one = ask_to_watch(PLAIN, seed, nth=1, until=until, task=task)
        return one, ask_to_watch(circumstances, seed, nth=nth, until=until, task=task)

    pair = look(_FIRST_LOOK)
    parting = first_divergence(pair[0].events, pair[1].events)
    if parting is None:
        return None
    if parting.seq > _FIRST_LOOK:
        pair = look(parting.seq)
    place = first_difference(*pair)
    return Difference(difference.seed, difference.where, parting.sentence, place)


def _differing(task: Task, seeds: range) -> list[Difference]:
    differences: list[Difference] = []
    ours = ask_hashes(PLAIN, seeds, times=2, task=task)
    others = [ask_hashes(circumstances, seeds, times=1, task=task) for circumstances in OTHERS]
    for number, seed in enumerate(seeds):
        first, second = ours[number]
        unlike = [c for c, theirs in zip(OTHERS, others, strict=True) if theirs[number] != [first]]
        if first != second:
            differences.append(Difference(seed, AGAIN, "", None))
        elif unlike:
            differences.append(Difference(seed, f"in {unlike[0].sentence}", "", None))
    return differences
