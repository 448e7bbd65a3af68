"""Real processes for the tests: `pivot serve` members and one-shot commands. Nothing is left running."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulator.live import member as live_member

WAIT_S = 30.0
"""Longest that anything here is waited for, s; a bound for what hangs, not a measure."""
COMMAND = [sys.executable, "-m", "pivot"]
SERVE = (*COMMAND, "serve")
LIVE_MEMBER = (sys.executable, "-P", str(live_member.__file__))
"""Takes a configuration file, and a file that says how wrong its clock is."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what would tell `pivot` something."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PIVOT_")}
    return {**ours, **(extra or {})}


def pivot(*arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command to its end; returns exit code, stdout, stderr."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env=clean_environment(environment),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def pivot_json(*arguments: str, stdin: str = "") -> Any:
    """Run a command that must succeed with `--json`; returns what it printed."""
    code, out, err = pivot(*arguments, "--json", stdin=stdin)
    assert code == 0, err
    return json.loads(out)


class Serving:
    """A running `pivot serve`."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self._log = log
        assert process.stdout is not None
        watchdog = threading.Timer(WAIT_S, process.kill)
        watchdog.start()
        first = process.stdout.readline()
        watchdog.cancel()
        assert first.startswith("listening on http://"), first + self.log
        self.url = first.removeprefix("listening on ").strip()
        self.address = self.url.removeprefix("http://")

    @property
    def log(self) -> str:
        return self._log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """Its log so far, of a member started with `--log json`."""
        return [json.loads(line) for line in self.log.splitlines()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)


@contextmanager
def serving(
    folder: Path, *flags: str, environment: Mapping[str, str] | None = None, program: Sequence[str] = SERVE
) -> Generator[Serving, None, None]:
    """Run a member with these flags, on a port that the system picks unless they name one."""
    log = folder / f"serve-{time.monotonic_ns()}.log"
    told = (
        program is not SERVE
        or ("--listen" in flags)
        or ("PIVOT_LISTEN" in (environment or {}))
        or ("--config" in flags)
    )
    command = [*program, *flags, *(() if told else ("--listen", "127.0.0.1:0"))]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=clean_environment(environment),
        ) as process,
    ):
        try:
            yield Serving(process, log)
        finally:
            process.kill()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something in another process is so."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"not so within {WAIT_S:g} s"
        time.sleep(0.05)
