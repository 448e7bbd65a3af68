"""Versions that a leader's filter does not want: what the leader answers, and what their writer's store does."""

from pivot.core.collection import Row
from pivot.core.effects import Publish
from pivot.core.entry import Entry, fingerprint
from pivot.core.merging import INSTEAD_BYTES_MAX
from pivot.core.messages import PushAck, RowRefused, RowRejected
from pivot.core.notices import Rejected, Withdrawn
from pivot.core.questions import Confirm, Confirmed, Merged, MergePushed, Withdraw
from tests.core.builders import (
    USERS,
    A,
    B,
    entry,
    following_desk,
    leading_desk,
    notices,
    only,
    questions,
    row_ack,
)
from tests.core.links import connected

MINE, THEIRS = entry("users/a", 9), entry("users/a", 5, data='"theirs"')
UNWANTED = (RowRefused("users/a", "too young"),)


def final(instead: Entry | None = None, seq: int = 0) -> RowRejected:
    held = instead is not None
    return RowRejected("users/a", fingerprint(MINE), "too young", held=held, final=True, instead=instead, seq=seq)


# The leader ----------------------------------------------------------------------------------------------------------


def test_a_version_that_a_filter_does_not_want_is_refused_for_good_and_answered_with_what_is_there() -> None:
    for rows, rejected in (((), final()), ((Row(THEIRS, 3),), final(THEIRS, 3))):
        desk = leading_desk(*rows)
        other = entry("users/b", 9)
        merged = desk.ask(MergePushed(USERS, 0, (MINE, other), UNWANTED))
        assert merged == Merged((row_ack(other, len(rows) * 3 + 1),), (rejected,))
        assert notices(desk.effects) == [Rejected("users/a", "too young")]


def test_a_version_that_is_here_or_superseded_is_confirmed_whatever_a_filter_says() -> None:
    for here in (MINE, entry("users/a", 10)):
        merged = leading_desk(Row(here, 3)).ask(MergePushed(USERS, 0, (MINE,), UNWANTED))
        assert merged == Merged((row_ack(MINE, 3),), ())


def test_a_filter_that_could_not_say_leaves_a_version_where_it_is() -> None:
    merged = leading_desk().ask(MergePushed(USERS, 0, (MINE,), (RowRefused("users/a", "it failed", final=False),)))
    assert merged == Merged((), (RowRejected("users/a", fingerprint(MINE), "it failed"),))


def test_what_is_there_is_answered_only_when_it_is_committed() -> None:
    desk = leading_desk()
    desk.stage(MergePushed(USERS, 0, (THEIRS,)))
    assert desk.stage(MergePushed(USERS, 0, (MINE,), UNWANTED)) == Merged((), (final(THEIRS, 1),))
    assert len(desk.effects) == 3  # the row is persisted with it, so that this answer fails with that commit


def test_an_answer_carries_no_more_than_a_message_can_and_the_rest_comes_again() -> None:
    long = '"' + "x" * (INSTEAD_BYTES_MAX // 2) + '"'
    keys = [f"users/{name}" for name in "abc"]
    desk = leading_desk(*(Row(entry(key, 5, data=long), number) for number, key in enumerate(keys, 1)))
    pushed = tuple(entry(key, 9) for key in keys)
    merged = desk.ask(MergePushed(USERS, 0, pushed, tuple(RowRefused(key, "no") for key in keys)))
    assert isinstance(merged, Merged)
    assert ([row.key for row in merged.rejected], merged.acks) == (["users/a"], ())


# The node ------------------------------------------------------------------------------------------------------------


def test_a_node_hands_what_is_refused_for_good_to_storage() -> None:
    body = PushAck(USERS, 1, A, (), (final(), RowRejected("users/b", "f", "why")))
    effects = connected().following.push_ack(body)
    assert questions(effects) == [Withdraw(USERS, A, (final(),)), Confirm(USERS, A, ())]
    assert notices(effects) == [Rejected("users/a", "too young"), Rejected("users/b", "why")]


def test_a_refused_version_gives_way_to_what_the_leader_has() -> None:
    desk = following_desk(Row(MINE, 2))
    assert desk.ask(Withdraw(USERS, A, (final(THEIRS, 3),))) == Confirmed(1)
    assert desk.store[USERS].get("users/a") == Row(THEIRS, 3, acked=3)
    assert (only(desk.effects, Publish), desk.store.outbox_size) == ([Publish((THEIRS,))], 0)
    assert notices(desk.effects) == [Withdrawn("users/a", 9, "too young")]


def test_a_refused_version_goes_when_the_leader_has_nothing() -> None:
    desk = following_desk(Row(MINE, 2))
    assert desk.ask(Withdraw(USERS, A, (final(),))) == Confirmed(1)
    assert desk.store[USERS].get("users/a") is None
    assert notices(desk.effects) == [Withdrawn("users/a", 9, "too young")]


def test_only_the_version_that_was_refused_is_withdrawn() -> None:
    for rows in ((), (Row(entry("users/a", 10), 2),), (Row(MINE, 2, acked=7),)):
        desk = following_desk(*rows)
        assert desk.ask(Withdraw(USERS, A, (final(THEIRS, 3),))) == Confirmed(0)
        assert list(desk.store[USERS].rows()) == list(rows)


def test_a_refusal_of_another_life_or_with_another_keys_version_changes_nothing() -> None:
    desk = following_desk(Row(MINE, 2))
    assert desk.ask(Withdraw(USERS, B, (final(),))) == Confirmed(0)
    strange = RowRejected("users/a", fingerprint(MINE), "no", final=True, instead=entry("users/b", 5), seq=3)
    assert desk.ask(Withdraw(USERS, A, (strange,))) == Confirmed(0)
    assert desk.store[USERS].get("users/a") == Row(MINE, 2)
