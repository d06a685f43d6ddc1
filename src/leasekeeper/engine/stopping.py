"""How far a runner has been asked to stop, and the waits that end with it.

Owned by a runner, used on the engine's loop. It promises that each wait ends in bounded time after a stop (L22).
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from leasekeeper.core.phases import Change
from leasekeeper.engine.waits import first_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from leasekeeper.options import Options

FORCED_GRACE = 0.5
"""Seconds that polls get at a forced stop: under load they are about to bring messages, which a cut would hide."""


class StopReason(Enum):
    """Why a consumer stops."""

    SIGNAL = "signal"
    """SIGTERM or SIGINT: a deployment, scale-in, a Spot interruption, or Ctrl-C. They all look alike from here."""
    CALL = "call"
    """`stop()`, the end of `async with`, the admin surface, or the end of the program."""
    UNUSABLE = "unusable"
    """The queue is gone or access to it is denied (`exit_on_unusable`)."""
    LOOP_CLOSED = "loop_closed"
    """The event loop that handlers run on is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopStatistics:
    """A stop, from the moment that it was asked for."""

    reason: str
    """Why: signal, call, unusable or loop_closed."""
    detail: str
    """The same in words, e.g. `SIGTERM`."""
    draining: float
    """Seconds for which handlers finished, or finish since."""
    flushing: float
    """Seconds for which the last deletes and releases were confirmed, or are since."""


class Stopping:
    """What was asked of a runner: to receive nothing more, to stop, or to stop at once.

    Attributes:
        quiet: set when nothing more is to be received.
        asked: set when a stop was asked for.
        forced: set when the drain is to be cut short.
    """

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._drain_ends = math.inf
        self._reason, self._detail = StopReason.CALL, "stop()"
        self._times: list[float] = []
        """When the stop was asked for, when all was drained, and when it had ended."""
        self.quiet, self.asked, self.forced = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def ask(self, *, force: bool, reason: StopReason = StopReason.CALL, detail: str = "stop()") -> None:
        """Ask for the stop; `drain_timeout` begins with the first time, and its reason counts."""
        if not self.asked.is_set():
            self._reason, self._detail = reason, detail
            self._times.append(self._clock())
            self._drain_ends = self._times[0] + self._options.drain_timeout
            self.asked.set()
        self.quiet.set()
        if force:
            self.forced.set()

    def entered(self, change: Change) -> None:
        """Note the time at which a phase of the stop has ended."""
        if self._times and change in (Change.DRAINED, Change.ENDED):
            self._times.append(self._clock())

    def statistics(self) -> StopStatistics | None:
        """The stop so far; None before it was asked for. May be called from any thread."""
        times = list(self._times)
        if not times:
            return None
        asked, drained, ended = (*times, *[self._clock()] * 2)[:3]
        return StopStatistics(
            reason=self._reason.value, detail=self._detail, draining=drained - asked, flushing=ended - drained
        )

    async def enough_grace(self, idle: Callable[[], Awaitable[object]]) -> None:
        """Wait as long as open polls may stay: for `poll_grace`, and then until handlers are idle or out of time."""
        await first_of(self.forced.wait(), asyncio.sleep(self._options.poll_grace))
        await first_of(self.forced.wait(), idle(), self._drained())
        if self.forced.is_set():
            await asyncio.sleep(min(self._options.poll_grace, FORCED_GRACE))

    async def drained(self, idle: Callable[[], Awaitable[object]]) -> None:
        """Wait until handlers are idle, or their time is over."""
        await first_of(idle(), self.forced.wait(), self._drained())

    async def _drained(self) -> None:
        """Wait for the end of `drain_timeout`, which begins with the stop."""
        await asyncio.sleep(max(0.0, self._drain_ends - self._clock()))

    @property
    def limit(self) -> str:
        """What ends the drain, in words."""
        return "a forced stop" if self.forced.is_set() else f"drain_timeout={self._options.drain_timeout:g} s"

    def __repr__(self) -> str:
        asked = "forced" if self.forced.is_set() else "asked" if self.asked.is_set() else "quiet"
        return f"<Stopping {asked if self.quiet.is_set() else 'not asked'}>"
