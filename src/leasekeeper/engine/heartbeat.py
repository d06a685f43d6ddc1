"""The heartbeat: keeps messages hidden while we hold them.

Owned by the runner. It sleeps until the ledger's next due lease and hands the due deliveries to the extender; it goes
on while a shutdown drains and flushes (L4), and no error ends it.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.leases import Leases


class Heartbeat:
    """A timer at the next due lease.

    Args:
        leases: the leases of the ledger.
        clock: seconds, monotonic.
        extend: extends the leases of these deliveries; also called without any, when leases have ended.
        failed: called with what `tick` or `extend` raised; the next beat follows (L15).
    """

    def __init__(
        self,
        leases: Leases,
        *,
        clock: Callable[[], float],
        extend: Callable[[Sequence[Delivery]], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._extend = extend
        self._failed = failed
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self._closed = False
        self._ended = asyncio.Event()

    def reschedule(self) -> None:
        """Look at the leases again: one may be due earlier than the timer."""
        due = self._leases.next_due()
        if due < self._armed and not self._closed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = due
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._beat)

    def _beat(self) -> None:
        # A timer may fire early by the resolution of the clock. Its lease counts as due all the same: otherwise the
        # timer would be set for the same moment again, without end where the clock stands still while there is work.
        now = max(self._clock(), self._armed)
        self._timer, self._armed = None, math.inf
        try:
            self._extend(self._leases.tick(now))
        except Exception as error:
            self._failed("a heartbeat; the next one follows", error)
        self.reschedule()

    async def run(self) -> None:
        """Beat until closed."""
        self.reschedule()
        await self._ended.wait()

    def close(self) -> None:
        """Beat no more."""
        self._closed = True
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()

    def __repr__(self) -> str:
        due = f"next in {self._armed - self._clock():.1f} s" if self._armed < math.inf else "nothing due"
        return f"<Heartbeat {due}>"
