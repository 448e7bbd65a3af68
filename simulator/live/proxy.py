"""Proxy: a TCP link that can be cut, in front of a real server.

Layer: simulator/live. A cut resets what is connected and refuses what wants to connect, as a dead cable with a live
router does; the address stays, so members find each other when it heals.
"""

from collections.abc import Callable
from typing import final

import trio


@final
class Proxy:
    """Forwards connections to wherever its target listens at that moment. Runs with `run`."""

    def __init__(self, target: Callable[[], str]) -> None:
        """Prepare a proxy.

        Args:
            target: gives `host:port` for each new connection.
        """
        self._target = target
        self._address = ""
        self._cut = False
        self._connections: dict[trio.CancelScope, None] = {}

    @property
    def address(self) -> str:
        """`http://host:port` where it listens."""
        return f"http://{self._address}"

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        self._cut = True
        for connection in self._connections:
            connection.cancel()

    def heal(self) -> None:
        """Forward again."""
        self._cut = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Forward until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        host, port = listeners[0].socket.getsockname()
        self._address = f"{host}:{port}"
        task_status.started()
        await trio.serve_listeners(self._forward, listeners)

    async def _forward(self, client: trio.SocketStream) -> None:
        host, _, port = self._target().rpartition(":")
        connection = trio.CancelScope()
        self._connections[connection] = None
        try:
            with connection:
                if self._cut:
                    return
                async with await trio.open_tcp_stream(host, int(port)) as server, trio.open_nursery() as nursery:
                    nursery.start_soon(_copy, client, server, nursery.cancel_scope)
                    nursery.start_soon(_copy, server, client, nursery.cancel_scope)
        except OSError:
            pass  # nobody listens there: to the client that looks like a broken link, which it is
        finally:
            del self._connections[connection]
            await trio.aclose_forcefully(client)


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    try:
        async for chunk in source:
            await sink.send_all(chunk)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()
