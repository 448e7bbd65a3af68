"""Seams: the switches of the process, and what virtual time uses of Trio beyond its public face; nobody else may.

Layer: simulator (runtimes); serves `simulator.runtimes.loop`. Start at `deterministic`.

- `_ALLOW_DETERMINISTIC_SCHEDULING` and `_r`: Trio runs the tasks of one turn in random order, and wakes some from sets,
  which are ordered by memory address. With the flag it sorts a turn's tasks and shuffles them with `_r`, which we seed.
- `runner().runq`: whether an event woke anybody (public statistics know it, too, at forty times the price).
- `runner().deadlines.next_deadline()`: an event may have moved a deadline since Trio's loop looked.
- `runner().waiting_for_idle`: whether somebody waits for the moment when no task can run.
- `Task._cancel_status` and `CancelStatus._scope`, `_parent`: the shields of a task that was cancelled and does not end.
"""

import signal
import threading
from collections.abc import Generator, Sized
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol, cast

import trio

from simulator.errors import TrioMovedError
from simulator.runtimes.collector import collector_off

_TRIO_RUN: Final = import_module("trio._core._run")
_FLAG: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
SEAMS: Final = (
    _FLAG,
    "_r.seed",
    "_r.getstate",
    "_r.setstate",
    "GLOBAL_RUN_CONTEXT",
    "Runner.runq",
    "Runner.waiting_for_idle",
    "Runner.deadlines",
    "Deadlines.next_deadline",
    "Task._cancel_status",
    "CancelStatus._scope",
    "CancelStatus._parent",
)
"""What must exist in `trio._core._run`."""

_one_at_a_time = threading.Lock()


class Deadlines(Protocol):
    """All deadlines of a Trio run."""

    def next_deadline(self) -> float:
        """Return the earliest; infinite when there is none."""
        ...


class Runner(Protocol):
    """A Trio run, as far as virtual time looks at it."""

    @property
    def runq(self) -> Sized:
        """Tasks that can run."""
        ...

    @property
    def deadlines(self) -> Deadlines:
        """All deadlines."""
        ...

    @property
    def waiting_for_idle(self) -> Sized:
        """Tasks in `wait_all_tasks_blocked`."""
        ...


def runner() -> Runner:
    """Return the Trio run of this thread."""
    return cast("Runner", _TRIO_RUN.GLOBAL_RUN_CONTEXT.runner)


@contextmanager
def deterministic(seed: int) -> Generator[None, None, None]:
    """Make the Trio run inside depend on `seed` alone; afterwards everything is as it was.

    Sets Trio's scheduling mode and random generator and stops the garbage collector, whose finalizers would run at any
    moment. These belong to the process, so threads wait here for each other.

    Raises:
        TrioMovedError: this version of Trio lacks a seam; nothing was changed.
    """
    for seam in SEAMS:
        try:
            attrgetter(seam)(_TRIO_RUN)
        except AttributeError:
            raise TrioMovedError(f"trio._core._run.{seam}", trio.__version__) from None
    settings = vars(_TRIO_RUN)
    random = _TRIO_RUN._r
    is_main_thread = threading.current_thread() is threading.main_thread()
    with _one_at_a_time, collector_off():
        flag, state = settings[_FLAG], random.getstate()
        # An asyncio loop below us (Jupyter) may hold the wake-up descriptor, and Trio warns when it finds one.
        wakeup_fd = signal.set_wakeup_fd(-1) if is_main_thread else -1
        try:
            settings[_FLAG] = True
            random.seed(seed)
            yield
        finally:
            settings[_FLAG] = flag
            random.setstate(state)
            if is_main_thread:
                signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)


def waiting_tasks(root: trio.lowlevel.Task | None) -> tuple[str, ...]:
    """Name `root` and all tasks below it, each with the place outside Trio where it waits; sorted."""
    return tuple(sorted(f"{task.name} at {_place(task)}" for task in _tasks(root)))


def lift_shields(root: trio.lowlevel.Task | None) -> None:
    """Let cancellation reach `root` and all tasks below it."""
    for task in _tasks(root):
        status: Any = getattr(task, "_cancel_status", None)
        while status is not None:
            status._scope.shield = False
            status = status._parent


def _tasks(root: trio.lowlevel.Task | None) -> list[trio.lowlevel.Task]:
    """List `root` and all tasks below it, in no particular order: a nursery's tasks are a set."""
    tasks = [] if root is None else [root]
    for task in tasks:
        tasks.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return tasks


def _place(task: trio.lowlevel.Task) -> str:
    trio_folder = Path(trio.__file__).parent
    place = "its start"
    for frame, line in task.iter_await_frames():
        assert isinstance(frame, FrameType)
        path = Path(frame.f_code.co_filename)
        if trio_folder not in path.parents:
            place = f"{path.name}:{line}"
    return place
