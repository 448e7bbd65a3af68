"""The first ring: what replication protocols of this kind are known to get wrong.

Layer: simulator/experiment/mutants. Each function plants one bug: a few lines that somebody could have written. Which
checker must see it is said in `catalogue`.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from pivot.actors.core import ActorCore
from pivot.core import collecting, merging, storage
from pivot.core.clock import HybridClock
from pivot.core.collection import Change, Collection, DropRow, Follower, PutRow, Retention, Row
from pivot.core.decision import Decision
from pivot.core.effects import Effect, Persist
from pivot.core.entry import Entry, fingerprint
from pivot.core.events import Event
from pivot.core.following import Following
from pivot.core.messages import RowAck
from pivot.core.node import NodeBehaviour
from pivot.core.questions import Confirm, MergePage, MergePushed, ReplyTo
from pivot.core.store import Store
from pivot.types import Now
from simulator.experiment.mutants.mutant import Mark, Seams
from simulator.world.disk import Disk

# Merging -------------------------------------------------------------------------------------------------------------


def tie_by_arrival(seams: Seams, mark: Mark) -> None:
    """Of equal stamps the later arrival wins."""

    def supersedes(entry: Entry, other: Entry) -> bool:
        wins = entry.stamp > other.stamp or (entry.stamp == other.stamp and entry.version != other.version)
        mark.note(wins != (entry.version > other.version))
        return wins

    seams.setattr(merging, "supersedes", supersedes)


def echo_loop(seams: Seams, mark: Mark) -> None:
    """An equal version is taken again, and offered to where it came from."""
    take = Decision.take

    def supersedes(entry: Entry, other: Entry) -> bool:
        mark.note(entry.version == other.version)
        return entry.version >= other.version

    def take_and_offer(decision: Decision, entry: Entry, *, acked: int | None) -> Row:
        del acked
        return take(decision, entry, acked=None)

    seams.setattr(merging, "supersedes", supersedes)
    seams.setattr(Decision, "take", take_and_offer)


def blind_overwrite(seams: Seams, mark: Mark) -> None:
    """What arrives replaces what is there."""

    def supersedes(entry: Entry, other: Entry) -> bool:
        mark.note(entry.version < other.version)
        return entry.version != other.version

    seams.setattr(merging, "supersedes", supersedes)


def delete_always_wins(seams: Seams, mark: Mark) -> None:
    """A deletion beats a later write."""

    def supersedes(entry: Entry, other: Entry) -> bool:
        wins = entry.deleted if entry.deleted != other.deleted else entry.version > other.version
        mark.note(wins != (entry.version > other.version))
        return wins

    seams.setattr(merging, "supersedes", supersedes)


def update_beats_tombstone(seams: Seams, mark: Mark) -> None:
    """A write beats a later deletion."""

    def supersedes(entry: Entry, other: Entry) -> bool:
        wins = other.deleted if entry.deleted != other.deleted else entry.version > other.version
        mark.note(wins != (entry.version > other.version))
        return wins

    seams.setattr(merging, "supersedes", supersedes)


def wall_clock_only(seams: Seams, mark: Mark) -> None:
    """A write is stamped by the wall clock, whatever it overwrites."""
    tick = HybridClock.tick

    def tick_(clock: HybridClock, *, wall_ns: int, above: int = 0) -> int:
        mark.note(tick(clock, wall_ns=wall_ns, above=above) != wall_ns)
        return wall_ns

    seams.setattr(HybridClock, "tick", tick_)


def leader_restamps(seams: Seams, mark: Mark) -> None:
    """A leader stamps what nodes push by its own clock."""
    merge = merging.merge_pushed

    def merge_(store: Store, now: Now, to: ReplyTo, question: MergePushed) -> list[Effect]:
        entries: list[Entry] = []
        for entry in question.entries:
            row = store[question.collection].peek(entry.key)
            if row is None or row.entry.data != entry.data:
                mark.note()
                stamp = store.clock.tick(wall_ns=now.wall_ns, above=entry.created)
                entry = replace(entry, updated=stamp)  # noqa: PLW2901
            entries.append(entry)
        return merge(store, now, to, replace(question, entries=tuple(entries)))

    seams.setattr(storage, "merge_pushed", merge_)


# Tombstones ----------------------------------------------------------------------------------------------------------


def tombstone_dropped(seams: Seams, mark: Mark) -> None:
    """A deletion removes the row instead of leaving a tombstone."""
    retake = Decision.retake

    def retake_(decision: Decision, entry: Entry, *, acked: int | None) -> Row:
        row = retake(decision, entry, acked=acked)
        if entry.deleted:
            mark.note()
            decision.stage(DropRow(decision.store.collection_of(entry.key).path, entry.key, row.seq))
        return row

    seams.setattr(Decision, "retake", retake_)


def tombstone_gc_early(seams: Seams, mark: Mark) -> None:
    """A leader drops tombstones that not every follower has, and does not say so."""

    def drop(decision: Decision, collection: Collection, retention: Retention, followers: Iterable[Follower]) -> int:
        seen = min((follower.cursor for follower in followers), default=collection.head)
        doomed = tuple(collection.tombstone_rows())
        for row in doomed:
            mark.note(row.seq > max(seen, retention.floor))
            decision.stage(DropRow(collection.path, row.entry.key, row.seq))
        return len(doomed)

    seams.setattr(collecting, "_drop", drop)


def pull_deletes_missing(seams: Seams, mark: Mark) -> None:
    """What a leader's list does not have is deleted here."""
    merge = merging.merge_page

    def merge_(store: Store, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        effects = merge(store, now, to, question)
        collection, keys = store[question.collection], dict.fromkeys(entry.key for entry in question.entries)
        if question.since or not any(isinstance(effect, Persist) for effect in effects):
            return effects
        decision = Decision(store, to)
        for key in tuple(collection.peek_keys()):
            row = collection.peek(key)
            if row is not None and key not in keys:
                mark.note()
                merging.drop(decision, collection, row, "the leader does not have it")
        return [Persist(tuple(decision.changes)), *effects]

    seams.setattr(storage, "merge_page", merge_)


# Disks ---------------------------------------------------------------------------------------------------------------


def ack_before_fsync(seams: Seams, mark: Mark) -> None:
    """Writers are answered while their commit still waits for the next one."""
    begin = ActorCore.begin
    waiting: list[tuple[ActorCore, list[Change]]] = []

    def begin_(core: ActorCore, now: Now, batch: Sequence[Event]) -> list[Change]:
        changes = begin(core, now, batch)
        before = [each for owner, each in waiting if owner is core]
        waiting[:] = [(owner, each) for owner, each in waiting if owner is not core]
        if changes:
            mark.note()
            waiting.append((core, changes))
        return [change for each in before for change in each]

    seams.setattr(ActorCore, "begin", begin_)


def fsync_every_n(seams: Seams, mark: Mark) -> None:
    """Some commits are answered as synced and wait for the next sync."""
    keep = Disk.keep

    def keep_(disk: Disk, changes: Sequence[Change]) -> None:
        durability = disk.durability
        if durability == "full" and disk.statistics.kept % 4:
            mark.note()
            disk.durability = "normal"
        keep(disk, changes)
        disk.durability = durability

    seams.setattr(Disk, "keep", keep_)


def outbox_not_persisted(seams: Seams, mark: Mark) -> None:
    """What a node had to offer is forgotten when it starts again."""
    load = Store._load

    def load_(store: Store, changes: Iterable[Change]) -> None:
        forgetful: list[Change] = []
        for change in changes:
            if isinstance(change, PutRow) and change.row.acked is None:
                mark.note()
                change = PutRow(change.collection, replace(change.row, acked=change.row.seq))  # noqa: PLW2901
            forgetful.append(change)
        load(store, forgetful)

    seams.setattr(Store, "_load", load_)


def log_truncated_without_epoch(seams: Seams, mark: Mark) -> None:
    """A store whose last commits may be missing goes on in the same life."""

    def begin_life(disk: Disk, epoch: object) -> None:
        del epoch
        mark.note(disk.statistics.lost > 0)

    seams.setattr(Disk, "begin_life", begin_life)


# Flow ----------------------------------------------------------------------------------------------------------------


def ack_clears_all(seams: Seams, mark: Mark) -> None:
    """The answer to a push confirms everything that waits."""
    confirm = merging.confirm

    def confirm_(store: Store, to: ReplyTo, question: Confirm) -> list[Effect]:
        collection = store[question.collection]
        rows = [row for key in tuple(collection.peek_keys()) if (row := collection.peek(key)) is not None]
        waiting = [row for row in rows if row.acked is None]
        named = dict.fromkeys((ack.key, ack.fingerprint) for ack in question.acks)
        mark.note(any((row.entry.key, fingerprint(row.entry)) not in named for row in waiting))
        acks = tuple(RowAck(row.entry.key, fingerprint(row.entry), 1) for row in waiting)
        return confirm(store, to, replace(question, acks=acks))

    seams.setattr(storage, "confirm", confirm_)


def cursor_past_failed_entry(seams: Seams, mark: Mark) -> None:
    """The last of several entries of a page fails, and the cursor moves past it."""
    merge = merging.merge_page

    def merge_(store: Store, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        if len(question.entries) > 1:
            mark.note()
            question = replace(question, entries=question.entries[:-1], seqs=question.seqs[:-1])
        return merge(store, now, to, question)

    seams.setattr(storage, "merge_page", merge_)


def originator_filter_forever(seams: Seams, mark: Mark) -> None:
    """A node ignores what it wrote itself, also when it has lost it."""
    merge = merging.merge_page

    def merge_(store: Store, now: Now, to: ReplyTo, question: MergePage) -> list[Effect]:
        pairs = [
            (entry, seq)
            for entry, seq in zip(question.entries, question.seqs, strict=True)
            if entry.origin != store.id or store[question.collection].peek(entry.key) is not None
        ]
        mark.note(len(pairs) < len(question.entries))
        entries, seqs = tuple(entry for entry, _ in pairs), tuple(seq for _, seq in pairs)
        return merge(store, now, to, replace(question, entries=entries, seqs=seqs))

    seams.setattr(storage, "merge_page", merge_)


def poke_one_shot(seams: Seams, mark: Mark) -> None:
    """A push is sent once; that it was lost is nobody's business."""

    def alive(following: Following, now: Now) -> list[Effect]:
        timeout_s = following.knobs.push_timeout_s
        mark.note(any(now.monotonic_s - left > timeout_s for left in following.under_way.values()))
        return following._ack() if following.live and following.epoch else []

    seams.setattr(Following, "alive", alive)


def health_never_rechecks(seams: Seams, mark: Mark) -> None:
    """Who was silent once is never asked again."""
    down = NodeBehaviour._down

    def down_(node: NodeBehaviour, reason: str) -> list[Effect]:
        mark.note()
        return [effect for effect in down(node, reason) if not _is_retry(effect)]

    seams.setattr(NodeBehaviour, "_down", down_)


def _is_retry(effect: Effect) -> bool:
    return getattr(effect, "name", "") == "retry"
