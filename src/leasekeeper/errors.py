"""What can go wrong, by what happens next.

Every error says what was wrong, with which value, and what to do. All of them are `LeasekeeperError`.
"""

from __future__ import annotations

from enum import Enum


class LeasekeeperError(Exception):
    """The root of every error that Leasekeeper raises on purpose."""


class ConfigurationError(LeasekeeperError):
    """Options, a handler or an address that cannot work; raised before anything is started."""


class CredentialsMissing(ConfigurationError):
    """No AWS credentials could be found, or those found could not be refreshed."""


class QueueUnusable(LeasekeeperError):
    """The queue does not exist, or we may not use it: a start fails with this, a running consumer turns unhealthy."""


class UndecodableBody(LeasekeeperError):
    """A message body that is not what the handler's annotation says; final, so it follows the reject policy."""


class HandlerTimeout(LeasekeeperError):
    """A handler ran longer than `handler_timeout` seconds; the message is retried with back-off."""


class Closed(LeasekeeperError):
    """Something was asked of a consumer, a client or a message that is already closed or settled."""


class Verdict(Enum):
    """What an SQS error means for the one who made the call (the decision table in `docs/reference/errors.md`)."""

    THROTTLED = "throttled"
    """Too many calls: back off with jitter, fewer pollers, lease-critical calls first."""
    UNAVAILABLE = "unavailable"
    """5xx, reset, refused, time-out, garbage: the same call may be made again."""
    OVER_LIMIT = "over_limit"
    """The queue has as many messages in flight as SQS allows: receive nothing until some are deleted."""
    MISSING = "missing"
    """No such queue: fail a start; while running, retry slowly and turn unhealthy."""
    DENIED = "denied"
    """Access, signature or key policy refused: as MISSING."""
    CREDENTIALS = "credentials"
    """Expired or unknown credentials: refresh them, retry slowly; handlers go on."""
    LEASE_LOST = "lease_lost"
    """The receipt is invalid, expired, or its message no longer in flight: never retried."""
    LEASE_CAPPED = "lease_capped"
    """The extension would pass 12 hours since the receive: extend no more, the present deadline stands."""
    REFUSED = "refused"
    """The request itself is wrong: a bug or bad input; reported once, never retried."""


class SqsError(LeasekeeperError):
    """SQS refused a call, or could not be reached.

    Attributes:
        verdict: what it means for the caller.
        code: the error code as SQS names it, e.g. `AWS.SimpleQueueService.NonExistentQueue`; for errors of the
            connection a word of ours, e.g. `ConnectError`, `ReadTimeout`.
        message: the server's own sentence.
        operation: the API call, e.g. `ReceiveMessage`.
        status: the HTTP status, 0 when no answer came.
        request_id: the server's id of the call, for AWS support; empty when there is none.
    """

    def __init__(
        self,
        verdict: Verdict,
        code: str,
        message: str,
        *,
        operation: str = "",
        status: int = 0,
        request_id: str = "",
    ) -> None:
        super().__init__(verdict, code, message)
        self.verdict = verdict
        self.code = code
        self.message = message
        self.operation = operation
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        where = f"{self.operation}: " if self.operation else ""
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{where}{self.code}{status}: {self.message}"
