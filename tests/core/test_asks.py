"""Asks: open questions are bounded, and each is answered once."""

from pivot.core.asks import Asks
from pivot.core.effects import Ask
from pivot.core.questions import Describe


def test_a_question_is_asked_under_a_token_of_its_own_and_answered_once() -> None:
    asks = Asks[str](limit=2)
    assert asks.ask(Describe(), "first") == [Ask(1, Describe())]
    assert asks.ask(Describe(), "second") == [Ask(2, Describe())]
    assert asks.answered(1) == "first"
    assert asks.answered(1) is None
    assert len(asks) == 1


def test_no_question_is_asked_above_the_limit() -> None:
    asks = Asks[str](limit=1)
    asks.ask(Describe(), "first")
    assert asks.ask(Describe(), "second") == []
    asks.answered(1)
    assert asks.ask(Describe(), "second") == [Ask(2, Describe())]
