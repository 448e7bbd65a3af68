"""Errors: one tree, split by whose fault it is.

Layer: bottom; imports nothing of ours.

    PivotError
    |-- MisuseError                  the caller's fault: nothing was done
    |   |-- ConfigError              contradictory or impossible configuration
    |   |-- BadKeyError              not a key, not a glob
    |   |-- BadValueError            not JSON we can keep
    |   |-- BadQueryError            a parameter of a request that cannot be
    |   |-- RejectedError            a filter says no
    |   `-- NotRunningError          asked of something that does not run
    |-- PeerError                    a peer's fault: its message is refused, nothing changed
    |   |-- BadEnvelopeError         malformed, oversized, duplicate fields
    |   |-- UnknownVersionError      a message version we do not speak
    |   |-- BadEntryError            an entry that contradicts itself
    |   `-- ClockAheadError          a stamp too far in our future
    |-- TransportError               the network's fault
    |   |-- UnreachableError         nobody answers there
    |   |-- DeadlineError            no answer in time: unknown whether it happened
    |   |-- ResponseTooLargeError    an answer above its limit
    |   |-- BadAnswerError           an answer that no server of ours gives
    |   `-- RefusedError             an answer that says no (HTTP 4xx, 5xx)
    |       `-- NotFoundError        there is no such entry (HTTP 404)
    |-- StorageError                 the store's fault: certainly not written
    `-- ActorError                   the process's fault
        |-- MailboxBusyError         too much is waiting: certainly not done
        |-- ActorStoppedError        it ended before it was known whether it happened
        `-- RestartLimitError        an actor crashed too often; its member ends

Messages name the thing, the value and the limit.
"""

from typing import cast


class PivotError(Exception):
    """Everything this package raises on purpose."""

    def _render_traceback_(self) -> list[str]:  # pyright: ignore[reportUnusedFunction] - a notebook calls it
        """What a notebook shows below the cell: the message, for it names the thing, the value and the limit."""
        return [f"{type(self).__name__}: {self}"]


class MisuseError(PivotError):
    """The caller asked for something that cannot be; nothing was done."""


class ConfigError(MisuseError):
    """Contradictory or impossible configuration."""


class BadKeyError(MisuseError):
    """A text is no key or no glob."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"key {key!r} {reason}")


class BadValueError(MisuseError):
    """A text is not a JSON value we can keep."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"value {reason}")


class BadQueryError(MisuseError):
    """A parameter of a request is not one that we know."""

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"parameter {name} is {value[:40]!r}, allowed is {allowed}")


class RejectedError(MisuseError):
    """A filter does not want it; raise it in a filter to refuse, with the reason."""


class NotRunningError(MisuseError):
    """Something was asked of a server or member that does not run."""


class PeerError(PivotError):
    """A peer sent something that is refused; nothing changed."""


class BadEnvelopeError(PeerError):
    """Bytes are not an envelope we accept."""


class UnknownVersionError(PeerError):
    """An envelope has a message version we do not speak."""

    def __init__(self, version: object, spoken: tuple[int, int]) -> None:
        super().__init__(f"message version {version!r} is not spoken here, only {spoken[0]} to {spoken[1]}")


class BadEntryError(PeerError):
    """An entry contradicts itself."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"entry {key!r}: {reason}")


class ClockAheadError(PeerError):
    """A stamp leads our clock by more than is allowed."""

    def __init__(self, *, stamp: int, wall_ns: int, ahead_ns_max: int) -> None:
        super().__init__(
            f"clock_ahead: stamp {stamp} leads our clock {wall_ns} by {(stamp - wall_ns) / 1e9:.1f} s, "
            f"at most {ahead_ns_max / 1e9:.1f} s are allowed"
        )


class TransportError(PivotError):
    """The network did not do its part."""


class UnreachableError(TransportError):
    """Nobody answers there."""


class DeadlineError(TransportError):
    """No answer in time; whether it happened is unknown."""


class ResponseTooLargeError(TransportError):
    """An answer is above its limit."""


class BadAnswerError(TransportError):
    """An answer that no server of ours gives: whoever listens there is something else."""

    def __init__(self, asked: str, reason: str, said: str) -> None:
        super().__init__(f"{asked}: the answer is not that of a pivot server: {reason}; it says {said!r}")


class RefusedError(TransportError):
    """A peer answered with a status that says no.

    Attributes:
        status: HTTP status.
        reason: what the answer said, one line.
    """

    def __init__(self, url: str, status: int, reason: str) -> None:
        super().__init__(f"{url} answered {status}: {reason}")
        self.status = status
        self.reason = reason


class NotFoundError(RefusedError):
    """A peer answered that there is no such entry."""


class StorageError(PivotError):
    """The store did not keep it: certainly not written."""


class ActorError(PivotError):
    """An actor of this process cannot take part."""


class MailboxBusyError(ActorError):
    """Too much is waiting already: certainly not done."""


class ActorStoppedError(ActorError):
    """The actor ended before it was known whether it happened."""


class RestartLimitError(ActorError):
    """An actor crashed too often within a while."""


def root_reason(error: BaseException) -> str:
    """What was first wrong, in words: the root of a chain, or of the first of a group, of exceptions."""
    if isinstance(error, BaseExceptionGroup):
        return root_reason(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    before = error.__cause__ or error.__context__
    if before is not None:
        return root_reason(before)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
