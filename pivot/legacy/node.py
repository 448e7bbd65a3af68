"""OriginalNode: stands for a node that speaks "2.0", so that our leader feeds it like one of ours.

Layer: transport. Theory of operation:

    it is registered and answers        done there                         our leader hears
    at first, and when it is back       each collection is read            Push: what it wrote while it was away
                                        -                                  Hello, Subscribe from where it was
    a page, of its own writes only      -                                  Ack
    a page                              called to read the collection      Ack, once what was deleted is gone there
    now and then                        activity; read if it is ahead      Push, and Ack as a sign of life

Our leader keeps for it, as for any follower, how far it has come; so nothing that it may still show is collected
before it has seen it deleted, and what it offers is judged by what it had seen. It is read before it is called: a call
makes it drop whatever our leader does not have. Start at `OriginalNode.run`.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, final

import trio

from pivot.actors.member import Member
from pivot.actors.ref import Ref
from pivot.core.entry import Entry
from pivot.core.messages import (
    PROTOCOL,
    Ack,
    Envelope,
    Gone,
    Hello,
    Page,
    Push,
    PushAck,
    Refused,
    Stale,
    Subscribe,
    ToLeader,
    Welcome,
)
from pivot.core.questions import CollectionInfo, Describe, Entries, Get, ListAll, Question, Result, StoreInfo
from pivot.errors import ActorError, DeadlineError, StorageError, TransportError, UnreachableError
from pivot.legacy.activities import Activities
from pivot.legacy.objects import ORIGIN
from pivot.legacy.rest import Rest
from pivot.paths import is_glob
from pivot.types import Address, Epoch, MemberId, StoreId

WEAKER: Final = (
    "what it deleted while it was away is live there again",
    "what it writes between being read and being called may be dropped there before anybody else has it",
    "a key that was created on both sides at once stays different there until it is written again",
)
"""What does not hold on such a link, for people."""
PING_S: Final = 3.0
"""How often it is asked for its activity."""
ANSWER_S: Final = 10.0
"""How long our own leader may take to answer."""
INBOX_MAX: Final = 1000
_PUSH_ROWS: Final = 200


@final
class OriginalNode:
    """One such node, and its place among those that follow us."""

    def __init__(self, rest: Rest, member: Member, collections: Iterable[str], activities: Activities) -> None:
        """Begin unconnected.

        Args:
            rest: the node.
            member: our leader.
            collections: those that it leads.
            activities: what we say of them when such a node asks.
        """
        self.name = Address(ORIGIN + rest.url.removeprefix("http://"))
        self._store = StoreId(self.name)
        self._rest = rest
        self._member = member
        self._paths = tuple(collections)
        self._activities = activities
        self._inbox = deque[Page | Gone | PushAck | Stale | Refused | Welcome](maxlen=INBOX_MAX)
        self._woken = trio.Event()
        self._cursors: dict[str, int] = {}
        self._floors: dict[str, Gone | Stale] = {}
        self._gathered: dict[str, int] = {}
        self._epoch = Epoch("")
        self._ordinal = 0

    # What our leader says ----------------------------------------------------------------------------------------

    def attach(self, receiver: object) -> None:
        """See `Transport.attach`; it answers to its member."""

    def send(self, envelope: Envelope) -> None:
        """See `Transport.send`: what our leader has for this node."""
        body = envelope.body
        if isinstance(body, Page | Gone | PushAck | Stale | Refused | Welcome):
            self._inbox.append(body)
            self._woken.set()

    def _say(self, body: ToLeader) -> None:
        us = MemberId(self.name)
        envelope = Envelope(PROTOCOL, us, Address(self._member.id), self._store, self._epoch, body)
        self._member.receive(envelope, self.name)

    # The link ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep it in step until it fails.

        Raises:
            TransportError: the node does not answer, or not as it should; our leader has heard of it.
        """
        try:
            await self._begin()
            beat_s = self._member.config.knobs.heartbeat_s
            pinged_s = acked_s = trio.current_time()
            while True:
                with trio.move_on_after(beat_s):
                    await self._woken.wait()
                self._woken = trio.Event()
                await self._bring(self._taken())
                if trio.current_time() - pinged_s > PING_S:
                    pinged_s = trio.current_time()
                    for path in self._paths:
                        await self._gather_if_ahead(path)
                if trio.current_time() - acked_s > beat_s:
                    acked_s = trio.current_time()
                    for path in self._paths:
                        self._say(Ack(path, self._epoch, self._cursors[path]))
        except TransportError as error:
            self._member.link_lost(self.name, str(error))
            raise

    async def _begin(self) -> None:
        """Take its place among our followers, and offer what it has written since."""
        self._inbox.clear()
        info = await self._describe()
        self._epoch = info.epoch
        for each in self._infos(info):
            cursors = [follower.cursor for follower in each.followers if follower.store == self._store]
            self._cursors[each.path] = max(cursors, default=0)
        self._say(
            Hello(
                protocol=(PROTOCOL, PROTOCOL),
                cluster="",
                wall_ns=self._member.now().wall_ns,
                collections=self._paths,
            )
        )
        match await self._answer():
            case Refused() as refused:
                raise UnreachableError(f"{self._rest.url}: our leader refuses it: {refused.reason}")
            case _:
                pass
        for path in self._paths:
            await self._catch_up(path)

    def _taken(self) -> list[Page | Gone]:
        """What our leader has said of collections since we looked."""
        taken = [body for body in self._inbox if isinstance(body, Page | Gone)]
        for body in self._inbox:
            if isinstance(body, Refused):
                raise UnreachableError(f"{self._rest.url}: our leader refuses it: {body.reason}")
        self._inbox.clear()
        return taken

    # Down: what our leader has ------------------------------------------------------------------------------------

    async def _bring(self, said: list[Page | Gone]) -> None:
        """Have the node read what is new, each collection once, however much that is."""
        fresh: dict[str, dict[str, Entry]] = {}
        reached: dict[str, int] = {}
        for body in said:
            path = body.collection
            if isinstance(body, Gone):
                self._missed(path, body)
                await self._catch_up(path)
            elif body.since <= reached.get(path, self._cursors[path]) < body.next:
                reached[path] = body.next
                fresh.setdefault(path, {}).update((entry.key, entry) for entry in body.entries)
            elif body.since > reached.get(path, self._cursors[path]):
                self._say(Subscribe(path, self._epoch, self._cursors[path]))
        for path, entries in fresh.items():
            others = [entry for entry in entries.values() if entry.origin != self._store]
            if others:
                await self._gather_if_ahead(path)
                await self._call(path, others)
            self._cursors[path] = reached[path]
            self._say(Ack(path, self._epoch, self._cursors[path]))

    async def _call(self, path: str, entries: list[Entry]) -> None:
        """Have it read a collection, until it does: it does not while what it has is as late as what we say we have.

        Raises:
            TransportError: it still has what was deleted.
        """
        await self._rest.trigger(path)
        listed = await self._rest.read(path)
        if all(_has(listed, entry) for entry in entries):
            return
        self._activities.raise_above(path, await self._rest.activity(path))
        await self._rest.trigger(path)
        listed = await self._rest.read(path)
        undead = [entry.key for entry in entries if entry.deleted and not _has(listed, entry)]
        if undead:
            raise UnreachableError(f"{self._rest.url} was called to read {path!r}, and still has {undead[0]!r}")

    async def _catch_up(self, path: str) -> None:
        """Read a collection there, have it read ours, and go on from where it is then."""
        await self._gather(path)
        await self._rest.trigger(path)
        missed = self._floors.get(path)
        if missed is not None:
            ours = await self._ask(ListAll(path) if is_glob(path) else Get(path))
            assert isinstance(ours, Entries), ours
            live = {entry.key: None for entry in ours.entries}
            listed = await self._rest.read(path)
            deleted = [key for key in listed if key not in live and listed[key].stamp <= missed.collected]
            if deleted:
                raise UnreachableError(f"{self._rest.url} was called to read {path!r}, and still has {deleted[0]!r}")
        self._say(Subscribe(path, self._epoch, self._cursors[path]))

    def _missed(self, path: str, said: Gone | Stale) -> None:
        """It was away for so long that deletions which it has not seen were collected."""
        self._floors[path] = said
        self._cursors[path] = max(self._cursors[path], said.floor)

    # Up: what the node has -----------------------------------------------------------------------------------------

    async def _gather_if_ahead(self, path: str) -> None:
        """Read it, if it knows of something later than we do: a write of its that did not reach us."""
        activity = await self._rest.activity(path)
        ours = next(each.newest for each in self._infos(await self._describe()) if each.path == path)
        if activity > max(ours, self._gathered.get(path, 0)):
            await self._gather(path)
            self._gathered[path] = activity

    async def _gather(self, path: str) -> None:
        """Offer our leader everything that the node has of a collection."""
        entries = tuple((await self._rest.read(path)).values())
        for start in range(0, len(entries), _PUSH_ROWS):
            await self._push(path, entries[start : start + _PUSH_ROWS])

    async def _push(self, path: str, entries: tuple[Entry, ...]) -> None:
        """Offer rows; of a node that was away for too long only those that cannot have been deleted meanwhile."""
        floor = self._floors.get(path)
        if floor is not None:
            entries = tuple(entry for entry in entries if entry.stamp > floor.collected)
        self._ordinal += 1
        cursor = self._cursors[path] if floor is None else max(self._cursors[path], floor.floor)
        self._say(Push(path, self._ordinal, self._epoch, cursor, entries))
        answer = await self._answer()
        if isinstance(answer, Stale):
            self._missed(path, answer)
            await self._push(path, entries)

    async def _answer(self) -> PushAck | Stale | Welcome | Refused:
        """What our leader says to what we have just said; pages stay where they are."""
        with trio.move_on_after(ANSWER_S):
            while True:
                for body in self._inbox:
                    if isinstance(body, PushAck | Stale | Welcome | Refused):
                        self._inbox.remove(body)
                        return body
                await self._woken.wait()
                self._woken = trio.Event()
        raise DeadlineError(f"our own leader did not answer for {self._rest.url} within {ANSWER_S:g} s")

    async def _describe(self) -> StoreInfo:
        info = await self._ask(Describe())
        assert isinstance(info, StoreInfo), info
        return info

    async def _ask(self, question: Question) -> Result:
        """Ask our own store.

        Raises:
            UnreachableError: it does not answer; then the link ends.
        """
        try:
            return await Ref(self._member).ask(question, deadline_s=ANSWER_S)
        except (ActorError, StorageError) as error:
            raise UnreachableError(f"our own store does not answer for {self._rest.url}: {error}") from error

    def _infos(self, info: StoreInfo) -> list[CollectionInfo]:
        return [each for each in info.collections if each.path in self._paths]


def _has(listed: dict[str, Entry], entry: Entry) -> bool:
    """Whether somebody has a version, or something later."""
    theirs = listed.get(entry.key)
    return entry.deleted if theirs is None else theirs.version >= entry.version
