"""ActorCore: the rules of a batch, without Trio; whatever runs an actor drives this.

Layer: actors (Trio-free). Theory of operation:

An actor takes everything that waits in its mailbox as one batch, steps each event, commits all that was persisted in
one transaction (group commit: one fsync answers many writers), and then lets the effects happen in order. An event that
persisted something has effects only if the commit held; if it did not, its replies become refusals and nothing else of
it happens. So nobody is ever told about a change that is not kept.

    begin(batch)  ->  changes to commit (maybe none)
    finish(why)   ->  effects to carry out; `why` is None when the commit held
"""

from collections.abc import Sequence
from typing import final

from pivot.core.behaviour import Behaviour
from pivot.core.collection import Change
from pivot.core.effects import Effect, Persist, Reply
from pivot.core.events import CommitFailed, Committed, Event
from pivot.core.questions import Failed
from pivot.types import Now


@final
class ActorCore:
    """Drives one behaviour batch by batch."""

    __slots__ = ("_steps", "behaviour")

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._steps: list[tuple[bool, list[Effect]]] = []

    def begin(self, now: Now, batch: Sequence[Event]) -> list[Change]:
        """Step every event of a batch; returns what must be committed before `finish`."""
        assert not self._steps, "a batch is under way"
        changes: list[Change] = []
        steps: list[tuple[bool, list[Effect]]] = []
        step = self.behaviour.step
        for event in batch:
            effects = step(now, event)
            before = len(changes)
            for effect in effects:
                if isinstance(effect, Persist):
                    changes += effect.changes
            steps.append((len(changes) > before, effects))
        self._steps = steps
        return changes

    def finish(self, now: Now, failure: str | None = None) -> list[Effect]:
        """The effects of the batch in order, knowing how its commit went (None = it held, or there was none)."""
        steps, self._steps = self._steps, []
        if len(steps) == 1 and not steps[0][0]:  # most batches: one event, nothing persisted
            return steps[0][1]
        done: list[Effect] = []
        any_persisted = False
        for persisted, effects in steps:
            any_persisted = any_persisted or persisted
            if not persisted:
                done += effects
            elif failure is None:
                done += [effect for effect in effects if not isinstance(effect, Persist)]
            else:
                refusal = Failed("storage", failure)
                done += [Reply(effect.to, refusal) for effect in effects if isinstance(effect, Reply)]
        if any_persisted:
            done += self.behaviour.step(now, Committed() if failure is None else CommitFailed(failure))
        return done
