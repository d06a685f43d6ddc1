"""How long the store has been down, as the messages of one handler tell: when they come again, and what is logged.

Owned by what stands around a handler. Failures in a row say less than time: with many handlers there are many at once.
"""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING

from leasekeeper.errors import LeasekeeperError
from leasekeeper.loggers import safe_logger
from leasekeeper.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

log = safe_logger("leasekeeper.idempotency")

SHORTEST, LONGEST = 2.0, 60.0
"""Seconds after which a message comes again: as long as the store has been down, between these, and some jitter."""
JITTER = 0.1
"""Part of a pause by which a message comes later, at most; at least a second."""


TOLD = 60.0
"""Seconds between two log lines about one outage."""
NOT_RUN = "is not run, its message is given back"
_COSTS = "; this receive counts, and after {} receives SQS moves a message to the dead-letter queue, if there is one"


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

    def failed(self, error: Exception, follows: str, *, limit: int | None, spends: bool = True) -> float:
        """Note one more failure; returns after how many seconds the message should come again.

        Args:
            error: what the store said.
            follows: what happens to the message.
            limit: the `maxReceiveCount` of the queue; None: unknown.
            spends: whether the message is received again because of it.
        """
        now = self._clock()
        since = self._since = now if self._since is None else self._since
        self.failures += 1
        if now >= self._tell_again:
            self._tell_again = now + TOLD
            level = logging.ERROR if spends else logging.WARNING
            costs = _COSTS.format("maxReceiveCount" if limit is None else limit) if spends else ""
            log.log(
                level, "handler %s %s (%d in a row): %s%s", self._handler, follows, self.failures, _text(error), costs
            )
        return jittered(min(max(now - since, SHORTEST), LONGEST))

    def over(self) -> None:
        """Note that the store has answered."""
        self.failures, self._since, self._tell_again = 0, None, -math.inf


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, LeasekeeperError) else one_line(error)


def jittered(seconds: float) -> float:
    """Some more seconds, so that messages do not all come at once."""
    return min(seconds + random.uniform(0, max(1.0, JITTER * seconds)), 43_200.0)  # noqa: S311 - no secret
