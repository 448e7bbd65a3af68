"""How benchmarks compare: CPU time of this process, so that neighbours count little, in turns of the same run."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

TURNS: Final = 3


def cpu_s(works: Mapping[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Name -> CPU seconds of the quickest turn of each work; turns alternate, so a busy machine slows all."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(turns):
        for name, work in works.items():
            before = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - before)
    return best


def show(title: str, rows: Mapping[str, str]) -> None:
    """Write a title and its rows, aligned; `pytest -s` lets them through."""
    width = max(map(len, rows))
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows.items())]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
