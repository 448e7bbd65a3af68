"""Probes: what those who run and watch a member ask it by machine.

Layer: server.

    GET /_pivot/live           200 while it turns
    GET /_pivot/ready          200 once its store is open and it has tried to reach its leaders, else 503
    GET /_pivot/metrics        numbers, in the text format of Prometheus
    GET /_pivot/health/nodes   at a leader, the nodes that are registered, and whether they answer; else none

A node whose leader is away is ready, and says that it is `degraded`.
"""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import final

import msgspec
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Response
from quart_trio import QuartTrio

from pivot.server.answers import ASK_DEADLINE_S, answering_errors, json_response
from pivot.server.roster import Roster
from pivot.server.status import Status, StatusBoard
from pivot.transport.http import HttpStatistics, HttpTransport


class Ready(msgspec.Struct, frozen=True):
    """Whether a member serves.

    Attributes:
        ready: its store is open, and it has tried to reach its leaders.
        degraded: a leader of its does not answer; it serves all the same.
    """

    ready: bool
    degraded: bool


def add_probe_routes(app: QuartTrio, board: StatusBoard, roster: Roster, transport: HttpTransport) -> None:
    """Serve those who watch one member."""

    @app.get("/_pivot/live")
    async def live() -> Response:
        return json_response({"live": True})

    @app.get("/_pivot/ready")
    @answering_errors
    async def ready() -> Response:
        await board.status(deadline_s=ASK_DEADLINE_S)  # which storage answers
        answers = board.leaders_answer()
        tried = all(answer is not None for answer in answers.values())
        status = HTTPStatus.OK if tried else HTTPStatus.SERVICE_UNAVAILABLE
        return json_response(Ready(ready=tried, degraded=not all(answers.values())), status)

    @app.get("/_pivot/metrics")
    @answering_errors
    async def metrics() -> Response:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Numbers(await board.status(deadline_s=ASK_DEADLINE_S), transport.statistics()))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    @app.get("/_pivot/health/nodes")
    async def registered_nodes() -> Response:
        return json_response(roster.statuses())


@final
class _Numbers(Collector):
    """A member's status, as Prometheus counts."""

    def __init__(self, status: Status, carried: HttpStatistics) -> None:
        self._status = status
        self._carried = carried

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        status = self._status
        facts = {"member": status.member, "role": status.role, "store": status.store, "epoch": status.epoch}
        yield InfoMetricFamily("pivot_member", "What this member is.", value=facts)
        yield _counter("pivot_conflicts", "Lost updates seen since it started.", status.conflicts)
        yield from self._of_collections()
        yield _gauge(
            "pivot_peer_healthy",
            "Whether a leader or node that we exchange with answers.",
            ("role", "address"),
            (((peer.role, peer.address), peer.healthy) for peer in status.peers),
        )
        yield _gauge(
            "pivot_node_healthy",
            "Whether a node that is registered with us answers.",
            ("address", "protocol"),
            (((node.address, node.protocol), node.healthy) for node in status.nodes),
        )
        boxes = status.mailboxes.items()
        waiting = (((actor,), box.waiting) for actor, box in boxes)
        yield _gauge("pivot_mailbox_waiting", "Events that wait for an actor.", ("actor",), waiting)
        refused = CounterMetricFamily("pivot_mailbox_refused", "Events that a full mailbox refused.", labels=("actor",))
        for actor, box in boxes:
            refused.add_metric((actor,), box.refused)
        yield refused
        yield from self._of_transport()

    def _of_collections(self) -> Iterator[Metric]:
        collections = [(info.path or "(not replicated)", info) for info in self._status.collections]
        for name, text, numbers in (
            ("entries", "Live entries.", [info.entries for _, info in collections]),
            ("tombstones", "Deleted entries that are remembered.", [info.tombstones for _, info in collections]),
            ("outbox", "Entries that our leader has not confirmed.", [info.outbox for _, info in collections]),
            ("followers", "Stores that follow it here.", [len(info.followers) for _, info in collections]),
        ):
            labelled = (((path,), number) for (path, _), number in zip(collections, numbers, strict=True))
            yield _gauge(f"pivot_{name}", text, ("collection",), labelled)
        behind = (((lag.collection,), lag.entries) for lag in self._status.lags)
        yield _gauge("pivot_lag_entries", "Changes of our leader that we lack.", ("collection",), behind)
        late = (((lag.collection,), lag.seconds) for lag in self._status.lags)
        yield _gauge("pivot_lag_seconds", "How long ago we last had everything.", ("collection",), late)

    def _of_transport(self) -> Iterator[Metric]:
        carried = self._carried
        yield _counter("pivot_envelopes_sent", "Envelopes given to the transport.", carried.sent)
        yield _counter("pivot_envelopes_received", "Envelopes that came in.", carried.received)
        lost = CounterMetricFamily("pivot_envelopes_lost", "Envelopes known to be lost.", labels=("reason",))
        for reason, count in carried.lost.items():
            lost.add_metric((reason,), count)
        yield lost
        yield _gauge("pivot_envelopes_waiting", "Envelopes queued for peers.", (), [((), carried.waiting)])


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family
