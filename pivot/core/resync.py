"""Resync: reading everything again, because collected tombstones were missed; as far as it is, at the node.

Layer: core (pure). All pages carry one floor: what was read under a lower one may lack a deletion that came later, and
what is read under a higher one belongs to another re-sync. See `following`, which drives it, and `merging`, where it
ends.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from pivot.core.messages import Page
from pivot.core.questions import MergeResync

Verdict: TypeAlias = Literal["next", "late", "gap"]


@final
@dataclass(slots=True)
class Resync:
    """A re-sync under way.

    Attributes:
        floor: the leader's floor; all pages carry it.
        head: greatest end of the leader's feed we heard of since it began.
        position: storage has merged the pages up to here.
        expected: where the next page must start.
    """

    floor: int
    head: int = 0
    position: int = 0
    expected: int = 0

    def judge(self, page: Page) -> Verdict:
        """Whether a page goes on where we are (`next`), is of no use (`late`), or shows that one is missing (`gap`)."""
        self.head = max(self.head, page.head)
        if not page.resync:
            return "gap"  # the leader has not heard yet that we read everything again
        if page.floor != self.floor or page.since < self.expected:
            return "late"
        if page.since > self.expected:
            return "gap"
        return "next" if page.next > page.since or self.ends(page) else "late"

    def ends(self, page: Page) -> bool:
        """Whether the leader has nothing beyond this page."""
        return page.next >= self.head

    def question(self, page: Page) -> MergeResync:
        """What storage has to do with the next page."""
        return MergeResync(
            collection=page.collection,
            epoch=page.epoch,
            since=page.since,
            entries=page.entries,
            seqs=page.seqs,
            next=page.next,
            floor=page.floor,
            collected=page.collected,
            clock=page.clock,
            last=self.ends(page),
        )
