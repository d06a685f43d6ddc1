"""How long the store has been down, as the messages of one handler tell: when they come again, and what is logged.

Owned by what stands around a handler. Failures in a row say less than time: with many handlers there are many at once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable

log = safe_logger("leasekeeper.idempotency")

SHORTEST, LONGEST = 2.0, 60.0
"""Seconds after which a message comes again: as long as the store has been down, between these, and some jitter."""
JITTER = 0.1
"""Part of a pause by which a message comes later, at most; at least a second."""


class Outage:
    """The time since the first of the failures in a row. Used from any thread."""

    def __init__(self, handler: str, clock: Callable[[], float]) -> None:
        self._handler = handler
        self._clock = clock
        self._since: float | None = None
        self._failures = 0

    def failed(self, error: Exception, *, follows: str) -> float:
        """Note one more failure; returns after how many seconds the message should come again."""
        now = self._clock()
        since = self._since = now if self._since is None else self._since
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:  # the first, the second, the fourth ...
            log.warning("handler %s %s (%d times in a row): %s", self._handler, follows, self._failures, error)
        return jittered(min(max(now - since, SHORTEST), LONGEST))

    def over(self) -> None:
        """Note that the store has answered."""
        self._failures, self._since = 0, None


def jittered(seconds: float) -> float:
    """Some more seconds, so that messages do not all come at once."""
    return min(seconds + random.uniform(0, max(1.0, JITTER * seconds)), 43_200.0)  # noqa: S311 - no secret
