"""OriginalLeader: stands for a leader that speaks "2.0", so that our node follows it like one of ours.

Layer: transport. Theory of operation:

    our node says         done there                              our node hears
    Hello                 activity of each collection             Welcome, with those it leads
    Subscribe, its life   the collection is read                  a page: what is new there, and what is gone
    Subscribe, another    -                                       Reset: the life that we made up for it
    Push                  read if it changed; POST, DELETE        PushAck: kept there, or something greater is
    -, now and then       activity; read if it changed            a page, empty when nothing did

What the leader once had is what our store holds as confirmed, and what it listed while we run. A row of that which it
does not list any more was deleted there, and goes into the page as a tombstone of just that version, so that a later
write of ours wins over it; when it is the only one, and a deletion was the last thing that happened there, as of that
time. A row that we have not offered yet is not absent there. A leader whose activity goes back has lost what it had:
that is another life, in which nothing is confirmed, and everything is offered to it again. A read that fails ends the
connection, and nothing more. What reaches the leader late does not raise its activity, the greatest time of a list: so
each collection is read now and then (`reoffer_s`) though nothing seems to have changed.

A page is numbered from the cursor that our node named, and nothing of it is kept here that the store does not know;
so the life and the cursor may outlive us. Start at `OriginalLeader.send`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import cycle
from math import inf
from typing import Final, NoReturn, final

import trio
from msgspec.structs import replace

from pivot.actors.member import Member
from pivot.actors.ref import Ref
from pivot.core.collection import FeedSlice
from pivot.core.entry import Entry, fingerprint
from pivot.core.messages import (
    PROTOCOL,
    ROWS_MAX,
    Ack,
    Envelope,
    Hello,
    Page,
    Push,
    PushAck,
    Reset,
    RowAck,
    RowRejected,
    Subscribe,
    ToNode,
    Welcome,
)
from pivot.core.questions import ReadFeed
from pivot.errors import ActorError, BadAnswerError, RefusedError, StorageError, TransportError
from pivot.legacy.rest import Rest
from pivot.types import NO_EPOCH, Address, Epoch, MemberId, StoreId

WEAKER: Final = (
    "it takes whatever reaches it last: a write there may be undone by an older one of another node of it",
    "a deletion there counts as made when the deleted version was, unless it was the last and only change",
    "what was written and deleted there between two reads is never seen here",
)
"""What does not hold on such a link, for people."""
LIFE: Final = "2.0 "
"""How the epochs begin that we make up."""
PUSHES_MAX: Final = 16
"""Most pushes that wait; others are lost, and offered again."""
ASK_S: Final = 10.0
_PAGE_BYTES: Final = 2**20


@final
@dataclass(slots=True)
class Mirror:
    """One collection of that leader.

    Attributes:
        path: configured key or glob.
        epoch: its life, as we made it up; empty = our node has not subscribed.
        position: our node has been sent everything up to here.
        known: what our node knows the leader to have, or has been sent as such, tombstones included.
        had: what the leader had when it was last read, also what our node has written over since.
        activity: greatest stamp that it knew of then, ns.
        reading: whether it must be read.
        read_s: when it was.
        loading: whether what our store holds must be looked at before.
        pushes: what our node offers.
    """

    path: str
    epoch: Epoch = NO_EPOCH
    position: int = 0
    known: dict[str, Entry] = field(default_factory=dict[str, Entry])
    had: dict[str, Entry] = field(default_factory=dict[str, Entry])
    activity: int = 0
    reading: bool = False
    read_s: float = -inf
    loading: bool = False
    pushes: deque[Push] = field(default_factory=lambda: deque[Push](maxlen=PUSHES_MAX))


@final
class OriginalLeader:
    """One such leader, and the connection that our node has to it."""

    def __init__(self, rest: Rest, member: Member, *, nursery: trio.Nursery) -> None:
        """Begin unconnected.

        Args:
            rest: the leader.
            member: our node.
            nursery: in which requests are made.
        """
        self._rest = rest
        self._url = rest.url
        self._member = member
        self._nursery = nursery
        self._mirrors: dict[str, Mirror] = {}
        self._woken = trio.Event()
        self._connection = trio.CancelScope()

    def attach(self, receiver: object) -> None:
        """See `Transport.attach`; it answers to its member."""

    def send(self, envelope: Envelope) -> None:
        """See `Transport.send`."""
        body = envelope.body
        if isinstance(body, Hello):
            self._connection.cancel()
            self._connection = trio.CancelScope()
            had = {path: mirror.had for path, mirror in self._mirrors.items()}
            self._mirrors = {path: Mirror(path, had=had.get(path, {})) for path in body.collections}
            self._nursery.start_soon(self._connect, self._connection)
            return
        mirror = self._mirrors.get(body.collection) if isinstance(body, Subscribe | Ack | Push) else None
        if mirror is None:
            return
        match body:
            case Subscribe() | Ack() | Push() if not mirror.epoch and not body.epoch.startswith(LIFE):
                self._begin_life(mirror, body.epoch)
            case Subscribe():
                self._subscribed(mirror, body.epoch, body.cursor)
            case Ack() if not mirror.epoch or (body.epoch == mirror.epoch and body.cursor > mirror.position):
                self._subscribed(mirror, body.epoch, body.cursor)
            case Push() if body.epoch == mirror.epoch:
                mirror.pushes.append(body)
            case _:
                return
        self._woken.set()

    def _begin_life(self, mirror: Mirror, before: Epoch) -> None:
        """Tell our node that nothing it has is confirmed by this leader."""
        life = Epoch(f"{LIFE}{self._member.now().wall_ns}")
        self._say(Reset(mirror.path, before, life))

    def _subscribed(self, mirror: Mirror, epoch: Epoch, cursor: int) -> None:
        mirror.epoch, mirror.position = epoch, cursor
        mirror.reading = mirror.loading = True

    def _say(self, body: ToNode) -> None:
        us = Address(self._member.id)
        life = Epoch(LIFE)
        envelope = Envelope(PROTOCOL, MemberId(self._url), us, StoreId(LIFE + self._url), life, body)
        self._member.receive(envelope, self._url)

    # The connection ----------------------------------------------------------------------------------------------

    async def _connect(self, scope: trio.CancelScope) -> None:
        """Serve our node until something fails."""
        with scope:
            reason = await self._converse()
            if self._connection is scope:
                self._member.link_lost(self._url, reason)

    async def _converse(self) -> str:
        """Let our node in and serve it; returns why that ended."""
        try:
            led = await self._led()
        except TransportError as error:
            return str(error)
        self._say(Welcome(protocol=PROTOCOL, cluster="", wall_ns=self._member.now().wall_ns, collections=led))
        mirrors = tuple(self._mirrors[path] for path in led)
        if not mirrors:
            return "it leads none of our collections"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat, mirrors)
            reason = await self._serve(mirrors)
            nursery.cancel_scope.cancel()
        return reason

    async def _led(self) -> tuple[str, ...]:
        led: list[str] = []
        for path in self._mirrors:
            try:
                await self._rest.activity(path)
            except RefusedError as error:
                if error.status >= 500:
                    raise
            except BadAnswerError:
                pass
            else:
                led.append(path)
        return tuple(led)

    async def _beat(self, mirrors: tuple[Mirror, ...]) -> NoReturn:
        """Show our node that the leader is there; while it takes its time to answer, too, which has an end."""
        while True:
            await trio.sleep(self._member.config.knobs.heartbeat_s)
            for mirror in mirrors:
                if mirror.epoch:
                    self._page(mirror, ())

    async def _serve(self, mirrors: tuple[Mirror, ...]) -> str:
        """Do what our node asks for, and look in turn whether collections have changed; returns why that ended."""
        turns = cycle(mirrors)
        try:
            while True:
                with trio.move_on_after(self._member.config.knobs.heartbeat_s) as pause:
                    await self._woken.wait()
                looked_at = next(turns) if pause.cancelled_caught else None
                self._woken = trio.Event()
                for mirror in mirrors:
                    await self._work(mirror, look=mirror is looked_at)
        except (TransportError, ActorError, StorageError) as error:
            return str(error)

    async def _work(self, mirror: Mirror, *, look: bool) -> None:
        """Do what is due for one collection; `look` whether it has changed, too."""
        if not mirror.epoch:
            return
        if mirror.loading:
            mirror.loading = False
            mirror.known = await self._confirmed(mirror.path)
            live = (entry.stamp for entry in mirror.known.values() if not entry.deleted)
            mirror.activity = max(live, default=mirror.activity)
        if mirror.reading or mirror.pushes or look:
            await self._read(mirror)
        while mirror.pushes:
            await self._push(mirror, mirror.pushes.popleft())

    async def _confirmed(self, path: str) -> dict[str, Entry]:
        """What our store holds as confirmed by the leader, tombstones included."""
        confirmed: dict[str, Entry] = {}
        since = 0
        while True:
            piece = await Ref(self._member).ask(ReadFeed(path, since), deadline_s=ASK_S)
            assert isinstance(piece, FeedSlice), piece
            confirmed.update((row.entry.key, row.entry) for row in piece.rows if row.acked is not None)
            if piece.next >= piece.head or not piece.rows:
                return confirmed
            since = piece.next

    # Reading -----------------------------------------------------------------------------------------------------

    async def _read(self, mirror: Mirror) -> None:
        """Send our node what has changed there, if anything; one that asked hears, too, that nothing did."""
        activity = await self._rest.activity(mirror.path)
        if activity < mirror.activity:
            before, mirror.epoch = mirror.epoch, NO_EPOCH
            mirror.known, mirror.had, mirror.activity = {}, {}, 0
            mirror.pushes.clear()
            self._begin_life(mirror, before)
            return
        asked, mirror.reading = mirror.reading, False
        changes: list[Entry] = []
        overdue = trio.current_time() - mirror.read_s > self._member.config.knobs.reoffer_s
        if asked or overdue or activity > mirror.activity:
            mirror.read_s = trio.current_time()
            listed = await self._rest.read(mirror.path)
            await self._restore(mirror, listed)
            changes = [entry for key, entry in listed.items() if _is_news(entry, mirror.known.get(key))]
            changes += _gone({**mirror.known, **mirror.had}, listed, activity)
            mirror.known.update((entry.key, entry) for entry in changes)
            mirror.had = listed
            mirror.activity = activity
        for piece in _pages(changes) or [()] * asked:
            self._page(mirror, piece)

    async def _restore(self, mirror: Mirror, listed: dict[str, Entry]) -> None:
        """Write again what the leader has confirmed and has replaced by something older since."""
        for key, entry in listed.items():
            known = mirror.known.get(key)
            if known is not None and known.version > entry.version:
                await (self._rest.delete(known) if known.deleted else self._rest.write(known))

    def _page(self, mirror: Mirror, entries: tuple[Entry, ...]) -> None:
        since, mirror.position = mirror.position, mirror.position + len(entries)
        end = mirror.position
        seqs = tuple(range(since + 1, end + 1))
        self._say(Page(mirror.path, mirror.epoch, since, entries, seqs, next=end, head=end))

    # Offering ----------------------------------------------------------------------------------------------------

    async def _push(self, mirror: Mirror, push: Push) -> None:
        """Bring the leader what it lacks; what it has, or something greater, counts as confirmed."""
        acks: list[RowAck] = []
        rejected: list[RowRejected] = []
        for entry in push.entries if push.epoch == mirror.epoch else ():
            known = mirror.known.get(entry.key)
            try:
                if _is_news(entry, known):
                    if await self._bring(entry, known):
                        mirror.activity = max(mirror.activity, entry.stamp)
                    mirror.known[entry.key] = mirror.had[entry.key] = entry
            except RefusedError as error:
                held = 0 if known is None else known.stamp
                rejected.append(RowRejected(entry.key, fingerprint(entry), error.reason[:200], held=held))
            else:
                acks.append(RowAck(entry.key, fingerprint(entry), max(1, mirror.position)))
        self._say(PushAck(mirror.path, push.ordinal, push.epoch, tuple(acks), tuple(rejected)))

    async def _bring(self, entry: Entry, known: Entry | None) -> bool:
        """Write or delete an entry there; says whether there was anything to do."""
        if not entry.deleted:
            await self._rest.write(entry)
            return True
        if known is None or known.deleted:
            return False
        await self._rest.delete(entry)
        return True


def _is_news(entry: Entry, known: Entry | None) -> bool:
    return known is None or entry.version > known.version


def _gone(known: dict[str, Entry], listed: dict[str, Entry], activity: int) -> list[Entry]:
    """Tombstones of what the leader had and does not list any more."""
    gone = [entry for key, entry in known.items() if not entry.deleted and key not in listed]
    newest = max((entry.stamp for entry in listed.values()), default=0)
    if len(gone) == 1 and activity > max(newest, gone[0].stamp):
        return [replace(gone[0], created=activity, updated=0, data="", deleted=True, prev=gone[0].stamp)]
    return [replace(entry, data="", deleted=True, prev=None) for entry in gone]


def _pages(entries: Iterable[Entry]) -> list[tuple[Entry, ...]]:
    """Pieces that one message can carry each."""
    pages: list[list[Entry]] = []
    size = 0
    for entry in entries:
        cost = len(entry.key) + len(entry.data) + 80
        if not pages or len(pages[-1]) >= ROWS_MAX // 2 or size + cost > _PAGE_BYTES:
            pages.append([])
            size = 0
        pages[-1].append(entry)
        size += cost
    return [tuple(page) for page in pages]
