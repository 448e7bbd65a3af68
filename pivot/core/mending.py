"""Mending: what storage does when digests say that a node and its leader differ though nothing is on its way.

Layer: core (pure). That cannot happen by the rules; it shows a bug, or a disk that forgets. So it is reported loudly,
and mended without judging who is right: in the buckets that differ each side gets all that the other has, and the
merge decides. Nothing is deleted because it is absent. Start at `compare_digest`.
"""

from pivot.config import Knobs
from pivot.core.collection import Collection, PutRow, Row
from pivot.core.decision import Decision
from pivot.core.digest import bucket_of, differing
from pivot.core.effects import Effect
from pivot.core.entry import supersedes
from pivot.core.questions import Buckets, CompareDigest, Confirmed, Digested, MendBuckets, ReadBuckets, ReplyTo
from pivot.core.store import Store


def compare_digest(store: Store, question: CompareDigest) -> Digested:
    """As a node: our bucket sums, when we are just where the leader was and yet differ."""
    collection = store[question.collection]
    place = collection.peek_place()
    comparable = (
        (place.epoch, place.cursor) == (question.epoch, question.cursor)
        and place == collection.place
        and place.floor <= place.cursor
        and not collection.outbox_size
        and collection.acked_max <= place.cursor  # a row confirmed beyond it is not in the leader's digest yet
        and not store.resyncing(collection.path)
    )
    if not comparable or collection.digest.text() == question.digest:
        return Digested(())
    return Digested(collection.digest.sums())


def read_buckets(store: Store, knobs: Knobs, question: ReadBuckets) -> Buckets:
    """As the leader: rows of the buckets that differ, of as many buckets as make about one page."""
    collection = store[question.collection]
    if question.cursor != collection.head:
        return Buckets((), ())  # we have moved on since; the next comparison shows what still differs
    wanted = dict.fromkeys(differing(collection.digest.sums(), question.sums))
    rows: dict[int, list[Row]] = {bucket: [] for bucket in wanted}
    for row in collection.rows():
        bucket = bucket_of(row.entry.key)
        if bucket in wanted:
            rows[bucket].append(row)
    chosen: list[int] = []
    count = 0
    for bucket in wanted:
        if chosen and count + len(rows[bucket]) > knobs.page_rows:
            break
        chosen.append(bucket)
        count += len(rows[bucket])
    found = [row for bucket in chosen for row in rows[bucket]]
    return Buckets(tuple(chosen), tuple(found))


def mend_buckets(store: Store, to: ReplyTo, question: MendBuckets) -> list[Effect]:
    """As a node: take what is greater in these buckets, and offer the leader what we have in them."""
    collection = store[question.collection]
    decision = Decision(store, to)
    if question.epoch == collection.peek_place().epoch and not store.resyncing(collection.path):
        theirs: dict[str, bool] = {}
        for entry, seq in zip(question.entries, question.seqs, strict=True):
            row = collection.peek(entry.key)
            if store.stranger(collection, entry):
                continue
            decision.meet(row, entry)
            theirs[entry.key] = row is None or not supersedes(row.entry, entry)
            if row is None or supersedes(entry, row.entry):
                decision.take(entry, acked=seq)
            elif entry.version == row.entry.version and row.acked is None:
                decision.stage(PutRow(collection.path, Row(row.entry, row.seq, seq)))
        _offer_again(decision, collection, question.buckets, theirs)
    return decision.effects(Confirmed(len(decision.changes)))


def _offer_again(decision: Decision, collection: Collection, buckets: tuple[int, ...], theirs: dict[str, bool]) -> None:
    """Put back into the outbox what the leader lacks, or has an older version of."""
    wanted = dict.fromkeys(buckets)
    for key in tuple(collection.peek_keys()):
        row = collection.peek(key)
        if row is not None and bucket_of(key) in wanted and not theirs.get(key, False):
            decision.retake(row.entry, acked=None)
