"""Planting: a bug put into the code from outside, for as long as a context lasts.

Layer: simulator/experiment. A bug has a name, so that other processes can plant it, too: that of a mutant, or
`module:function`, which is called without arguments and returns a context manager. Start at `planted`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, cast

from simulator.errors import UnknownBugError


def planted(name: str) -> AbstractContextManager[Any]:
    """The bug of this name; of no name, none.

    Raises:
        UnknownBugError: there is no such function.
    """
    if not name:
        return nullcontext()
    if ":" not in name:
        from simulator.experiment.mutants.catalogue import MUTANTS  # noqa: PLC0415 - their plans are Simulations

        mutant = next((mutant for mutant in MUTANTS if mutant.name == name), None)
        if mutant is None:
            raise UnknownBugError(name, "it is no mutant either")
        return mutant.planted()
    module, _, function = name.partition(":")
    try:
        plant = cast("Callable[[], AbstractContextManager[Any]]", getattr(import_module(module), function))
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownBugError(name, str(error)) from None
    return plant()
