"""OwnerThread: one thread for everything that is done with one thing, such as a connection to SQLite.

Layer: engine. Trio's own worker threads take turns: one after the other may touch a connection. Here it is always the
same, so SQLite's check that a connection stays in its thread can be left on. A call is one hop there and one back.

A call that has begun is waited for to its end, also when the caller is cancelled: what it did to the disk is done, and
whoever asked must not go on as if it had not been. Start at `OwnerThread.run`.
"""

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeAlias, TypeVar, final

import trio

_T = TypeVar("_T")
_Queue: TypeAlias = "SimpleQueue[Callable[[], None] | None]"


@final
class OwnerThread:
    """A thread that begins with the first call and ends with `stop`, or when nobody has this object any more."""

    def __init__(self, name: str) -> None:
        """Begin without a thread.

        Args:
            name: of the thread, for people who look at a process.
        """
        self._name = name
        self._queue: _Queue | None = None

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do `work` in the thread, after what was given to it before; returns or raises what it does."""
        await trio.lowlevel.checkpoint_if_cancelled()
        token, done = trio.lowlevel.current_trio_token(), trio.Event()
        results: list[_T] = []
        errors: list[BaseException] = []

        def carry_out() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
                errors.append(error)
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(done.set)

        if self._queue is None:
            self._queue = self._start()
        self._queue.put(carry_out)
        with trio.CancelScope(shield=True):
            await done.wait()
        if errors:
            try:
                raise errors.pop()
            finally:
                del errors  # else the error's traceback and this frame hold each other
        return results.pop()

    def stop(self) -> None:
        """End the thread once it has done what it was given; a later call begins another."""
        if self._queue is not None:
            self._queue.put(None)
            self._queue = None

    def _start(self) -> _Queue:
        queue: _Queue = SimpleQueue()
        weakref.finalize(self, queue.put, None)
        # A daemon: should the event loop have died, a thread that waits for work must not keep the process.
        threading.Thread(target=_work, args=(queue,), name=self._name, daemon=True).start()
        return queue


def _work(queue: _Queue) -> None:
    while (carry_out := queue.get()) is not None:
        carry_out()
        del carry_out  # not kept until there is more to do
