"""Crew: where trials are played: the cores of this machine, or a Dask cluster.

Layer: simulator/experiment. Both give a `concurrent.futures.Executor`; a campaign uses nothing else of them.
Start at `Crew`.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from importlib import import_module
from multiprocessing.process import BaseProcess
from typing import Final, Protocol, final

from simulator.errors import CrewError, CrewUnreachableError

CONNECT_S: Final = 10
"""How long a cluster may take to answer, s."""


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
