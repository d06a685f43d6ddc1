"""The smallest of recent values: exact within a minute, forgotten after two. No list is kept.

Owned by the ledger, for the least lease left at a delete.
"""

from __future__ import annotations

import math

MINUTE = 60.0
"""Seconds that are put together."""


class RecentSmallest:
    """The smallest value of this minute and of the one before, and of all."""

    __slots__ = ("_before", "_ever", "_minute", "_smallest")

    def __init__(self) -> None:
        self._minute = -math.inf
        self._smallest = self._before = self._ever = math.inf

    def add(self, value: float, now: float) -> None:
        """Another value, at `now`, in seconds."""
        minute = now // MINUTE
        if minute != self._minute:
            self._before = self._smallest if minute == self._minute + 1 else math.inf
            self._minute, self._smallest = minute, math.inf
        if value < self._smallest:
            self._smallest = value
            self._ever = min(self._ever, value)

    @property
    def ever(self) -> float | None:
        """The smallest of all values; None without one."""
        return None if self._ever == math.inf else self._ever

    def read(self, now: float) -> float | None:
        """The smallest value of the last one to two minutes; None without one. Changes nothing."""
        passed = now // MINUTE - self._minute
        found = min(self._smallest, self._before) if passed < 1 else self._smallest if passed < 2 else math.inf
        return None if found == math.inf else found
