"""Wording: an operation of a plan in words.

Layer: simulator/experiment. Start at `describe`.
"""

import msgspec
from msgspec.structs import fields

from simulator.experiment.operations import Delete, Operation, Push, Read, Write


def describe(operation: Operation) -> str:
    """An operation in words."""
    match operation:
        case Write():
            return f"{operation.member}: write {operation.key} = {as_json(operation.value)}"
        case Push():
            return f"{operation.member}: push {as_json(operation.value)} to {operation.pattern}"
        case Delete():
            return f"{operation.member}: delete {operation.pattern}"
        case Read():
            return f"{operation.member}: read {operation.key}"
        case _:
            return _by_fields(operation)


def _by_fields(operation: Operation) -> str:
    defaults = {field.name: field.default for field in fields(operation)}
    said = {name: getattr(operation, name) for name in defaults if name != "member"}
    member = getattr(operation, "member", None)
    details = "".join(f" {name}={as_json(value)}" for name, value in said.items() if value != defaults[name])
    return f"{'' if member is None else f'{member}: '}{operation.__struct_config__.tag}{details}"


def as_json(value: object) -> str:
    """A value as JSON."""
    return msgspec.json.encode(value).decode()
