"""The heartbeat: keeps messages invisible while we hold them.

Owned by the runner. It sleeps until the ledger's next due lease and hands what is due to the extender; it goes on
while a shutdown drains and flushes (L4), and nothing it meets ends it.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.extender import Extender


class Heartbeat:
    """A timer at the next due lease."""

    def __init__(self, context: QueueContext, extender: Extender) -> None:
        self._context = context
        self._extender = extender
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self._closed = asyncio.Event()
        self.beaten: Callable[[], None] = self.heed
        """Called after each beat: leases that were over may have left the ledger."""

    def heed(self) -> None:
        """Look at the ledger again: it may hold a lease due earlier than the timer."""
        due = self._context.ledger.next_due()
        if due < self._armed and not self._closed.is_set():
            if self._timer is not None:
                self._timer.cancel()
            self._armed = due
            delay = max(0.0, due - self._context.clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._beat)

    def _beat(self) -> None:
        # A timer may fire early by the resolution of the clock. What it was set for is due all the same, or it would be
        # set again for the same moment, without end where time stands still as long as there is something to do.
        now = max(self._context.clock(), self._armed)
        self._timer, self._armed = None, math.inf
        try:
            self._extender.extend(self._context.ledger.tick(now))
        except Exception:
            self._context.logger.exception("a heartbeat of queue %s failed; the next one follows", self._context.queue)
        self.beaten()

    async def run(self) -> None:
        """Beat until closed."""
        self.heed()
        await self._closed.wait()

    def close(self) -> None:
        """Beat no more."""
        self._closed.set()
        if self._timer is not None:
            self._timer.cancel()

    def __repr__(self) -> str:
        due = f"next in {self._armed - self._context.clock():.1f} s" if self._armed < math.inf else "nothing due"
        return f"<Heartbeat {due}>"
