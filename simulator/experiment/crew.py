"""Crew: where trials are played: the cores of this machine, or a Dask cluster.

Layer: simulator/experiment. Both give a `concurrent.futures.Executor`; a campaign uses nothing else of them.
Start at `Crew`.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from importlib import import_module
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import Final, Protocol, TypeVar, final

from simulator.errors import CrewError, CrewUnreachableError

A = TypeVar("A")
B = TypeVar("B")

CONNECT_S: Final = 10
"""How long a cluster may take to answer, s."""


_UNDER_WAY: Final = 2
"""For each worker: what it does, and what it does next."""


class Crew(Protocol):
    """Gives executors.

    Attributes:
        size: how many trials it plays at a time.
    """

    @property
    def size(self) -> int:
        """How many trials it plays at a time."""
        ...

    def open(self) -> Executor:
        """A new executor; only one is used at a time.

        Raises:
            CrewError: there is none.
        """
        ...

    def abandon(self, executor: Executor) -> None:
        """Stop what it does, without waiting for the end."""
        ...

    def close(self) -> None:
        """It is not needed any more."""
        ...


@final
class Processes:
    """Processes on this machine, as many as cores unless told otherwise."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size or len(os.sched_getaffinity(0))
        self._others: list[BaseProcess] = []

    @property
    def size(self) -> int:
        """See `Crew.size`."""
        return self._size

    def open(self) -> Executor:
        """See `Crew.open`."""
        self._others = multiprocessing.active_children()
        # A fork would copy locks that threads of ours hold.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._size, mp_context=context, initializer=_begin_work)

    def abandon(self, executor: Executor) -> None:
        """See `Crew.abandon`."""
        executor.shutdown(wait=False, cancel_futures=True)
        _terminate(child for child in multiprocessing.active_children() if child not in self._others)

    def close(self) -> None:
        """See `Crew.close`."""


@final
class Dask:
    """The workers of a Dask cluster; they need this package, too (extra `dask`)."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            CrewError: the extra is not installed.
            CrewUnreachableError: no cluster answers at `address`.
        """
        try:
            distributed = import_module("distributed")
        except ImportError:
            raise CrewError(
                f"a Dask cluster ({address}) needs the package distributed: install the extra dask"
            ) from None
        try:
            self._client = distributed.Client(address, timeout=CONNECT_S)
        except OSError as error:
            raise CrewUnreachableError(f"no Dask cluster at {address}: {error}") from None

    @property
    def size(self) -> int:
        """See `Crew.size`."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def open(self) -> Executor:
        """See `Crew.open`."""
        executor: Executor = self._client.get_executor(pure=False, retries=0)
        return executor

    def abandon(self, executor: Executor) -> None:
        """See `Crew.abandon`."""
        executor.shutdown(wait=False)  # Dask cancels by that alone

    def close(self) -> None:
        """See `Crew.close`."""
        self._client.close()


def spread(crew: Crew, work: Callable[[A], B], wanted: Iterable[A], on_done: Callable[[A, B], None]) -> None:
    """Let a crew work on things wherever there is room.

    Args:
        crew: who works.
        work: what is done with each; a function of a module, which workers can import.
        wanted: the things.
        on_done: called with each that is done, and what came of it, in any order.

    Raises:
        CrewError: a worker died.
        KeyboardInterrupt: Ctrl-C.
        Exception: what `work` raised.
    """
    executor = crew.open()
    under_way: dict[Future[B], A] = {}
    rest = iter(wanted)
    try:
        while True:
            for each in islice(rest, crew.size * _UNDER_WAY - len(under_way)):
                under_way[executor.submit(work, each)] = each
            if not under_way:
                break
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                on_done(under_way[future], future.result())
                del under_way[future]
    except BrokenExecutor:
        crew.abandon(executor)
        names = ", ".join(f"{each}" for each in under_way.values())
        raise CrewError(f"a worker died; under way were {names}") from None
    except BaseException:
        crew.abandon(executor)
        raise
    executor.shutdown()


def _begin_work() -> None:
    """In a worker: end without a word when the whole group is interrupted, and when whoever started us is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has one"
    parent.join()
    os._exit(1)


def _terminate(processes: Iterable[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
