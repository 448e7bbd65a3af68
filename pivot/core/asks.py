"""Asks: the questions a behaviour has put to storage and not seen answered, each with what it is for.

Layer: core (pure). Bounded; storage answers every question, so nothing is waited for in vain while the member lives.
"""

from typing import Generic, TypeVar, final

from pivot.core.effects import Ask
from pivot.core.questions import Question

Purpose = TypeVar("Purpose")


@final
class Asks(Generic[Purpose]):
    """Tokens of open questions.

    Attributes:
        limit: most questions open at once.
    """

    __slots__ = ("_next", "_open", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: dict[int, Purpose] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, question: Question, purpose: Purpose) -> list[Ask]:
        """The effect that asks; none when too many questions are open, and the caller must do without."""
        if len(self._open) >= self.limit:
            return []
        self._next += 1
        self._open[self._next] = purpose
        return [Ask(self._next, question)]

    def answered(self, token: int) -> Purpose | None:
        """What the question with this token was for; None when it is not open."""
        return self._open.pop(token, None)
