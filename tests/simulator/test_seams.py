import asyncio
import gc
import inspect
import signal

import pytest
import trio

from simulator.errors import (
    NestedRunError,
    TrioMovedError,
)
from simulator.runtimes import seams
from simulator.runtimes.loop import run
from simulator.world.heap import EventHeap

SECOND = 10**9


async def one_second(heap: EventHeap) -> float:
    await trio.sleep(1)
    return heap.monotonic_s()


def settings() -> tuple[object, ...]:
    inside = seams._TRIO_RUN
    return inside._ALLOW_DETERMINISTIC_SCHEDULING, inside._r.getstate(), gc.isenabled(), signal.set_wakeup_fd(-1)


@pytest.mark.parametrize("gc_on", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_all_settings_are_restored_also_after_an_error(*, gc_on: bool, fails: bool) -> None:
    async def main(_: EventHeap) -> None:
        assert not gc.isenabled()
        assert seams._TRIO_RUN._ALLOW_DETERMINISTIC_SCHEDULING
        await trio.sleep(1)
        if fails:
            raise ValueError("planted")

    (gc.enable if gc_on else gc.disable)()
    try:
        before = settings()
        if fails:
            with pytest.raises(ValueError, match="planted"):
                run(main, seed=1)
        else:
            run(main, seed=1)
        assert settings() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("seam", seams.SEAMS)
def test_a_trio_without_one_of_the_seams_is_refused_by_name(seam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    trimmed = seam.split(".")
    if trimmed[0] == "_r":
        monkeypatch.setattr(seams._TRIO_RUN, "_r", object())
        seam = "_r.seed"
    else:
        target = seams._TRIO_RUN if len(trimmed) == 1 else getattr(seams._TRIO_RUN, trimmed[0])
        monkeypatch.delattr(target, trimmed[-1])
    with pytest.raises(TrioMovedError, match=f"has no trio._core._run.{seam}"), seams.deterministic(1):
        pass
    monkeypatch.undo()
    assert settings() == before


def test_trio_still_sorts_and_shuffles_with_the_seams_we_set() -> None:
    source = inspect.getsource(seams._TRIO_RUN.unrolled_run)
    assert "timeout = runner.clock.deadline_to_sleep_time(deadline)" in source
    assert "now = runner.clock.current_time()\n            if runner.deadlines.expire(now):" in source
    assert "if _ALLOW_DETERMINISTIC_SCHEDULING:" in source
    assert "batch.sort(key=lambda t: t._counter)\n                _r.shuffle(batch)" in source


def test_it_works_where_an_asyncio_loop_is_running_as_in_jupyter() -> None:
    async def cell() -> int:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: None)  # takes the wake-up descriptor
        await asyncio.sleep(0)

        async def main(heap: EventHeap) -> int:
            await trio.sleep(5)
            return heap.now_ns

        return run(main, seed=1)

    assert asyncio.run(cell()) == 5 * SECOND


async def test_a_run_inside_trio_is_refused() -> None:
    with pytest.raises(NestedRunError, match="cannot start inside a Trio run"):
        run(one_second, seed=1)


def test_control_c_ends_a_run_soon_also_while_nobody_wakes() -> None:
    heaps: list[EventHeap] = []

    async def main(heap: EventHeap) -> None:
        def again() -> None:
            heap.call_soon(again)

        heaps.append(heap)
        heap.post_at(5, lambda: signal.raise_signal(signal.SIGINT))
        heap.post_at(5, again)
        await trio.sleep_forever()

    before = settings()
    with pytest.raises(KeyboardInterrupt):
        run(main, seed=1, max_events=100_000)
    assert heaps[0].executed < 1_000
    assert settings() == before
