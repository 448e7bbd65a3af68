"""Values: between what a program has and the JSON that is kept.

Layer: edge. Start at `encoded` and `decoded`.
"""

import json
from typing import TypeVar, cast

import msgspec

from pivot.core.entry import canonical
from pivot.errors import BadValueError

_T = TypeVar("_T")


def encoded(value: object) -> str:
    """The canonical JSON of a value: plain ones, dataclasses, msgspec structs, dates and the like.

    Raises:
        BadValueError: there is none.
    """
    try:
        plain: object = msgspec.to_builtins(value, str_keys=True)
        return canonical(json.dumps(plain, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadValueError(f"cannot be JSON: {error}") from None


def decoded(key: str, data: str | msgspec.Raw, wanted: type[_T] | None) -> _T:
    """What the JSON that is kept under a key means; None wants plain values, and then `_T` is `JsonValue`.

    Raises:
        BadValueError: it means no such thing.
    """
    kind = cast("type[_T]", wanted or object)
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise BadValueError(f"of {key!r} is no {getattr(kind, '__name__', kind)}: {error}") from None
