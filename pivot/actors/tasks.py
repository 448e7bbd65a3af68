"""Tasks: a member on Trio, one task for each of its actors.

Layer: actors. Start at `run_member`.
"""

from functools import partial
from typing import NoReturn

import trio

from pivot.actors.actor import Actor
from pivot.actors.mailbox import Mailbox
from pivot.actors.member import Member
from pivot.engine.base import StorageEngine
from pivot.errors import StorageError


async def run_member(
    member: Member, engine: StorageEngine, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> NoReturn:
    """Load the store and live until cancelled.

    Raises:
        StorageError: the store cannot be opened.
        RestartLimitError: an actor crashed too often (in an exception group with what else failed).
        Exception: what storage crashed with (likewise).
    """
    image = await engine.open()
    try:
        actors = member.open(image)
        task_status.started()
        async with trio.open_nursery() as nursery:
            for actor in actors:
                nursery.start_soon(_live, member, actor, engine)
        raise AssertionError("actors live until they are cancelled")
    finally:
        member.close()
        with trio.CancelScope(shield=True):
            await engine.aclose()


async def arrival(mailbox: Mailbox) -> None:
    """Wait until something is in a mailbox; a checkpoint also when something is."""
    if mailbox.waiting:
        await trio.lowlevel.checkpoint()
        return
    task = trio.lowlevel.current_task()

    def abort(_: object) -> trio.lowlevel.Abort:
        mailbox.wake = None
        return trio.lowlevel.Abort.SUCCEEDED

    mailbox.wake = partial(trio.lowlevel.reschedule, task)
    await trio.lowlevel.wait_task_rescheduled(abort)


async def run_actor(actor: Actor, engine: StorageEngine | None) -> NoReturn:
    """Work batch after batch until cancelled, or until the behaviour crashes, which raises."""
    while True:
        await arrival(actor.mailbox)
        changes = actor.begin()
        failure = None
        if changes:
            assert engine is not None, f"{actor.name} persists without an engine"
            try:
                await engine.commit(changes)
            except StorageError as error:
                failure = str(error)
            except Exception as error:
                actor.refuse(error)
                raise
        actor.finish(failure)


async def _live(member: Member, actor: Actor, engine: StorageEngine) -> NoReturn:
    while True:
        try:
            await run_actor(actor, engine)
        except Exception as error:  # noqa: BLE001 - any bug of a behaviour is a crash, which the supervisor judges
            member.restart(actor, error)
