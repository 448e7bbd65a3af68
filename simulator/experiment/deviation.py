"""Deviation: something that happens between two events of a run, counted from its start, and not at a time.

Layer: simulator/experiment. Plain data. A run without deviations is the one in which every message takes as long as its
link says and nothing goes wrong but what the steps say; each deviation turns off from there, at one event. Exploring
makes plans of these: a schedule is a plan, and so can be saved, played again and drawn. Start at `Deviation`.
"""

from typing import TypeAlias, final

import msgspec

from simulator.experiment.operations import Crash, Isolate, Wipe


class _Twist(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    """What becomes of the event that would be next."""


class Postpone(_Twist, frozen=True, tag="postpone"):
    """It happens so much later, s: whatever is due until then overtakes it."""

    by_s: float


class LoseNext(_Twist, frozen=True, tag="lose_next"):
    """It is the arrival of a message, which is lost; another event happens all the same."""


class RepeatNext(_Twist, frozen=True, tag="repeat_next"):
    """It is the arrival of a message, of which a copy arrives so much later, s."""

    by_s: float


Twist: TypeAlias = Postpone | LoseNext | RepeatNext | Crash | Wipe | Isolate


@final
class Deviation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens between two events; no more of them do when the safety phase is over.

    Attributes:
        after: how many events of the run have happened by then.
        what: what becomes of the next one, or a fault that strikes before it.
    """

    after: int
    what: Twist
