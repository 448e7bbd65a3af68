"""Storage: where a program wants entries to be kept, in memory or in a file as well, and what it wants to hear of them.

Layer: server. Memory is in front always; what is behind it, if anything, is an engine. A `Storage` is a wish: the
server that it is given to starts it, each time it runs, and owns it then. Start at `Storage.memory`.
"""

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, TypeAlias, final

from pivot.actors.entropy import Entropy
from pivot.config import Database
from pivot.engine.base import StorageEngine
from pivot.engine.memory import MemoryEngine
from pivot.engine.sqlite import SqliteEngine
from pivot.types import Epoch, StoreId

KeyHook: TypeAlias = Callable[[str], Awaitable[object] | object]
"""Called with a key or glob; a plain function, or one that is awaited."""


@final
class Storage(Database):
    """Keeps entries.

    Attributes:
        after_writes: called with the key of each version that was committed, in a task of its own; see `AfterWrites`.
        before_reads: called with the key or glob that is about to be read, and waited for.
    """

    def __init__(self, engine: Callable[[Entropy], StorageEngine], *, called: str) -> None:
        """See `memory` and `sqlite`.

        Args:
            engine: makes what keeps the store, each time it is started.
            called: what it is, for people.
        """
        self.engine = engine
        self.after_writes: list[KeyHook] = []
        self.before_reads: list[KeyHook] = []
        self._called = called

    def __repr__(self) -> str:
        return self._called

    @staticmethod
    def memory() -> "Storage":
        """What is kept is gone when the server stops; its peers bring back what they have."""

        def engine(entropy: Entropy) -> StorageEngine:
            return MemoryEngine(store=StoreId(entropy.new_id()), epoch=Epoch(entropy.new_id()))

        return Storage(engine, called="Storage.memory()")

    @staticmethod
    def sqlite(path: str | Path, *, durability: Literal["full", "normal"] = "full") -> "Storage":
        """What is kept stays in a file.

        Args:
            path: folder of the file, made if it is not there; one server at a time may use it.
            durability: what an acknowledged write survives: `full` a power cut, `normal` the death of the process.
        """
        folder = Path(path)

        def engine(entropy: Entropy) -> StorageEngine:
            return SqliteEngine(folder, new_id=entropy.new_id, durability=durability)

        return Storage(engine, called=f"Storage.sqlite({str(folder)!r})")

    def after_write(self, hook: KeyHook) -> None:
        """Call `hook`, too, with the key of each version that was committed."""
        self.after_writes.append(hook)

    def before_read(self, hook: KeyHook) -> None:
        """Call `hook`, too, before anything is read, with its key or glob."""
        self.before_reads.append(hook)


async def call(hook: KeyHook, key: str) -> None:
    """Call a hook, and wait for it if it is to be awaited."""
    result = hook(key)
    if inspect.isawaitable(result):
        await result
