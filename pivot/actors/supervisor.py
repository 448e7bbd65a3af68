"""Supervisor: restarts actors that crash, and gives up when one crashes too often.

Layer: actors. Restart intensity as in Erlang: more than `restarts_max` crashes within `restarts_s` end the member with
an error that names the actor. A vital actor (storage) is never restarted: what it held in memory may differ from what
is kept, so its crash ends the member at once.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import final

import trio

from pivot.actors.actor import Actor
from pivot.errors import RestartLimitError


@final
class Supervisor:
    """Keeps actors running."""

    def __init__(self, *, restarts_max: int, restarts_s: float, on_restart: Callable[[str, Exception], None]) -> None:
        """Begin without crashes.

        Args:
            restarts_max: crashes of one actor that are forgiven within `restarts_s`.
            restarts_s: how long a crash is remembered, s.
            on_restart: called with the actor's name and the error before it runs again.
        """
        self._restarts_max = restarts_max
        self._restarts_s = restarts_s
        self._on_restart = on_restart

    async def run(self, actors: Iterable[Actor], *, vital: Actor) -> None:
        """Run all actors until cancelled.

        Raises:
            RestartLimitError: an actor crashed too often (in an exception group with what else failed).
            Exception: what the vital actor crashed with.
        """
        others = tuple(actors)
        for actor in (vital, *others):
            actor.prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(vital.run)
            for actor in others:
                nursery.start_soon(self._keep, actor)

    async def _keep(self, actor: Actor) -> None:
        crashes: deque[float] = deque()
        while True:
            try:
                await actor.run()
            except Exception as error:
                now = trio.current_time()
                crashes.append(now)
                while now - crashes[0] > self._restarts_s:
                    crashes.popleft()
                if len(crashes) > self._restarts_max:
                    raise RestartLimitError(
                        f"actor {actor.name!r} crashed {len(crashes)} times within {self._restarts_s:g} s, "
                        f"at most {self._restarts_max} are forgiven; last: {error!r}"
                    ) from error
                self._on_restart(actor.name, error)
                actor.prepare()
