"""Supervisor: restarts actors that crash, and gives up when one crashes too often.

Layer: actors (Trio-free). Restart intensity as in Erlang: more than `restarts_max` crashes within `restarts_s` end the
member with an error that names the actor. A vital actor (storage) is never restarted: what it held in memory may differ
from what is kept, so its crash ends the member at once.
"""

from collections import deque
from collections.abc import Callable
from typing import final

from pivot.actors.actor import Actor
from pivot.errors import RestartLimitError


@final
class Supervisor:
    """Decides what a crash means."""

    def __init__(
        self, *, vital: str, restarts_max: int, restarts_s: float, on_restart: Callable[[str, Exception], None]
    ) -> None:
        """Begin without crashes.

        Args:
            vital: the actor that is never restarted.
            restarts_max: crashes of one actor that are forgiven within `restarts_s`.
            restarts_s: how long a crash is remembered, s.
            on_restart: called with the actor's name and the error before it runs again.
        """
        self._vital = vital
        self._restarts_max = restarts_max
        self._restarts_s = restarts_s
        self._on_restart = on_restart
        self._crashes: dict[str, deque[float]] = {}

    def restart(self, actor: Actor, error: Exception, *, now_s: float) -> None:
        """Prepare another life of an actor that has crashed; `now_s` is monotonic.

        Raises:
            RestartLimitError: it crashed too often.
            Exception: `error`, with which the vital actor crashed.
        """
        if actor.name == self._vital:
            raise error
        crashes = self._crashes.setdefault(actor.name, deque())
        crashes.append(now_s)
        while now_s - crashes[0] > self._restarts_s:
            crashes.popleft()
        if len(crashes) > self._restarts_max:
            raise RestartLimitError(
                f"actor {actor.name!r} crashed {len(crashes)} times within {self._restarts_s:g} s, "
                f"at most {self._restarts_max} are forgiven; last: {error!r}"
            ) from error
        self._on_restart(actor.name, error)
        actor.prepare()
