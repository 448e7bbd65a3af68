"""Witness: everything that our code did in one run, as a log that can be compared with that of another run.

Layer: simulator/experiment. Start at `watch`, then `first_difference`.

A leak (clock, random, set order, id, thread, whatever comes next) enters a run on some line, as a value that the other
run does not have: so the line is found by looking at values, not by a list of forbidden functions. While the plan is
played, the log gets one mark for every call (arguments), every line (local variables that were set) and every return
(the value) of code that is neither Python's nor of an installed package. A mark is a checksum of plain data only: of
what has an address or a hash in its `repr` no more than the type counts, of a set only its size. The first mark in
which two runs differ names the line that ran just before.
"""

import sys
import sysconfig
from array import array
from binascii import crc32
from collections.abc import Iterable, Iterator
from itertools import islice
from linecache import getline
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast, final

import msgspec

import pivot
import simulator
from simulator.experiment.plan import Plan
from simulator.experiment.simulation import Run
from simulator.runtimes import seams
from simulator.runtimes.base import RuntimeName
from simulator.world.trace import Trace, TraceEvent

MARKS_MAX: Final = 20_000_000
"""Where a log ends: 160 MB."""
_DEPTH: Final = 2
_ITEMS_MAX: Final = 8
_RECORD: Final = Trace.record.__code__
_ABSENT: Final = object()
_SCALARS: Final = (int, float, str, bool, type(None))
_OURS: Final = tuple(str(Path(str(package.__file__)).parent) for package in (pivot, simulator))
_BLIND: Final = (__file__, seams.__file__)
"""Seams look at what the process was before the run, to put it back."""
_THEIRS: Final = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


@final
class Testimony(msgspec.Struct, frozen=True):
    """What one run did.

    Attributes:
        hash: of the run.
        events: its trace.
        places: (file, line, function) of marks.
        marks: for each mark the number of its place, times 2**32, plus the checksum; 64 bits each, of this machine.
    """

    hash: str
    events: tuple[TraceEvent, ...]
    places: tuple[tuple[str, int, str], ...]
    marks: bytes


@final
class Place(msgspec.Struct, frozen=True):
    """A line of code.

    Attributes:
        file: path of the file.
        line: its number.
        function: what it is in.
    """

    file: str
    line: int
    function: str

    @property
    def sentence(self) -> str:
        """The place, and what is there."""
        return f"{self.file}:{self.line} in {self.function}: {getline(self.file, self.line).strip()}"


def watch(plan: Plan, *, until: int, runtime: RuntimeName) -> Testimony:
    """Play a plan under a witness, which is slow; the run is the same as without one.

    Args:
        plan: what to play.
        runtime: what it is played on.
        until: `seq` of the event after which nobody needs to watch any more.
    """
    witness = _Witness(until)
    before = sys.gettrace()
    sys.settrace(witness.enter)
    try:
        run = Run.of(plan, keep_trace=True, runtime=runtime)
    finally:
        sys.settrace(before)
    return Testimony(run.hash, run.trace, tuple(witness.places), witness.marks.tobytes())


def first_difference(one: Testimony, other: Testimony) -> Place | None:
    """Where two runs first differ; None when their logs do not."""
    ours, theirs = array("Q"), array("Q")
    ours.frombytes(one.marks)
    theirs.frombytes(other.marks)
    length = min(len(ours), len(theirs))
    at = next((at for at in range(length) if ours[at] != theirs[at]), None)
    if at is None:
        if len(ours) == len(theirs):
            return None
        at = length - 1  # one ends here
    return Place(*one.places[ours[at] >> 32])


@final
class _Witness:
    """A trace function for `sys.settrace`, and its log."""

    def __init__(self, until: int) -> None:
        self.marks = array("Q")
        self.places: dict[tuple[str, int, str], int] = {}
        self._events_left = until + 1
        self._ours: dict[str, bool] = {}
        self._open: dict[FrameType, tuple[int, dict[str, object]]] = {}  # frame -> line it is on, locals before it

    def enter(self, frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401 - a trace function
        """A call begins, or goes on."""
        if not self._is_ours(frame.f_code.co_filename):
            return None
        if frame.f_code is _RECORD:
            self._events_left -= 1
            if self._events_left < 0:
                sys.settrace(None)
        caller = frame.f_back
        where = caller if caller is not None and self._is_ours(caller.f_code.co_filename) else frame
        values = dict(frame.f_locals)
        self._open[frame] = (frame.f_lineno, values)
        self._mark(where, where.f_lineno, values.values())
        return self.inside

    def inside(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401 - likewise
        """Something happens in a call of ours."""
        if event == "line":
            line, before = self._open[frame]
            values = dict(frame.f_locals)
            self._open[frame] = (frame.f_lineno, values)
            new = [value for name, value in values.items() if before.get(name, _ABSENT) is not value]
            self._mark(frame, line, new)
        elif event == "return":
            del self._open[frame]
            self._mark(frame, frame.f_lineno, (argument,))
        return self.inside

    def _mark(self, frame: FrameType, line: int, values: Iterable[object]) -> None:
        if len(self.marks) >= MARKS_MAX:
            return
        code = frame.f_code
        number = self.places.setdefault((code.co_filename, line, code.co_qualname), len(self.places))
        text = repr([_plain(value, _DEPTH) for value in values])
        self.marks.append(number << 32 | crc32(text.encode("utf-8", "surrogatepass")))

    def _is_ours(self, file: str) -> bool:
        known = self._ours.get(file)
        if known is None:
            foreign = file.startswith((*_THEIRS, "<"))
            known = self._ours[file] = file not in _BLIND and (file.startswith(_OURS) or not foreign)
        return known


def _plain(value: object, depth: int) -> object:
    """What of a value is the same in equal runs."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, bytes | bytearray):
        return crc32(value)
    kind = type(value).__name__
    if not depth:
        return kind
    if isinstance(value, list | tuple):
        items = cast("list[object]", value)
        return kind, len(items), [_plain(item, depth - 1) for item in items[:_ITEMS_MAX]]
    if isinstance(value, dict):
        pairs = islice(cast("dict[object, object]", value).items(), _ITEMS_MAX)
        return kind, [(_plain(key, depth - 1), _plain(item, depth - 1)) for key, item in pairs]
    if isinstance(value, set | frozenset):
        return kind, len(cast("set[object]", value))
    return kind, list(_attributes(value, depth))


def _attributes(value: object, depth: int) -> Iterator[object]:
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield _plain(getattr(value, name), depth - 1)
        return
    attributes: dict[str, object] = getattr(value, "__dict__", {})
    for item in attributes.values():
        if isinstance(item, _SCALARS):
            yield item
