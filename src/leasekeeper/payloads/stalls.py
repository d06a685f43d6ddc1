"""Stalls: when this process stood still. An answer that lay unread meanwhile brings a lease that cannot be dated.

Owned by the lane of payloads, used on its loop. The engine counts such a lease from when it read the answer, which is
safe for a message, since SQS judges its delete. An object has no such judge, so it stays.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_BEAT = 1.0
"""Seconds between two looks at the clock, at most."""
SHARE = 20
"""The looks come this often in a visibility timeout. A lease is counted a fifth shorter than it is."""


class Stalls:
    """Notes when the loop did not run.

    Args:
        visibility: seconds of a lease.
        clock: seconds, monotonic; that of the engine.
    """

    def __init__(self, visibility: float, clock: Callable[[], float]) -> None:
        self._beat = min(LONGEST_BEAT, visibility / SHARE)
        self._clock = clock
        self._last = clock()
        self._last_end = -math.inf
        """When the last stall ended."""
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look from now on."""
        self._last = self._clock()
        self._timer = asyncio.get_running_loop().call_later(self._beat, self._look)

    def _look(self) -> None:
        self.note()
        self._timer = asyncio.get_running_loop().call_later(self._beat, self._look)

    def note(self) -> None:
        """Note a stall, if there was one since the last look."""
        now = self._clock()
        if now - self._last > 2 * self._beat:
            self._last_end = now
        self._last = now

    def any_since(self, begin: float) -> bool:
        """Whether the loop stood still at any time since then."""
        self.note()
        return self._last_end >= begin

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def __repr__(self) -> str:
        return f"<Stalls, the last ended at {self._last_end:g}>"
