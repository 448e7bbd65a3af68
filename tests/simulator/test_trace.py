import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.world.trace import Trace

KNOWN = "22c733682442626b873956a36d599049"


def three_events(*, keep: bool = False, payload: bytes = b"one") -> Trace:
    trace = Trace(keep=keep)
    trace.record(0, "started", "n1")
    sent = trace.record(5, "sent", "n1", "n2", label="Push", payload=payload)
    trace.record(9, "lost", "n1", "n2", label="Push", why="cut", size=len(payload), message=sent)
    return trace


def test_the_hash_of_known_events_is_pinned() -> None:
    assert three_events().hash == KNOWN


def test_equal_events_give_equal_hashes_whether_they_are_kept_or_not() -> None:
    assert three_events().hash == three_events(keep=True).hash
    assert len(three_events().hash) == 32


def test_asking_for_the_hash_does_not_change_it() -> None:
    asked, silent = Trace(), Trace()
    for trace in (asked, silent):
        for time_ns in range(3000):
            trace.record(time_ns, "op", "client", label="write")
            if trace is asked:
                assert trace.hash == trace.hash
    assert asked.hash == silent.hash


@pytest.mark.parametrize(
    "other",
    [
        {"time_ns": 2},
        {"kind": "state"},
        {"member": "ab"},
        {"peer": "c"},
        {"member": "ab", "peer": ""},
        {"label": "z"},
        {"why": "z"},
        {"payload": b"z"},
        {"size": 3},
        {"message": 0},
    ],
)
def test_every_part_of_an_event_counts(other: dict[str, object]) -> None:
    event: dict[str, object] = {"time_ns": 1, "kind": "op", "member": "a", "peer": "b"}
    one, two = Trace(), Trace()
    one.record(**event)  # type: ignore[arg-type]
    two.record(**(event | other))  # type: ignore[arg-type]
    assert one.hash != two.hash


def test_order_counts() -> None:
    one, two = Trace(), Trace()
    for trace, members in ((one, "ab"), (two, "ba")):
        for member in members:
            trace.record(1, "started", member)
    assert one.hash != two.hash


def test_records_are_kept_only_when_asked_for() -> None:
    assert three_events().events == ()
    assert three_events().count == 3
    events = three_events(keep=True).events
    assert [(event.seq, event.kind, event.size, event.message) for event in events] == [
        (0, "started", 0, -1),
        (1, "sent", 3, -1),
        (2, "lost", 3, 1),
    ]
    assert msgspec.json.decode(msgspec.json.encode(events), type=tuple[type(events[0]), ...]) == events


@given(st.lists(st.tuples(st.integers(0, 2**63), st.text(), st.text(), st.binary()), max_size=30))
def test_the_hash_is_a_function_of_the_events(events: list[tuple[int, str, str, bytes]]) -> None:
    def hashed() -> str:
        trace = Trace()
        for time_ns, member, label, payload in events:
            trace.record(time_ns, "sent", member, label=label, payload=payload)
        return trace.hash

    assert hashed() == hashed()
