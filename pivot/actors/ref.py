"""Ref: how code outside the actors asks storage, and waits for the answer with a deadline.

Layer: actors. What was asked is carried out even when the asker is cancelled meanwhile.
"""

from typing import final

import trio

from pivot.actors.member import Member
from pivot.core.questions import Failed, Question, Result
from pivot.errors import ActorStoppedError, DeadlineError, MailboxBusyError, StorageError


@final
class Ref:
    """A way to the storage actor of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member

    async def ask(self, question: Question, *, deadline_s: float) -> Result:
        """Put a question and wait for its answer (never `Failed`).

        Args:
            question: see the table in `pivot.core.events`.
            deadline_s: how long to wait, s.

        Raises:
            StorageError: the disk refused; certainly not written.
            MailboxBusyError: too much waits already; certainly not written.
            ActorStoppedError: the member stopped first; unknown whether it was written.
            DeadlineError: no answer in time; unknown whether it was written.
        """
        answered = trio.Event()
        answers: list[Result] = []

        def on_result(result: Result) -> None:
            answers.append(result)
            answered.set()

        token = self._member.ask(question, on_result)
        try:
            with trio.move_on_after(deadline_s):
                await answered.wait()
        finally:
            self._member.forget(token)
        if not answers:
            raise DeadlineError(f"storage did not answer {type(question).__name__} within {deadline_s:g} s")
        result = answers[0]
        if not isinstance(result, Failed):
            return result
        match result.code:
            case "storage":
                raise StorageError(result.reason)
            case "busy":
                raise MailboxBusyError(result.reason)
            case _:
                raise ActorStoppedError(result.reason)
