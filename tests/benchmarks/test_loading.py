"""How long a store of 100,000 entries takes to be loaded, and what an entry costs in memory.

Memory is counted and asserted. Time depends on the machine: it is reported, and asserted only as a multiple of what
plain SQLite and a JSON decoder take for the same rows in the same process. CPU time, so that neighbours do not count.

    pytest -m long -s tests/benchmarks/test_loading.py
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pivot.core.entry import Entry
from pivot.engine.dump import FORMAT, Header, Reader, Section, Tally, dump
from pivot.engine.transfer import restore_store
from pivot.types import Epoch, StoreId

ENTRIES = 100_000
VALUE_BYTES = 100
MEMORY_BYTES_MAX = 600
TIMES_BASELINE_MAX = 3.0

MEASURE = """
import gc, json, resource, sqlite3, sys, time, tracemalloc
from pathlib import Path
import trio
from pivot.config import Knobs
from pivot.core.store import Store
from pivot.engine.sqlite import SqliteEngine

folder, how = Path(sys.argv[1]), sys.argv[2]
collections = {"settings": False, "users/*": False, "things/*": False}

def baseline():
    database = sqlite3.connect(folder / "pivot.db")
    rows = database.execute("SELECT * FROM rows ORDER BY seq").fetchall()
    values = [json.loads(row[7]) for row in rows]
    database.close()
    return len(values)

async def load():
    engine = SqliteEngine(folder, new_id=lambda: "never")
    image = await engine.open()
    store = Store(image.store, image.epoch, collections, Knobs(), image.changes, seq=image.seq)
    await engine.aclose()
    return store

def timed(work):
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

if how == "time":
    pairs = [(timed(baseline), timed(lambda: trio.run(load))) for _ in range(5)]
    best = [min(pair[which] for pair in pairs) for which in (0, 1)]
    print(json.dumps({"baseline_cpu_s": best[0][0], "cpu_s": best[1][0], "wall_s": min(p[1][1] for p in pairs)}))
else:
    trio.run(load)  # what is made once only does not count
    gc.collect()
    if how == "traced":
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        store = trio.run(load)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    else:
        store = trio.run(load)
        used = resident()
    print(json.dumps({"bytes": used, "entries": len(store["users/*"])}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with many entries of one list, as pushes leave them."""
    folder = tmp_path_factory.mktemp("loading") / "state"
    first = 1_700_000_000_000_000_000
    store = StoreId("0123456789abcdef")
    value = '"%0' + str(VALUE_BYTES - 2) + 'd"'
    entries = [
        Entry(f"users/{first + 1024 * n:016x}", first + 1024 * n, 0, value % n, deleted=False, prev=0, origin=store)
        for n in range(ENTRIES)
    ]
    lines = b"".join(dump(Header(FORMAT, store, Epoch("e"), 1), [Section("users/*", 0, entries)], Tally()))
    reader = Reader("benchmark")
    restore_store(
        folder, lines.splitlines(keepends=True), new_id=lambda: "fedcba9876543210", reader=reader, force=False
    )
    return folder


def measure(folder: Path, how: str) -> dict[str, Any]:
    """Measure in a fresh process."""
    done = subprocess.run([sys.executable, "-c", MEASURE, str(folder), how], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.long
def test_an_entry_costs_few_bytes_of_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traced, resident = measure(folder, "traced"), measure(folder, "resident")
    assert traced["entries"] == ENTRIES
    each = traced["bytes"] / ENTRIES
    with capsys.disabled():
        sys.stdout.write(
            f"\nmemory: {each:.0f} bytes for an entry with a value of {VALUE_BYTES} bytes "
            f"(limit {MEMORY_BYTES_MAX}); the whole process has {resident['bytes'] / 2**20:.0f} MiB\n"
        )
    assert each < MEMORY_BYTES_MAX


@pytest.mark.long
def test_loading_takes_a_small_multiple_of_reading_the_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(folder, "time")
    times = found["cpu_s"] / found["baseline_cpu_s"]
    with capsys.disabled():
        sys.stdout.write(
            f"\nloading {ENTRIES} entries: {found['cpu_s']:.2f} s of CPU, {found['wall_s']:.2f} s by the clock; "
            f"reading and decoding their rows: {found['baseline_cpu_s']:.2f} s of CPU; {times:.1f} times (limit "
            f"{TIMES_BASELINE_MAX:g})\n"
        )
    assert times < TIMES_BASELINE_MAX
