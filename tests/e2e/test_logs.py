"""Each notice that people want to know of is one line, as text and as JSON."""

import json
from typing import get_args

import pytest

from pivot.core.entry import Entry
from pivot.core.notices import (
    ActorRestarted,
    CaughtUp,
    Collected,
    Conflict,
    Diverged,
    EpochReset,
    Notice,
    PeerDown,
    PeerRefused,
    PeerUp,
    ReadingFrom,
    Reissued,
    Rejected,
    StorageRefused,
    Withdrawn,
)
from pivot.logs import LogFormat, configure_logs, log_notice
from pivot.types import Address, Epoch, StoreId


def version(stamp: int, origin: str) -> Entry:
    return Entry("settings", stamp, 0, "1", deleted=False, prev=0, origin=StoreId(origin))


PEER = Address("http://10.0.0.1:8080")
LINES: list[tuple[Notice, str, tuple[str, ...]]] = [
    (PeerUp(PEER, "leader"), "peer up", (PEER, "leader")),
    (PeerDown(PEER, "leader", "silent for 4 s"), "peer down", (PEER, "silent for 4 s")),
    (PeerRefused(PEER, "cluster id 'a' is not ours"), "refused", (PEER, "cluster id")),
    (ReadingFrom(PEER, (PEER,)), "reading from other nodes", (PEER,)),
    (CaughtUp("users/*"), "caught up", ("users/*",)),
    (EpochReset("users/*", Epoch("e1"), Epoch("e2")), "reset", ("users/*", "e1", "e2")),
    (Conflict(version(9, "a"), version(5, "b")), "conflict", ("settings", "9", "5")),
    (Rejected("users/a", "clock_ahead"), "rejected", ("users/a", "clock_ahead")),
    (Reissued("users/a", 5, 9, "a clock was ahead"), "reissued", ("users/a", "5", "9", "a clock was ahead")),
    (Withdrawn("users/a", 7, "left to its author"), "withdrawn", ("users/a", "7", "left to its author")),
    (Collected("users/*", 7, 42), "collected", ("users/*", "7", "42")),
    (Diverged("users/*", 3), "diverged", ("users/*", "3")),
    (StorageRefused("disk full"), "storage refused", ("disk full",)),
    (ActorRestarted("node", "KeyError"), "actor restarted", ("node", "KeyError")),
]


def test_every_notice_is_here() -> None:
    assert {type(notice) for notice, _, _ in LINES} == set(get_args(Notice))


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(("notice", "event", "named"), LINES, ids=lambda value: type(value).__name__)
def test_a_notice_is_one_line_that_names_the_facts(
    notice: Notice, event: str, named: tuple[str, ...], form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(form, "debug")
    log_notice(notice)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(fact in said for fact in named)
    if form == "json":
        assert json.loads(said)["event"] == event
    else:
        assert event in said


def test_the_level_silences_what_is_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text", "warning")
    log_notice(PeerUp(PEER, "leader"))
    assert capsys.readouterr().err == ""
    log_notice(Rejected("users/a", "clock_ahead"))
    assert "rejected" in capsys.readouterr().err
