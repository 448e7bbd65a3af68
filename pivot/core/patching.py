"""Patching: what a value becomes when a part of it is given anew.

Layer: core (pure). Objects merge name by name, however deep; whatever else a patch says replaces what is there, null
included. Where one side has an object and the other has not, there is nothing to merge by:

    here      patch         becomes
    object    object        both, merged
    object    null          null
    object    other         refused
    array     object        refused
    other     anything      the patch
    nothing   anything      the patch

Start at `patched`.
"""

import json
from typing import Final, cast

from pivot.core.entry import canonical
from pivot.errors import BadValueError
from pivot.types import JsonValue

VALUE_BYTES_MAX: Final = 2**20
"""Longest value that a client may write, bytes; also of what a patch makes, since many small ones add up."""


def patched(data: str, patch: str) -> str:
    """The value that `patch` makes of `data`; all three are canonical JSON.

    Raises:
        BadValueError: one of them is no object, they clash at a path, or the result is too long.
    """
    here, there = cast("JsonValue", json.loads(data)), cast("JsonValue", json.loads(patch))
    if not isinstance(there, dict):
        raise BadValueError(f"is {_kind(there)}; a patch is an object")
    if not isinstance(here, dict):
        raise BadValueError(f"cannot be merged: what is here is {_kind(here)}, and no object")
    result = canonical(json.dumps(_merged(here, there, ""), ensure_ascii=False))
    size = len(result.encode())
    if size > VALUE_BYTES_MAX:
        raise BadValueError(f"would have {size} bytes, at most {VALUE_BYTES_MAX} are allowed")
    return result


def _merged(here: dict[str, JsonValue], there: dict[str, JsonValue], path: str) -> dict[str, JsonValue]:
    result = dict(here)
    for name, new in there.items():
        old = here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            result[name] = _merged(old, new, f"{path}/{name}")
            continue
        if (isinstance(old, dict) and new is not None) or (isinstance(old, list) and isinstance(new, dict)):
            where = f"{path}/{name}"[:80]
            raise BadValueError(f"clashes at {where!r}: there is {_kind(old)}, the patch has {_kind(new)}")
        result[name] = new
    return result


def _kind(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
