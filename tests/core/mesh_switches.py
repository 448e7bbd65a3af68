"""Mesh switches: each turns one rule about reading from other nodes off, so that its story in `meshes` breaks."""

import pytest
from msgspec.structs import replace

from pivot.core import merging, sharing
from pivot.core.collection import Collection, Place, Row
from pivot.core.decision import Decision
from pivot.core.effects import Effect
from pivot.core.mesh import Mesh
from pivot.core.questions import MergeFromPeer, MergeResync, ReplyTo
from pivot.core.sharing import merge_from_peer
from pivot.core.store import Store
from pivot.types import Now


def nobody_reads_from_other_nodes(patch: pytest.MonkeyPatch) -> None:
    def stay(_: Mesh) -> list[Effect]:
        return []

    patch.setattr(Mesh, "away", stay)


def a_peer_need_not_have_seen_what_was_collected(patch: pytest.MonkeyPatch) -> None:
    def always(_: MergeFromPeer, __: Place) -> bool:
        return True

    patch.setattr(sharing, "_has_seen", always)


def what_a_peer_knows_to_be_confirmed_does_not_count(patch: pytest.MonkeyPatch) -> None:
    def merge(store: Store, now: Now, to: ReplyTo, question: MergeFromPeer) -> list[Effect]:
        return merge_from_peer(store, now, to, replace(question, acks=(0,) * len(question.acks)))

    patch.setattr("pivot.core.storage.merge_from_peer", merge)


def what_lies_beyond_a_resync_is_absent(patch: pytest.MonkeyPatch) -> None:
    judge = merging._judge_absent

    def judge_(decision: Decision, now: Now, collection: Collection, row: Row, question: MergeResync) -> None:
        judge(decision, now, collection, row, replace(question, next=2**62))

    patch.setattr(merging, "_judge_absent", judge_)
