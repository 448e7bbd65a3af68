"""Logs: one line for what people want to know, as text or JSON, on stderr.

Layer: edge. Notices of a member become events here; nothing below the edge logs them itself.
"""

import logging
import sys
from typing import Final, Literal, assert_never

import structlog

from pivot.core.notices import (
    ActorRestarted,
    CaughtUp,
    Collected,
    Conflict,
    Diverged,
    EpochReset,
    Notice,
    PeerDown,
    PeerRefused,
    PeerUp,
    ReadingFrom,
    Reissued,
    Rejected,
    StorageRefused,
    Withdrawn,
)

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logs(form: LogFormat, level: LogLevel) -> None:
    """Send our events and everything of the standard library's loggers to stderr, one line each."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[level])


def log_notice(notice: Notice) -> None:
    """Write the line of one notice."""
    log = structlog.get_logger("pivot")
    match notice:
        case PeerUp():
            log.info("peer up", peer=notice.peer, role=notice.role)
        case PeerDown():
            log.warning("peer down", peer=notice.peer, role=notice.role, reason=notice.reason)
        case PeerRefused():
            log.warning("refused", peer=notice.peer, reason=notice.reason)
        case ReadingFrom():
            log.info("reading from other nodes", leader=notice.leader, peers=list(notice.peers))
        case CaughtUp():
            log.debug("caught up", collection=notice.collection)
        case EpochReset():
            say = log.info if notice.before else log.debug  # the first epoch we ever follow resets nothing
            say("reset", collection=notice.collection, before=notice.before, after=notice.after)
        case Conflict():
            winner, loser = notice.winner, notice.loser
            log.info(
                "conflict",
                key=winner.key,
                winner=winner.stamp,
                winner_origin=winner.origin,
                loser=loser.stamp,
                loser_origin=loser.origin,
            )
        case Rejected():
            log.warning("rejected", key=notice.key, reason=notice.reason)
        case Reissued():
            log.warning("reissued", key=notice.key, before=notice.before, after=notice.after, reason=notice.reason)
        case Withdrawn():
            log.warning("withdrawn", key=notice.key, stamp=notice.stamp, reason=notice.reason)
        case Collected():
            log.info("collected", collection=notice.collection, dropped=notice.dropped, floor=notice.floor)
        case Diverged():
            log.error("diverged", collection=notice.collection, buckets=notice.buckets)
        case StorageRefused():
            log.error("storage refused", reason=notice.reason)
        case ActorRestarted():
            log.error("actor restarted", actor=notice.actor, error=notice.error)
        case _:
            assert_never(notice)
