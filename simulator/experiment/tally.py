"""Tally: what all trials of a campaign amount to.

Layer: simulator/experiment. Start at `Tally.add`.

A fault that touched nothing proves nothing: of each kind of fault the tally says in how many runs it was played, and in
how many of those it touched anything.
"""

from collections import Counter
from hashlib import blake2b
from typing import final

import msgspec

from simulator.experiment.trial import Trial


@final
class Potency(msgspec.Struct, frozen=True):
    """What one kind of fault did.

    Attributes:
        kind: which.
        used: how often it is in plans; 0 when the plan's weather is what it is.
        plans: in how many runs it was played.
        potent: in how many of those its effect was seen.
        effect: how much of it.
    """

    kind: str
    used: int
    plans: int
    potent: int
    effect: int


@final
class Tally:
    """Sums.

    Attributes:
        trials: how many.
        failed: in how many something was found.
        events: of all runs.
        verdicts: verdict -> how many.
        reached: what happened -> how often.
        reached_in: what happened -> in how many trials.
        checkers: checker -> how many failures it is the worst of.
    """

    def __init__(self) -> None:
        self.trials = 0
        self.failed = 0
        self.events = 0
        self.verdicts: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self.reached_in: Counter[str] = Counter()
        self.checkers: Counter[str] = Counter()
        self._hashes: dict[int, str] = {}
        self._used: Counter[str] = Counter()
        self._plans: Counter[str] = Counter()
        self._potent: Counter[str] = Counter()
        self._effects: Counter[str] = Counter()

    def add(self, trial: Trial) -> None:
        """One more."""
        self.trials += 1
        self.events += trial.events
        self._hashes[trial.seed] = trial.hash
        self.verdicts[trial.verdict] += 1
        if trial.symptom is not None:
            self.failed += 1
            self.checkers[trial.symptom.checker] += 1
        self.reached.update(trial.reached)
        self.reached_in.update(trial.reached.keys())
        self._used.update(trial.kinds)
        for kind, effect in trial.potency.items():
            self._plans[kind] += 1
            self._effects[kind] += effect
            self._potent[kind] += effect > 0

    @property
    def hash(self) -> str:
        """Over the hashes of all runs, by seed: equal for equal campaigns, whoever played them."""
        said = "".join(f"{seed} {self._hashes[seed]}\n" for seed in sorted(self._hashes))
        return blake2b(said.encode(), digest_size=16).hexdigest()

    def potency(self) -> list[Potency]:
        """What each kind of fault did that was played."""
        return [
            Potency(kind, self._used[kind], self._plans[kind], self._potent[kind], self._effects[kind])
            for kind in sorted(self._plans)
        ]
