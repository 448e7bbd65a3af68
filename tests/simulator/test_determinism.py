"""Same seed, same hash: twice in one process, and in fresh processes under other hash seeds."""

import json
import os
import subprocess
import sys

import pytest

from simulator import Run, draw

BLOCK = 40
SEEDS = 200
CODE = """
import json
from simulator import Run, draw
print(json.dumps([Run.of(draw(seed)).hash for seed in range({first}, {last})]))
"""


def hashes_in_a_fresh_process(seeds: range, hash_seed: int) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    code = CODE.format(first=seeds.start, last=seeds.stop)
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_same_seed_gives_same_hash_in_one_process_and_in_fresh_ones_under_other_hash_seeds(first: int) -> None:
    seeds = range(first, first + BLOCK)
    others = [hashes_in_a_fresh_process(seeds, hash_seed) for hash_seed in (1, 4242)]
    ours = [Run.of(draw(seed)).hash for seed in seeds]
    again = [Run.of(draw(seed)).hash for seed in seeds]
    assert again == ours
    for other in others:
        out, _ = other.communicate()
        assert json.loads(out) == ours
    assert len(dict.fromkeys(ours)) == BLOCK


def test_keeping_the_trace_does_not_change_the_hash() -> None:
    plan = draw(11)
    assert Run.of(plan, keep_trace=True).hash == Run.of(plan).hash
