"""How long the store has been down, as the messages of one handler tell: when they come again, and what is logged.

Owned by what stands around a handler. Failures in a row say less than time: with many handlers there are many at once.
"""

from __future__ import annotations

import logging
import math
import random
import time
from typing import TYPE_CHECKING

from leasekeeper.errors import LeasekeeperError, SqsError, Verdict
from leasekeeper.loggers import safe_logger
from leasekeeper.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

log = safe_logger("leasekeeper.idempotency")

SHORTEST, LONGEST = 2.0, 60.0
"""Seconds after which a message comes again: as long as the store has been down, between these, and some jitter."""
JITTER = 0.1
"""Part of a pause by which a message comes later, at most; at least a second."""


_NO_ANSWER = frozenset(
    {"OSError", "ConnectionError", "TimeoutError", "EOFError", "StoreUnavailable"}  # also those of redis-py
    | {"ClusterError", "TryAgainError", "OperationalError", "InterfaceError"}
)
"""Names of errors that say nothing about a key: no connection, no answer, a part of a cluster that is down, a lock."""
TOLD = 60.0
"""Seconds between two log lines about one outage."""
NOT_RUN = "is not run, its message is tried again"
_NOT_DONE = (
    "handler %s ended well, but the key of message %s is not marked as done yet: %s; the message is deleted, and the "
    "key is tried again for a minute. Nothing needs to be done, unless a later warning says that it could not be "
    "completed"
)
_NOT_FREE = (
    "handler %s did not end well, and the key of message %s could not be freed: %s; it stays claimed until the lease "
    "of the message would have ended, and a retry waits until then. Nothing needs to be done"
)


class Outage:
    """The time since the first of the failures in a row. Used from any thread.

    Attributes:
        failures: in a row.
    """

    def __init__(self, handler: str, clock: Callable[[], float]) -> None:
        self._handler = handler
        self._clock = clock
        self._since: float | None = None
        self.failures = 0
        self._tell_again = -math.inf
        self._told: dict[bool, float] = {}
        """When a key that was not completed (True) or freed (False) was told of."""
        self._left_out = 0

    def failed(self, error: Exception, follows: str, *, warns: bool = False) -> float:
        """Note one more failure; returns after how many seconds the message should come again.

        Args:
            error: what the store said.
            follows: what happens to the message.
            warns: whether this is no error, because the handler runs.
        """
        now = self._clock()
        since = self._since = now if self._since is None else self._since
        self.failures += 1
        if now >= self._tell_again:
            self._tell_again = now + TOLD
            level = logging.WARNING if warns else logging.ERROR
            log.log(level, "handler %s %s (%d in a row): %s", self._handler, follows, self.failures, _text(error))
        return jittered(min(max(now - since, SHORTEST), LONGEST))

    def over(self) -> None:
        """Note that the store has answered."""
        if self._left_out and (self.failures or self._clock() >= max(self._told.values()) + TOLD):
            self._tell_left_out()
        self.failures, self._since = 0, None

    def not_ended(self, message_id: str, error: Exception, *, completes: bool) -> None:
        """Tell that the store did not answer at the end of a run: once a minute, and then how many were left out.

        Args:
            message_id: of the message.
            error: what the store said.
            completes: whether its key was going to be done; otherwise, free.
        """
        now = self._clock()
        if now < self._told.get(completes, -math.inf) + TOLD:
            self._left_out += 1
            return
        if self._left_out and completes in self._told:
            self._tell_left_out()
        self._told[completes] = now
        log.warning(_NOT_DONE if completes else _NOT_FREE, self._handler, message_id, _text(error))

    def _tell_left_out(self) -> None:
        count, self._left_out = self._left_out, 0
        log.warning(
            "handler %s: %d more key%s could not be marked as done or freed, as told before",
            self._handler,
            count,
            "" if count == 1 else "s",
        )


class NotExtended:
    """Tells once a minute of claims that are not extended. They are tried again each second."""

    def __init__(self) -> None:
        self._tell_again = -math.inf

    def tell(self, count: int, error: Exception) -> None:
        """Tell of so many."""
        if (now := time.monotonic()) < self._tell_again:
            return
        self._tell_again = now + TOLD
        claims = "1 claim was" if count == 1 else f"{count} claims were"
        log.warning(
            "%s not extended: %s; this is tried again until the store answers. If it does before the claims end, "
            "nothing is lost",
            claims,
            _text(error),
        )


def has_answered(error: Exception) -> bool:
    """Whether a store has answered with this error, by the classes of redis-py, psycopg and of our own."""
    if isinstance(error, SqsError):
        return error.verdict is Verdict.REFUSED
    return not any(each.__name__ in _NO_ANSWER for each in type(error).__mro__)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, LeasekeeperError) else one_line(error)


def jittered(seconds: float) -> float:
    """Some more seconds, so that messages do not all come at once."""
    return min(seconds + random.uniform(0, max(1.0, JITTER * seconds)), 43_200.0)  # noqa: S311 - no secret
