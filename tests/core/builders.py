"""Builders: the smallest entries, rows, stores and messages that a test of the core can speak of.

Start at `entry` and `opened`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from pivot.config import Knobs
from pivot.core.behaviour import Behaviour
from pivot.core.collection import Change, FeedSlice, Follower, Place, PutRow, Row, SetPlace
from pivot.core.digest import NO_DIGEST
from pivot.core.effects import Ask, Effect, Persist, Reply, Report, Send, SetTimer, Tell
from pivot.core.entry import Entry, fingerprint
from pivot.core.events import Answer, Asked, CommitFailed, Committed, Event, Received, TellEvent
from pivot.core.messages import Message, Page, Push, RowAck, RowRejected
from pivot.core.notices import Notice
from pivot.core.questions import Question, ReplyTo, Result
from pivot.core.storage import StorageBehaviour
from pivot.core.store import Store
from pivot.types import Address, Epoch, MemberId, Now, StoreId

T = TypeVar("T")

USERS: Final = "users/*"
SETTINGS: Final = "settings"
A: Final = Epoch("epoch-a")
B: Final = Epoch("epoch-b")
C: Final = Epoch("epoch-c")
OURS: Final = StoreId("ours")
THEIRS: Final = StoreId("theirs")
LEADER: Final = Address("leader")
NODE: Final = MemberId("node")
WALL_NS: Final = 1_000_000_000_000_000_000
OUTSIDE: Final = ReplyTo("", 1)


def at(seconds: float, *, wall_ns: int | None = None) -> Now:
    """An instant, `seconds` after both clocks began."""
    return Now(WALL_NS + round(seconds * 1e9) if wall_ns is None else wall_ns, 100.0 + seconds)


# Data ----------------------------------------------------------------------------------------------------------------


def entry(
    key: str = "users/a",
    stamp: int = 1,
    data: str | None = "1",
    *,
    created: int = 0,
    prev: int | None = None,
    origin: StoreId = THEIRS,
) -> Entry:
    """A version written at `stamp`; `data` None makes it a tombstone."""
    created, updated = (created, stamp) if created else (stamp, 0)
    return Entry(key, created, updated, data or "", deleted=data is None, prev=prev, origin=origin)


def put(seq: int, version: Entry, *, acked: int | None = None, collection: str = USERS) -> PutRow:
    """A row to keep."""
    return PutRow(collection, Row(version, seq, acked))


def place(cursor: int, *, epoch: Epoch = A, floor: int = 0, collected: int = 0, head: int | None = None) -> Place:
    """Where a node is in its leader's feed; at its end, unless `head` says how far that went when it was read."""
    return Place(epoch, cursor, floor, collected, head=cursor if head is None else head)


def set_place(cursor: int, *, epoch: Epoch = A, floor: int = 0, collected: int = 0) -> SetPlace:
    """Where a node is in its leader's feed of users."""
    return SetPlace(USERS, place(cursor, epoch=epoch, floor=floor, collected=collected))


def follower(store: str, cursor: int, *, name: str = "", heard_s: float = 0) -> Follower:
    """A store that follows; its member is called like it unless named."""
    return Follower(StoreId(store), name or store, cursor, WALL_NS + round(heard_s * 1e9))


def feed(since: int, *stamps: int, head: int | None = None, at_place: Place | None = None) -> FeedSlice:
    """A slice of a feed or an outbox: a version per stamp, numbered from `since` + 1."""
    rows = tuple(Row(entry(f"users/{stamp}", stamp), since + place) for place, stamp in enumerate(stamps, 1))
    end = since + len(rows)
    return FeedSlice(since=since, rows=rows, next=end, head=end if head is None else head, place=at_place or Place())


def row_ack(version: Entry, seq: int = 1) -> RowAck:
    """The leader's word that it holds a version."""
    return RowAck(version.key, fingerprint(version), seq)


def refused(version: Entry, *, held: int = 0) -> RowRejected:
    """The leader's word that a version is too far in its future."""
    return RowRejected(version.key, fingerprint(version), "clock_ahead", ahead=True, held=held)


def page(
    since: int,
    entries: Sequence[Entry] = (),
    *,
    to: int | None = None,
    head: int | None = None,
    epoch: Epoch = A,
    collection: str = USERS,
    floor: int = 0,
    collected: int = 0,
    clock: int = 0,
    resync: bool = False,
    digest: str = NO_DIGEST,
) -> Page:
    """A page of consecutive numbers after `since`; without entries a heartbeat."""
    end = since + len(entries) if to is None else to
    return Page(
        collection=collection,
        epoch=epoch,
        since=since,
        entries=tuple(entries),
        seqs=tuple(since + place + 1 for place in range(len(entries))),
        next=end,
        head=end if head is None else head,
        floor=floor,
        collected=collected,
        clock=clock,
        resync=resync,
        digest=digest,
    )


def push(ordinal: int, entries: Sequence[Entry], *, epoch: Epoch = A, cursor: int = 0) -> Push:
    """A push of the collection of users."""
    return Push(collection=USERS, ordinal=ordinal, epoch=epoch, cursor=cursor, entries=tuple(entries))


# Behaviours ----------------------------------------------------------------------------------------------------------


def received(body: Message, *, sender: str = NODE, store: StoreId = THEIRS) -> Received:
    """A message that came in."""
    return Received(MemberId(sender), store, body)


def only(things: Iterable[object], kind: type[T]) -> list[T]:
    """Those of one kind, in order."""
    return [thing for thing in things if isinstance(thing, kind)]


def one(things: Sequence[T]) -> T:
    """The only thing there is."""
    assert len(things) == 1, things
    return things[0]


def sent(effects: Iterable[Effect]) -> list[Message]:
    """Bodies of what is sent, in order."""
    return [effect.body for effect in only(effects, Send)]


def notices(effects: Iterable[Effect]) -> list[Notice]:
    """What people are told."""
    return [effect.notice for effect in only(effects, Report)]


def told(effects: Iterable[Effect]) -> list[tuple[str, TellEvent]]:
    """Who is told what within the member."""
    return [(effect.actor, effect.event) for effect in only(effects, Tell)]


def timers(effects: Iterable[Effect]) -> dict[str, tuple[float, float]]:
    """Timers that are set: name -> least and most delay, s."""
    return {effect.name: (effect.least_s, effect.most_s) for effect in only(effects, SetTimer)}


def questions(effects: Iterable[Effect]) -> list[Question]:
    """What is asked of storage, in order."""
    return [effect.question for effect in only(effects, Ask)]


def answer(asking: Sequence[Effect], result: Result) -> Answer:
    """The answer to the only question among effects."""
    return Answer(one(only(asking, Ask)).token, result)


# Stores --------------------------------------------------------------------------------------------------------------


def opened(
    changes: Iterable[Change] = (),
    *,
    follows: bool = False,
    knobs: Knobs | None = None,
    collections: Mapping[str, bool] | None = None,
    store: StoreId = OURS,
    epoch: Epoch = A,
    seq: int = 0,
) -> Store:
    """A store of the two usual collections."""
    paths = {USERS: follows, SETTINGS: follows} if collections is None else collections
    return Store(store, epoch, paths, knobs or Knobs(), changes, seq=seq)


class Desk:
    """Puts questions to a real storage behaviour and commits by hand, one event a batch.

    Attributes:
        storage: the behaviour.
        effects: all of the last question's.
        kept: changes that were committed.
    """

    def __init__(self, store: Store, *, knobs: Knobs | None = None, listener: str = "leader") -> None:
        self.storage = StorageBehaviour(store, listeners={USERS: listener, SETTINGS: listener}, knobs=knobs or Knobs())
        self.effects: list[Effect] = []
        self.kept: list[Change] = []

    @property
    def store(self) -> Store:
        """The data."""
        return self.storage.store

    def stage(self, question: Question, now: Now | None = None) -> Result:
        """Ask without committing; what is answered when the commit will have held."""
        self.effects = self.storage.step(now or at(0), Asked(OUTSIDE, question))
        return one(only(self.effects, Reply)).result

    def commit(self) -> list[Effect]:
        """Let everything staged be kept."""
        return self.storage.step(at(0), Committed())

    def fail(self, reason: str = "disk full") -> list[Effect]:
        """Let nothing staged be kept."""
        return self.storage.step(at(0), CommitFailed(reason))

    def ask(self, question: Question, now: Now | None = None) -> Result:
        """Ask, and commit what follows."""
        result = self.stage(question, now)
        self.kept += [change for persist in only(self.effects, Persist) for change in persist.changes]
        self.effects += self.commit()
        return result


def leading_desk(*changes: Change | Row, knobs: Knobs | None = None) -> Desk:
    """A leader's storage; rows are of users."""
    return Desk(opened(_kept(changes), knobs=knobs), knobs=knobs)


def following_desk(*changes: Change | Row, cursor: int = 0, epoch: Epoch = A, floor: int = 0) -> Desk:
    """A node's storage; rows are of users, whose feed was read up to `cursor`."""
    kept = [*_kept(changes), set_place(cursor, epoch=epoch, floor=floor)]
    return Desk(opened(kept, follows=True), listener="node")


def _kept(changes: Iterable[Change | Row]) -> list[Change]:
    return [PutRow(USERS, change) if isinstance(change, Row) else change for change in changes]


def run(behaviour: Behaviour, *events: Event, now: Now | None = None) -> list[Effect]:
    """Step one event after another at one instant; all effects."""
    return [effect for event in events for effect in behaviour.step(now or at(0), event)]
