"""The lag of the engine's loop: how late its timers fire, because other threads hold the GIL.

Owned by the runner; pollers ask it. Many busy threads can keep the engine from the GIL for a second at a time. Messages
received then would lose much of their lease before anything reads them, so pollers wait until the lag is over (L9).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 0.1
"""Seconds between two measurements."""
WINDOW = 10
"""Measurements that count: the lag is the longest of the last second."""


class LagMeter:
    """Measures the lag while there is work, and sleeps otherwise.

    Args:
        clock: seconds, monotonic.
        busy: whether messages are held; when they are not, measuring ends until `watch` is called again.

    Attributes:
        seconds: the lag lately, in seconds.
        longest: the longest lag since the start, in seconds.
    """

    def __init__(self, clock: Callable[[], float], busy: Callable[[], bool]) -> None:
        self._clock = clock
        self._busy = busy
        self._recent: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self._expected = 0.0
        self.seconds = 0.0
        self.longest = 0.0

    def watch(self) -> None:
        """Measure as long as there is work."""
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        self._expected = self._clock() + INTERVAL
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def _look(self) -> None:
        self._timer = None
        lag = max(0.0, self._clock() - self._expected)
        self.longest = max(self.longest, lag)
        self._recent = [*self._recent[1 - WINDOW :], lag]
        if self._busy():
            self.seconds = max(self._recent)
            self._arm()
        else:
            self.seconds, self._recent = 0.0, []

    def close(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<LagMeter {self.seconds * 1e3:.0f} ms lately, {self.longest * 1e3:.0f} ms at most>"
