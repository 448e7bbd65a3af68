"""Violation: something that must not be.

Layer: simulator/experiment/checkers.
"""

from typing import final

import msgspec


@final
class Violation(msgspec.Struct, frozen=True):
    """Something that must not be.

    Attributes:
        checker: which one saw it.
        key: the key it is about; empty = none.
        sentence: what is wrong, with numbers of operations.
        operations: those numbers.
        stamps: of the versions it is about, ns.
        messages: numbers of the trace events at which messages with these versions were sent; see `explaining`.
    """

    checker: str
    key: str
    sentence: str
    operations: tuple[int, ...] = ()
    stamps: tuple[int, ...] = ()
    messages: tuple[int, ...] = ()
