"""Fresh: plans played in a process of their own, which may differ from ours in all that must not matter.

Layer: simulator/experiment. Start at `ask`; the other side is `main`.
"""

import os
import subprocess
import sys
from typing import Final, TypeVar, final

import msgspec

from simulator.errors import SimulationError
from simulator.experiment.examination import Examination, examine
from simulator.experiment.planting import planted
from simulator.experiment.trial import Task
from simulator.experiment.witness import Testimony, watch
from simulator.world.rng import Streams

T = TypeVar("T")

_CODE: Final = "from simulator.experiment.fresh import main; main()"
_JUNK: Final = 20_000
_JUNK_BYTES_MAX: Final = 4096
_COMPLAINT_MAX: Final = 2000


@final
class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What must not matter.

    Attributes:
        hash_seed: PYTHONHASHSEED.
        noise: what is on the heap before; 0 = nothing.
    """

    hash_seed: int
    noise: int

    @property
    def sentence(self) -> str:
        """In words."""
        noise = f"heap noise {self.noise}" if self.noise else "no heap noise"
        return f"a fresh process with hash seed {self.hash_seed} and {noise}"


class Question(msgspec.Struct, frozen=True, tag=True):
    """What a fresh process is asked.

    Attributes:
        task: which plans, and which bug to plant.
        noise: see `Circumstances`.
    """

    task: Task
    noise: int


@final
class Hashes(Question, frozen=True, tag=True):
    """The hashes of `count` seeds from `first` on, each played `times` times."""

    first: int
    count: int
    times: int


@final
class Watch(Question, frozen=True, tag=True):
    """What the run of a seed does, when it is played for the `nth` time; watched closely until an event, if at all."""

    seed: int
    nth: int
    until: int


def ask_hashes(circumstances: Circumstances, seeds: range, *, times: int, task: Task) -> list[list[str]]:
    """For each seed its hashes.

    Raises:
        SimulationError: the process failed.
    """
    question = Hashes(task, circumstances.noise, seeds.start, len(seeds), times)
    return _ask(circumstances, question, list[list[str]])


def ask_to_watch(circumstances: Circumstances, seed: int, *, nth: int, until: int, task: Task) -> Testimony:
    """What the run of a seed does, the `nth` in its process; marks are made until event `until`.

    Raises:
        SimulationError: the process failed.
    """
    return _ask(circumstances, Watch(task, circumstances.noise, seed, nth, until), Testimony)


def _ask(circumstances: Circumstances, question: Hashes | Watch, answer: type[T]) -> T:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(circumstances.hash_seed),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-P", "-c", _CODE],
        input=msgspec.msgpack.encode(question),
        capture_output=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace")[-_COMPLAINT_MAX:]
        raise SimulationError(f"{circumstances.sentence} ended with {done.returncode}: {said}")
    return msgspec.msgpack.decode(done.stdout, type=answer)


def main() -> None:
    """In the fresh process: answer the question on stdin on stdout."""
    question = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Hashes | Watch)
    junk = _make_noise(question.noise)
    with planted(question.task.bug):
        answer: list[list[str]] | Testimony
        if isinstance(question, Hashes):
            seeds = range(question.first, question.first + question.count)
            answer = [[_examine(question.task, seed).hash for _ in range(question.times)] for seed in seeds]
        else:
            for _ in range(question.nth - 1):
                _examine(question.task, question.seed)
            answer = watch(question.task.plan(question.seed), until=question.until, runtime=question.task.runtime)
    del junk
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer))


def _examine(task: Task, seed: int) -> Examination:
    return examine(task.plan(seed), runtime=task.runtime)


def _make_noise(noise: int) -> list[bytes]:
    """Leave holes and neighbours on the heap, so that new objects get other addresses."""
    if not noise:
        return []
    sizes = Streams(noise).stream("heap noise")
    junk = [bytes(1 + sizes.below(_JUNK_BYTES_MAX)) for _ in range(_JUNK)]
    return [piece for piece in junk if sizes.chance(0.5)]
