"""Planting: a bug put into the code from outside, for as long as a context lasts.

Layer: simulator/experiment. A bug has a name, `module:function`, so that other processes can plant it, too: the
function is called without arguments and returns a context manager. Start at `planted`.
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
    module, _, function = name.partition(":")
    try:
        plant = cast("Callable[[], AbstractContextManager[Any]]", getattr(import_module(module), function))
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownBugError(name, str(error)) from None
    return plant()
