from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot.actors.timeline import Timeline, Timer
from simulator.world.heap import EventHeap


def run_all(heap: EventHeap) -> None:
    while heap.run_next():
        pass


def test_it_is_a_timeline() -> None:
    timeline: Timeline = EventHeap()
    timer: Timer = timeline.call_later(1.0, lambda: None)
    timer.cancel()
    assert timeline.monotonic_s() == 0.0


def test_calls_of_equal_time_run_in_the_order_they_were_scheduled() -> None:
    heap, seen = EventHeap(), list[str]()
    heap.call_at(5, partial(seen.append, "a"))
    heap.post_at(5, partial(seen.append, "b"))
    heap.call_later(5e-9, partial(seen.append, "c"))
    heap.post_at(4, partial(seen.append, "first"))
    run_all(heap)
    assert seen == ["first", "a", "b", "c"]
    assert heap.now_ns == 5
    assert heap.executed == 4


def test_a_call_scheduled_for_now_runs_after_everything_scheduled_earlier_for_now() -> None:
    heap, seen = EventHeap(), list[str]()

    def first() -> None:
        heap.call_soon(partial(seen.append, "soon"))
        seen.append("first")

    heap.post_at(7, first)
    heap.post_at(7, partial(seen.append, "second"))
    heap.post_at(8, partial(seen.append, "later"))
    run_all(heap)
    assert seen == ["first", "second", "soon", "later"]


def test_time_moves_with_the_calls_and_never_back() -> None:
    heap, times = EventHeap(), list[float]()
    heap.call_later(1.5, lambda: times.append(heap.monotonic_s()))
    heap.call_later(0.1, lambda: heap.post_at(3, lambda: times.append(heap.monotonic_s())))
    heap.call_later(-5.0, lambda: times.append(heap.monotonic_s()))
    run_all(heap)
    assert times == [0.0, 0.1, 1.5]


def test_a_cancelled_call_never_runs_and_moves_no_time() -> None:
    heap, seen = EventHeap(), list[str]()
    late = heap.call_at(9, partial(seen.append, "late"))
    early = heap.call_at(1, partial(seen.append, "early"))
    assert len(heap) == 2
    late.cancel()
    late.cancel()
    assert len(heap) == 1
    run_all(heap)
    early.cancel()
    assert seen == ["early"]
    assert heap.now_ns == 1
    assert len(heap) == 0
    assert not heap.run_next()


def test_the_next_time_is_that_of_the_next_call_that_will_run() -> None:
    heap = EventHeap()
    assert heap.next_time_ns() is None
    timer = heap.call_at(3, lambda: None)
    heap.post_at(8, lambda: None)
    assert heap.next_time_ns() == 3
    timer.cancel()
    assert heap.next_time_ns() == 8


def test_cancelled_timers_are_swept_when_more_than_half_are_dead() -> None:
    heap = EventHeap()
    for _ in range(100):
        heap.call_at(10**9, lambda: None)
    worst = 0
    for _ in range(100_000):
        heap.call_at(10**9, lambda: None).cancel()
        worst = max(worst, heap.statistics().dead)
    assert len(heap) == 100
    assert worst <= 102


def test_a_call_that_raises_has_run_and_the_rest_still_runs() -> None:
    heap, seen = EventHeap(), list[str]()

    def fail() -> None:
        raise ValueError("planted")

    heap.post_at(1, fail)
    heap.post_at(2, partial(seen.append, "rest"))
    with pytest.raises(ValueError, match="planted"):
        heap.run_next()
    assert heap.run_next()
    assert (seen, heap.executed) == (["rest"], 2)


def test_time_may_pass_up_to_the_next_call_and_not_over_it() -> None:
    heap = EventHeap()
    heap.post_at(10, lambda: None)
    heap.advance_to(10)
    heap.advance_to(4)
    assert heap.now_ns == 10
    with pytest.raises(AssertionError, match="pass over"):
        heap.advance_to(11)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=200))
def test_any_mix_of_calls_and_cancellations_runs_like_a_sorted_list(plan: list[tuple[int, bool]]) -> None:
    heap, seen, expected = EventHeap(), list[int](), list[tuple[int, int]]()
    for number, (time_ns, cancelled) in enumerate(plan):
        timer = heap.call_at(time_ns, partial(seen.append, number))
        if cancelled:
            timer.cancel()
        else:
            expected.append((time_ns, number))
    assert len(heap) == len(expected)
    run_all(heap)
    assert seen == [number for _, number in sorted(expected)]
    assert heap.statistics().pending == heap.statistics().dead == 0


def test_an_interruption_happens_between_two_calls_and_is_none() -> None:
    heap, seen = EventHeap(), list[str]()
    for number in range(3):
        heap.post_at(number, partial(seen.append, f"{number}"))

    def interrupt() -> None:
        seen.append(f"after {heap.executed} at {heap.now_ns}")
        heap.take_next()

    heap.interrupt(2, interrupt)
    run_all(heap)
    assert seen == ["0", "1", "after 2 at 1"]
    assert heap.executed == 2


def test_what_will_run_is_listed_in_order_without_what_was_cancelled() -> None:
    heap, calls = EventHeap(), [partial(print, number) for number in range(4)]
    for number, time_ns in enumerate((5, 1, 5, 3)):
        timer = heap.call_at(time_ns, calls[number])
        if number == 1:
            timer.cancel()
    assert heap.next_call() is calls[3]
    assert heap.pending() == [(3, calls[3]), (5, calls[0]), (5, calls[2])]
