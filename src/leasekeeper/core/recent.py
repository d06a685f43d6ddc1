"""The smallest of recent values: exact within a minute, forgotten after two. No list is kept.

Owned by the ledger, for the least lease left at a delete.
"""

from __future__ import annotations

import math

MINUTE = 60.0
"""Seconds that are put together."""


class RecentSmallest:
    """The smallest value of this minute and of the one before."""

    __slots__ = ("_before", "_minute", "_now")

    def __init__(self) -> None:
        self._minute = -math.inf
        self._now = self._before = math.inf

    def add(self, value: float, now: float) -> None:
        """Take a value; `now` in seconds, monotonic."""
        minute = now // MINUTE
        if minute != self._minute:
            self._before = self._now if minute == self._minute + 1 else math.inf
            self._minute, self._now = minute, math.inf
        self._now = min(self._now, value)

    def read(self, now: float) -> float | None:
        """The smallest value of the last one to two minutes; None without one. Changes nothing."""
        passed = now // MINUTE - self._minute
        found = min(self._now, self._before) if passed < 1 else self._now if passed < 2 else math.inf
        return None if found == math.inf else found
