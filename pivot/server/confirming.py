"""Confirming: waiting until the leader of a key has what was written here (`?ack=leader`).

Layer: server. A write is done when this member has kept it; who wants more waits here, and storage does not wait for
him. Start at `wait_confirmed`.
"""

import trio

from pivot.actors.member import Member
from pivot.core.questions import Written
from pivot.errors import BadKeyError
from pivot.paths import overlap


def check_has_leader(member: Member, pattern: str) -> None:
    """Refuse to wait for a confirmation that nobody could give.

    Raises:
        BadKeyError: no collection matches it.
    """
    if not any(overlap(path, pattern) for path in member.config.collections()):
        raise BadKeyError(pattern, "is in no collection, so no leader can confirm it")


async def wait_confirmed(member: Member, written: Written, *, timeout_s: float) -> bool:
    """Whether, within `timeout_s`, the leaders of all that was written have it, or something later."""
    missing = dict(zip(written.keys, written.stamps, strict=True))
    woken = trio.Event()

    def look(keys: tuple[str, ...]) -> None:
        for key in keys:
            if key in missing and (not member.replicates(key) or member.is_confirmed(key, missing[key])):
                del missing[key]
        if not missing:
            woken.set()

    forget = member.on_confirmed(look)
    try:
        look(tuple(missing))  # it may have happened before we listened
        with trio.move_on_after(timeout_s):
            await woken.wait()
        return not missing
    finally:
        forget()
