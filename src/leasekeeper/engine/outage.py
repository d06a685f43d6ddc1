"""An outage of the store of idempotency keys: nothing is received until the store answers again.

Owned by a runner whose consumer has such a store. Without a claim no handler runs, so SQS would only count the receive,
and after some receives it moves messages to the dead-letter queue. It promises that an outage costs one receive of what
is here, or on its way, when it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.schedules import Exponential
from leasekeeper.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from leasekeeper.engine.health import Health
    from leasekeeper.options import Options

PROBES = Exponential(base=0.5, maximum=10.0)
"""Pauses between questions to a store that does not answer."""
AGAIN = Exponential(base=1.0, maximum=60.0)
"""Pauses before the first question when the last outage was over a moment ago: it answers, and takes no claims."""
RECENT = 60.0
"""Seconds: a shorter time between two outages makes them one."""
POLL_ENDS = 1.0
"""Seconds by which an answer may be late."""
OTHERS = 0.25
"""Seconds until the other pollers look again while one of them asks."""
TAKES_NONE = "its store of idempotency keys answers, but takes no claims: nothing is received for {:.0f} s"


class StoreOutage:
    """Whether the store is down, as far as is known.

    Args:
        probe: asks the store; raises if it cannot be used.
        health: of the consumer.
        clock: seconds, monotonic.
        draw: random numbers from 0 to 1, for jitter.

    Attributes:
        active: whether nothing is to be received now.
        open_polls: when each poll that is open ends at the latest, by poller.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        health: Health,
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self.active = False
        self.open_polls: dict[int, float] = {}
        self._probe = probe
        self._health = health
        self._clock = clock
        self._draw = draw
        self._probing = False
        self._next = self._over = 0.0
        """When the store is asked next, and when the last outage was over."""
        self._failures = self._repeated = 0

    def noticed(self, after: float, *, alone: bool) -> float:
        """A message is given back because its key could not be claimed; seconds until it may be received again.

        Polls that are open would get it, and spend another receive: it comes back when they have ended.

        Args:
            after: seconds that it waits at least.
            alone: whether the store has answered others just before. It may have failed for this key only, which is
                no reason to let all others wait.
        """
        now = self._clock()
        if not self.active:
            self._begin(now, alone=alone)
        return max(after, max(self.open_polls.values(), default=now) - now + POLL_ENDS)

    def _begin(self, now: float, *, alone: bool) -> None:
        repeats = not alone and self._over and now - self._over < RECENT
        self._repeated = self._repeated + 1 if repeats else 0
        pause = AGAIN.delay(self._repeated, self._draw()) if self._repeated else 0.0
        self.active, self._failures, self._next = True, 0, now + pause
        if pause:
            self._health.held_up(TAKES_NONE.format(pause), now)

    async def look(self) -> float:
        """Ask the store if it is time to; returns the seconds until the next look, 0 if it has answered."""
        now = self._clock()
        if self._probing or now < self._next:
            return max(self._next - now, OTHERS)
        self._probing = True
        try:
            await self._probe()
        except Exception as error:
            now = self._clock()
            self._failures += 1
            self._next = now + PROBES.delay(self._failures, self._draw())
            self._health.held_up(
                f"nothing is received until its store of idempotency keys answers: {one_line(error)}", now
            )
            return self._next - now
        finally:
            self._probing = False
        self.active, self._over = False, self._clock()
        self._health.held_up("", self._over)
        return 0.0

    def __repr__(self) -> str:
        return f"<StoreOutage {'active' if self.active else 'over'}>"


def outage_of(
    options: Options, health: Health, clock: Callable[[], float], draw: Callable[[], float]
) -> StoreOutage | None:
    """For a consumer with these options; None: it has no store, or runs its handler without one."""
    idempotency: Any = options.idempotency
    probe = getattr(idempotency, "probe", None)
    return None if probe is None else StoreOutage(probe, health, clock, draw)
