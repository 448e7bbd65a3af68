"""Stores: everything that one server keeps, whichever of its storages has it; the verbs on keys and globs.

Layer: server. Each storage is run by a member of its own, with its own engine, clock and feed; they share the server's
connections. Most servers have one, which keeps every key that no other storage is configured for. A verb on a key goes
to the member that keeps it, a verb on a glob to all whose keys it may match. Start at `Stores.of`.
"""

from collections.abc import Iterable
from typing import final

import trio

from pivot.actors.member import Member
from pivot.actors.ref import Ref
from pivot.config import Config
from pivot.core.entry import Entry
from pivot.core.questions import (
    Describe,
    Entries,
    Get,
    Keys,
    ListAll,
    ListKeys,
    Misfit,
    Patch,
    PushItem,
    Put,
    Question,
    Remove,
    StoreInfo,
    Written,
)
from pivot.core.store import UNREPLICATED
from pivot.errors import BadKeyError, BadValueError, NotRunningError
from pivot.paths import is_glob, matches, overlap
from pivot.server.answers import ASK_DEADLINE_S
from pivot.server.storage import KeyHook, Storage, call


@final
class Stores:
    """The members of one server, by what they keep.

    Attributes:
        config: of the whole server.
        own: runs the server's own storage.
        before_reads: called with each key or glob that is about to be read, before those of the storage.
    """

    def __init__(self, config: Config, own: Member, storage: Storage) -> None:
        """Begin with the server's own storage; those that keys name are not there yet.

        Args:
            config: what the server replicates and with whom.
            own: runs the server's own storage.
            storage: that one.
        """
        self.config = config
        self.own = own
        self.before_reads: list[KeyHook] = []
        self._storages: dict[Member, Storage] = {own: storage}
        self._elsewhere: dict[str, Member | None] = {
            key.path: None for key in config.keys if key.database not in (None, storage)
        }

    @property
    def members(self) -> tuple[Member, ...]:
        """All that run, the own one first."""
        return tuple(self._storages)

    def runs(self, storage: Storage) -> bool:
        """Whether a storage runs here."""
        return storage in self._storages.values()

    def add(self, paths: Iterable[str], member: Member, storage: Storage) -> None:
        """From now on these collections are kept by another member."""
        self._storages[member] = storage
        self._elsewhere.update(dict.fromkeys(paths, member))

    def of(self, key: str) -> Member:
        """Who keeps a key, or what is pushed to a glob.

        Raises:
            NotRunningError: a storage that was not attached.
        """
        for path, member in self._elsewhere.items():
            if matches(path, key):
                if member is None:
                    raise NotRunningError(f"key {key!r} is kept by the storage of {path!r}, which was not attached")
                return member
        return self.own

    def matching(self, pattern: str) -> list[Member]:
        """Who may keep something that a glob matches; what was not attached has nothing."""
        others = (member for path, member in self._elsewhere.items() if overlap(path, pattern))
        return list(dict.fromkeys([self.own, *(member for member in others if member is not None)]))

    # Reading -----------------------------------------------------------------------------------------------------

    async def read(self, pattern: str) -> tuple[Entry, ...]:
        """Live entries: that of a key, if there is one, or all that a glob matches, newest `created` first.

        Raises:
            PivotError: see `Ref.ask` and `of`.
        """
        members = self._keepers(pattern)
        await before_read(self.before_reads, pattern)
        for member in members:
            await before_read(self._storages[member].before_reads, pattern)
        return await self.entries(pattern)

    async def entries(self, pattern: str) -> tuple[Entry, ...]:
        """As `read`, and nobody hears of it."""
        members = self._keepers(pattern)
        found = [entry for member in members for entry in await self._read(member, pattern)]
        if len(members) > 1:
            found.sort(key=lambda entry: (-entry.created, entry.key))
        return tuple(found)

    def _keepers(self, pattern: str) -> list[Member]:
        return self.matching(pattern) if is_glob(pattern) else [self.of(pattern)]

    async def _read(self, member: Member, pattern: str) -> tuple[Entry, ...]:
        question = ListAll(pattern) if is_glob(pattern) else Get(pattern)
        found = await Ref(member).ask(question, deadline_s=ASK_DEADLINE_S)
        assert isinstance(found, Entries), found
        return found.entries

    async def keys(self, containing: str) -> tuple[str, ...]:
        """Names of all live entries that contain a text, in order."""
        names: list[str] = []
        for member in self.members:
            found = await Ref(member).ask(ListKeys(containing), deadline_s=ASK_DEADLINE_S)
            assert isinstance(found, Keys), found
            names += found.keys
        return tuple(sorted(names))

    async def describe(self, *, deadline_s: float = ASK_DEADLINE_S) -> StoreInfo:
        """All stores in numbers: those of the own one, with the collections of the others."""
        infos: list[StoreInfo] = []
        for member in self.members:
            info = await Ref(member).ask(Describe(), deadline_s=deadline_s)
            assert isinstance(info, StoreInfo), info
            infos.append(info)
        own, *others = infos
        replicated = tuple(each for info in others for each in info.collections if each.path != UNREPLICATED)
        return StoreInfo(
            own.store,
            own.epoch,
            max(info.clock for info in infos),
            sum(info.conflicts for info in infos),
            (*replicated, *own.collections),
        )

    # Writing -----------------------------------------------------------------------------------------------------

    async def put(self, key: str, data: str) -> Written:
        """Create or replace one entry; `data` is canonical JSON."""
        return await _write(self.of(key), Put(key, data))

    async def push(self, pattern: str, data: str) -> Written:
        """Create a new entry in a list."""
        return await _write(self.of(pattern), PushItem(pattern, data))

    async def patch(self, key: str, data: str) -> Written:
        """Merge an object into an entry; nothing is written when there is none.

        Raises:
            BadValueError: the two do not fit.
        """
        return await _write(self.of(key), Patch(key, data))

    async def remove(self, pattern: str) -> Written:
        """Delete an entry, or all that a glob matches; in each storage it is one commit."""
        done = [await _write(member, Remove(pattern)) for member in self._keepers(pattern)]
        return Written(
            tuple(key for written in done for key in written.keys),
            tuple(stamp for written in done for stamp in written.stamps),
        )

    # Confirming --------------------------------------------------------------------------------------------------

    def check_has_leader(self, pattern: str) -> None:
        """Refuse to wait for a confirmation that nobody could give.

        Raises:
            BadKeyError: no collection matches it.
        """
        if not any(overlap(path, pattern) for path in self.config.collections()):
            raise BadKeyError(pattern, "is in no collection, so no leader can confirm it")

    async def wait_confirmed(self, written: Written, *, timeout_s: float) -> bool:
        """Whether, within `timeout_s`, the leaders of all that was written have it, or something later.

        A write is done when it is kept here; who wants more waits here, and storage does not wait for him.
        """
        missing = dict(zip(written.keys, written.stamps, strict=True))
        woken = trio.Event()

        def look(keys: tuple[str, ...]) -> None:
            for key in keys:
                member = self.of(key)
                if key in missing and (not member.replicates(key) or member.is_confirmed(key, missing[key])):
                    del missing[key]
            if not missing:
                woken.set()

        forget = [member.on_confirmed(look) for member in self.members]
        try:
            look(tuple(missing))  # it may have happened before we listened
            with trio.move_on_after(timeout_s):
                await woken.wait()
            return not missing
        finally:
            for each in forget:
                each()


async def before_read(hooks: Iterable[KeyHook], pattern: str) -> None:
    """Call hooks, one after another."""
    for hook in hooks:
        await call(hook, pattern)


async def _write(member: Member, question: Question) -> Written:
    """Have storage write something.

    Raises:
        BadValueError: a patch does not fit.
        PivotError: see `Ref.ask`.
    """
    result = await Ref(member).ask(question, deadline_s=ASK_DEADLINE_S)
    if isinstance(result, Misfit):
        raise BadValueError(result.reason)
    assert isinstance(result, Written), result
    return result
