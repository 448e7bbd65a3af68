"""Decision: what one question changes, and the one order of effects that is safe: commit, then tell.

Layer: core (pure). Start at `Decision.effects`.
"""

from typing import final

from pivot.core.collection import Change, Collection, DropRow, PutRow, Row
from pivot.core.effects import Effect, Persist, Publish, Reply, Report, TellConfirmed
from pivot.core.entry import Entry
from pivot.core.notices import Notice
from pivot.core.questions import ReplyTo, Result
from pivot.core.store import Store


@final
class Decision:
    """Collects what follows from one question; every change is staged in the store at once.

    Attributes:
        store: what is decided about.
        changes: to be committed, in order.
    """

    def __init__(self, store: Store, to: ReplyTo) -> None:
        self.store = store
        self.changes: list[Change] = []
        self._to = to
        self._fresh: list[Entry] = []
        self._confirmed: list[str] = []
        self._reports: list[Effect] = []

    def stage(self, change: Change) -> None:
        """Change something."""
        if isinstance(change, PutRow) and change.row.acked is not None:
            self._confirmed.append(change.row.entry.key)
        self.changes.append(self.store.stage(change))

    def take(self, entry: Entry, *, acked: int | None) -> Row:
        """Take a version that users have not seen as this store's next change; returns its row."""
        self._fresh.append(entry)
        if acked is not None:
            self._confirmed.append(entry.key)
        return self.retake(entry, acked=acked)

    def retake(self, entry: Entry, *, acked: int | None) -> Row:
        """Take a version that is here already as this store's next change; returns its row."""
        change = self.store.stage_entry(entry, acked=acked)
        self.changes.append(change)
        return change.row

    def lean_on(self, collection: Collection, key: str) -> None:
        """Let the answer stand or fall with the commit of what is staged for a key, if anything is."""
        row, kept = collection.peek(key), collection.get(key)
        if row is kept:
            return
        if row is not None:
            self.stage(PutRow(collection.path, row))
            return
        assert kept is not None, "they differ"
        self.stage(DropRow(collection.path, key, kept.seq))

    def publish(self, entry: Entry) -> None:
        """Show users a version; the change that makes it so is staged elsewhere."""
        self._fresh.append(entry)

    def meet(self, row: Row | None, entry: Entry) -> None:
        """Report the lost update that shows when an entry meets a row, if there is one."""
        conflict = self.store.conflict(row, entry)
        if conflict is not None:
            self.report(conflict)

    def report(self, notice: Notice) -> None:
        """Tell people something, once it is committed."""
        self._reports.append(Report(notice))

    def effects(self, result: Result) -> list[Effect]:
        """Everything that follows, and the answer."""
        effects: list[Effect] = [Persist(tuple(self.changes))] if self.changes else []
        effects.append(Reply(self._to, result))
        if self._fresh:
            effects.append(Publish(tuple(self._fresh)))
        if self._confirmed:
            effects.append(TellConfirmed(tuple(self._confirmed)))
        return effects + self._reports
