"""The errors of Leasekeeper, one class for each way to react.

Every error says what was wrong, with which value, and what to do. All of them derive from `LeasekeeperError`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")


class LeasekeeperError(Exception):
    """The base class of every error that Leasekeeper raises."""


class ConfigurationError(LeasekeeperError):
    """Options, a handler or an address that cannot work. Raised before anything starts.

    With several mistakes, `args` has a sentence for each, and the text a line for each.
    """

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class Mistakes:
    """Collects the refusals in a `with` block, which raises all of them at its end as one `ConfigurationError`."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._sentences:
            raise ConfigurationError(*dict.fromkeys(self._sentences))

    def add(self, sentences: Iterable[str]) -> None:
        """Note these."""
        self._sentences += sentences

    def noted(self, make: Callable[..., T], *given: Any, **named: Any) -> T | None:
        """What the call returns; None if it refuses, which is noted."""
        try:
            return make(*given, **named)
        except ConfigurationError as error:
            self.add(error.args)
        return None


class Unusable(LeasekeeperError):
    """Something outside that is needed does not exist, cannot be reached, or refuses; its subclasses say what."""


class NotFound(Unusable, ConfigurationError):
    """A bucket or a table that the configuration names does not exist."""


class CredentialsMissing(Unusable, ConfigurationError):
    """No AWS credentials were found, or they could not be refreshed."""


class QueueUnusable(Unusable):
    """The queue does not exist, or access is denied. A start fails with it; a running consumer becomes unhealthy."""


class LifespanError(LeasekeeperError):
    """A lifespan failed to open, which fails the start, or to close. Its cause is the error of the lifespan."""


class UndecodableBody(LeasekeeperError):
    """A message body does not match the handler's annotation. This is final: the message follows the reject policy."""


class UnmatchedMessage(LeasekeeperError):
    """No handler of the queue takes the message, which is retried with back-off, because `on_unmatched` is 'retry'."""


class HandlerTimeout(LeasekeeperError):
    """A handler ran longer than `handler_timeout` seconds. The message is retried with back-off."""


class HandlerError(LeasekeeperError):
    """Replaces an error of a handler that is too long to log, or that cannot be shown. The message is retried.

    Its text is the type of the original error and the start of its text; its traceback is the original one.
    """


class Closed(LeasekeeperError):
    """A consumer or client was used after it was closed, or a message after it was settled."""


class BufferFull(LeasekeeperError):
    """A sender holds as many messages as its `buffer` and `buffer_bytes` allow. Await `sender.room()`, or send less."""


class Unsent(LeasekeeperError):
    """Messages that were posted to a sender were not sent.

    Attributes:
        failures: for each message, what was to be sent and the error.
    """

    def __init__(self, text: str, failures: Sequence[tuple[Any, Exception]]) -> None:
        super().__init__(text)
        self.failures = failures


class Verdict(Enum):
    """What an SQS error means for the caller. `docs/reference/errors.md` has the table."""

    THROTTLED = "throttled"
    """Too many calls: back off with jitter, use fewer pollers, make lease-critical calls first."""
    UNAVAILABLE = "unavailable"
    """5xx, reset, refused, time-out or an unreadable answer: the call can be repeated."""
    OVER_LIMIT = "over_limit"
    """The queue has as many messages in flight as SQS allows: receive nothing until some are deleted."""
    MISSING = "missing"
    """The queue does not exist: a start fails; a running consumer retries slowly and becomes unhealthy."""
    DENIED = "denied"
    """Access, signature or key policy is denied: as for MISSING."""
    CREDENTIALS = "credentials"
    """Credentials are expired or unknown: refresh them and retry slowly; handlers keep running."""
    LEASE_LOST = "lease_lost"
    """The receipt is invalid or expired, or the message is no longer in flight: never retried."""
    LEASE_CAPPED = "lease_capped"
    """The extension would pass 12 hours since the receive: extend no more and keep the present deadline."""
    REFUSED = "refused"
    """The request itself is wrong, through a bug or bad input: reported once, never retried."""


class KeyUnusable(LeasekeeperError):
    """The store of idempotency keys answers, and refuses the key of one message: the handler was not called."""


class SqsError(Unusable):
    """SQS refused a call or could not be reached.

    Attributes:
        verdict: what it means for the caller.
        code: the error code of SQS, e.g. `AWS.SimpleQueueService.NonExistentQueue`; for connection errors a code of
            Leasekeeper, e.g. `ConnectError`, `ReadTimeout`.
        message: the server's sentence.
        operation: the API call, e.g. `ReceiveMessage`.
        status: the HTTP status; 0 if there was no answer.
        request_id: the server's id of the call, for AWS support; empty if there is none.
        retry_after: seconds that the server asks to wait before the next call (`Retry-After`), 0 to 60; 0: it does not.
    """

    answer: bytes = b""
    """What the server answered, if it refused the call; other services put more there than a sentence."""

    def __init__(
        self,
        verdict: Verdict,
        code: str,
        message: str,
        *,
        operation: str = "",
        status: int = 0,
        request_id: str = "",
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(verdict, code, message)
        self.verdict = verdict
        self.code = code
        self.message = message
        self.operation = operation
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def advised(self) -> bool:
        """Whether its message says what to do already, as those of connections do."""
        return self.verdict is Verdict.UNAVAILABLE and (not self.status or self.code.startswith(("HTTP", "Garbage")))

    def __str__(self) -> str:
        where = f"{self.operation}: " if self.operation else ""
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{where}{self.code}{status}: {self.message}"
