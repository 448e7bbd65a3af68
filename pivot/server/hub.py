"""Hub: views and who is subscribed to them; brings every commit to all whom it concerns, in one encoded frame per view.

Layer: server. Theory of operation:

A view begins to collect committed versions *before* it asks storage for the state, and takes them in when the answer is
there. What storage had already counted is taken twice, which changes nothing; nothing is missed. From then on the first
snapshot of a subscriber and its registration happen without a pause between them, so the patches it gets begin exactly
where its snapshot ends.

Storage only leaves what it has committed (`publish`); one task here makes operations and frames of it, so a write does
not wait for its watchers, and versions of one key that were committed meanwhile make one frame. Frames wait in a
bounded queue per subscriber, and are shared, not copied. Whoever does not keep up is dropped and told so: his next
subscription begins with what he has missed.

    cold -(storage answers)-> live -(last subscriber leaves)-> gone

Start at `Hub.subscribed`, then `Hub.run`.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, final

import msgspec
import trio

from pivot.core.entry import Entry
from pivot.paths import is_glob, matches
from pivot.server.shown import Show, ShownView
from pivot.server.view import Operation, View

QUEUE_FRAMES_MAX: Final = 1000
QUEUE_BYTES_MAX: Final = 8 * 2**20
"""What may wait for one subscriber, beside the frame that is being sent; one frame may always wait."""

Load = Callable[[str], Awaitable[Iterable[Entry]]]
"""Reads the live entries of a key or glob; may fail."""
ShowOf = Callable[[str], Show | None]
"""What filters make of the entries of a key or glob; None = they are shown as they are."""


class Frame(msgspec.Struct, frozen=True):
    """What goes over a WebSocket: a state, or the operations that lead from the last frame's version to this one."""

    snapshot: bool
    version: str
    data: msgspec.Raw | list[Operation]


@final
class Subscriber:
    """The frames that wait for one subscriber.

    Attributes:
        dropped: set when it did not keep up; nothing more waits for it then.
    """

    def __init__(self) -> None:
        self.dropped = trio.Event()
        self._frames = deque[bytes]()
        self._bytes = 0
        self._woken = trio.Event()
        self._ended = False

    def offer(self, frame: bytes) -> None:
        """Leave a frame; drops the subscriber when too much waits for it."""
        if self._ended:
            return
        self._bytes += len(frame)
        if self._frames and (len(self._frames) >= QUEUE_FRAMES_MAX or self._bytes > QUEUE_BYTES_MAX):
            self._frames.clear()
            self.dropped.set()
            self.end()
            return
        self._frames.append(frame)
        self._woken.set()

    def end(self) -> None:
        """Let no more come; what waits is still taken."""
        self._ended = True
        self._woken.set()

    async def take(self) -> bytes | None:
        """The next frame, as soon as there is one; None = there are no more."""
        while not self._frames:
            if self._ended:
                return None
            self._woken = trio.Event()
            await self._woken.wait()
        frame = self._frames.popleft()
        self._bytes -= len(frame)
        return frame


@final
class _Watched:
    """A pattern that somebody watches.

    Attributes:
        view: None while it is cold.
        pending: committed versions that the view has not taken in, the last of each key.
        subscribers: those who hold the view's state.
        users: how many hold it or are about to.
        loading: held by the one who loads it.
        snapshot: the frame that begins a subscription; None = not encoded since the last change.
    """

    def __init__(self) -> None:
        self.view: View | ShownView | None = None
        self.pending: dict[str, Entry] = {}
        self.subscribers: dict[Subscriber, None] = {}
        self.users = 0
        self.loading = trio.Lock()
        self.snapshot: bytes | None = None


@final
class Hub:
    """All views of one server.

    Attributes:
        closed: whether the server stops; there are no more frames then.
    """

    def __init__(self, load: Load, show_of: ShowOf = lambda _: None) -> None:
        """Begin without views.

        Args:
            load: reads the state of a pattern; whatever is published after it was called need not be in it.
            show_of: says how a pattern is shown.
        """
        self.closed = False
        self._show_of = show_of
        self._load = load
        self._keys: dict[str, _Watched] = {}
        self._globs: dict[str, _Watched] = {}
        self._dirty: dict[str, _Watched] = {}
        self._woken = trio.Event()

    def publish(self, entries: Iterable[Entry]) -> None:
        """Take committed versions, in commit order; cheap, and tells nobody yet."""
        for entry in entries:
            watched = self._keys.get(entry.key)
            if watched is not None:
                self._leave(entry.key, watched, entry)
            for pattern, watched in self._globs.items():
                if matches(pattern, entry.key):
                    self._leave(pattern, watched, entry)

    def _leave(self, pattern: str, watched: _Watched, entry: Entry) -> None:
        watched.pending[entry.key] = entry
        self._dirty[pattern] = watched
        self._woken.set()

    async def run(self) -> None:
        """Bring what is published to the subscribers until cancelled."""
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            dirty, self._dirty = self._dirty, {}
            for watched in dirty.values():
                _flush(watched)
                await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """End all subscriptions, and every later one at once."""
        self.closed = True
        for watched in (*self._keys.values(), *self._globs.values()):
            for subscriber in watched.subscribers:
                subscriber.end()

    def is_watched(self, pattern: str) -> bool:
        """Whether anybody watches just this key or glob."""
        return pattern in self._keys or pattern in self._globs

    def statistics(self) -> dict[str, int]:
        """Pattern -> how many are subscribed to it."""
        watched = {**self._keys, **self._globs}
        return {pattern: len(watched[pattern].subscribers) for pattern in sorted(watched)}

    @asynccontextmanager
    async def subscribed(self, pattern: str, version: str = "") -> AsyncGenerator[Subscriber, None]:
        """Subscribe to a key or glob: a snapshot, unless the state has this version, then patches.

        Raises:
            PivotError: the state cannot be read.
        """
        table = self._globs if is_glob(pattern) else self._keys
        watched = table.setdefault(pattern, _Watched())
        watched.users += 1
        subscriber = Subscriber()
        try:
            async with watched.loading:
                if watched.view is None:
                    entries, show = await self._load(pattern), self._show_of(pattern)
                    watched.view = View(pattern, entries) if show is None else ShownView(show, entries)
            # From here to the registration nothing else runs.
            _flush(watched)
            if watched.view.version != version:
                subscriber.offer(_snapshot(watched, watched.view))
            watched.subscribers[subscriber] = None
            if self.closed:
                subscriber.end()
            yield subscriber
        finally:
            watched.subscribers.pop(subscriber, None)
            watched.users -= 1
            if not watched.users:
                del table[pattern]
                self._dirty.pop(pattern, None)


def _flush(watched: _Watched) -> None:
    """Take in what is pending, and leave it to the subscribers in one frame."""
    view = watched.view
    if view is None or not watched.pending:
        return
    pending, watched.pending = watched.pending, {}
    changed = view.update(pending.values())
    if not changed:
        return
    watched.snapshot = None
    if watched.subscribers:
        if isinstance(changed, bool):
            frame = _snapshot(watched, view)
        else:
            frame = msgspec.json.encode(Frame(snapshot=False, version=view.version, data=changed))
        for subscriber in watched.subscribers:
            subscriber.offer(frame)


def _snapshot(watched: _Watched, view: View | ShownView) -> bytes:
    if watched.snapshot is None:
        frame = Frame(snapshot=True, version=view.version, data=msgspec.Raw(view.state()))
        watched.snapshot = msgspec.json.encode(frame)
    return watched.snapshot
