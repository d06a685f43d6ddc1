"""The smallest of recent values: exact within a minute, forgotten after two. No list is kept.

Owned by the ledger, for the least lease left at a delete.
"""

from __future__ import annotations

import math

MINUTE = 60.0
"""Seconds that are put together."""


class RecentSmallest:
    """The smallest value of this minute and of the one before.

    To add a value, call `begin(minute)` if `now // MINUTE` is another minute, then lower `smallest`. The ledger does it
    in place: a call would cost every delete.

    Attributes:
        minute: the minute of the last value.
        smallest: the smallest value of that minute.
    """

    __slots__ = ("_before", "minute", "smallest")

    def __init__(self) -> None:
        self.minute = -math.inf
        self.smallest = self._before = math.inf

    def begin(self, minute: float) -> None:
        """The first value of another minute follows."""
        self._before = self.smallest if minute == self.minute + 1 else math.inf
        self.minute, self.smallest = minute, math.inf

    def read(self, now: float) -> float | None:
        """The smallest value of the last one to two minutes; None without one. Changes nothing."""
        passed = now // MINUTE - self.minute
        found = min(self.smallest, self._before) if passed < 1 else self.smallest if passed < 2 else math.inf
        return None if found == math.inf else found
