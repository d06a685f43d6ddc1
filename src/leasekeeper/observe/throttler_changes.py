"""What the throttler changed lately, and why, read from two snapshots of the same consumer; and changes of its phase.

Owned by a recorder, which compares once a second: changes within a second are seen as one. The throttler itself keeps
no history, so a message pays nothing.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from leasekeeper.observe.statistics import ConsumerStatistics

KEPT = 200
"""Changes that are kept."""
SERIES = 60
"""Seconds of limit, pollers and prefetch that are kept."""
NOTABLE = 0.25
"""The share by which limit and prefetch must have moved since the last change that was kept."""


class Change(NamedTuple):
    """A value that the throttler changed."""

    at: float
    what: str
    before: int | str
    after: int | str
    reason: str


class ThrottlerChanges:
    """The last changes, and limit, pollers and prefetch of the last minute."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque(maxlen=KEPT)
        self._series: deque[tuple[int, int, int]] = deque(maxlen=SERIES)
        self._told: dict[str, int] = {}
        self._phase = ""

    def look(self, before: ConsumerStatistics | None, now: ConsumerStatistics, at: float) -> None:
        """Compare two snapshots; `at` is in seconds since 1970."""
        throttler = now.throttler
        self._series.append((throttler.limit, throttler.pollers, throttler.prefetch))
        if now.phase != self._phase:
            if self._phase:
                self._changes.append(Change(at, "state", self._phase, now.phase, ""))
            self._phase = now.phase
        for what in ("pollers", "limit", "prefetch"):
            value: int = getattr(throttler, what)
            told = self._told.setdefault(what, value)
            if value != told and (what == "pollers" or abs(value - told) >= max(1.0, NOTABLE * told)):
                self._told[what] = value
                self._changes.append(Change(at, what, told, value, _reason(what, before, now, value > told)))

    def newest_first(self) -> list[Change]:
        """The changes, the newest first; may be asked from any thread."""
        return list(self._changes)[::-1]

    def series(self) -> dict[str, list[int]]:
        """Limit, pollers and prefetch in each of the last seconds, oldest first."""
        rows = list(islice(self._series, SERIES))
        return {name: [row[index] for row in rows] for index, name in enumerate(("limit", "pollers", "prefetch"))}


def _reason(what: str, before: ConsumerStatistics | None, now: ConsumerStatistics, more: bool) -> str:
    throttler = now.throttler
    if what == "limit":
        return (
            f"handlers take {_seconds(throttler.handler)} (median): {now.concurrency} at once finish this many within "
            "one visibility timeout"
        )
    if what == "prefetch":
        if not throttler.prefetch:
            return f"handlers take {_seconds(throttler.handler)} (median): nothing is worth fetching ahead"
        return (
            f"a receive takes {_seconds(throttler.latency)} and a handler {_seconds(throttler.handler)}: so many must "
            "wait here that handlers do not"
        )
    failed = now.receives.failed - (before.receives.failed if before is not None else 0)
    if not more and failed > 0:
        return "1 receive failed" if failed == 1 else f"{failed} receives failed"
    if more:
        return f"answers are full, or {throttler.rate:.0f} messages a second need more receives"
    return f"answers are short or empty: at {throttler.rate:.0f} messages a second fewer receives are enough"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
