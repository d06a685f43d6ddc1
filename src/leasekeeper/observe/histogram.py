"""Histograms: durations counted in fixed buckets, and what an exporter reads of them.

Filled on the engine's thread, only while an exporter asks for them (`Consumer.measure`). Read from any thread.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HANDLER = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Bounds for handlers, in seconds: from a millisecond to an hour."""
WAIT = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds for the time in our own buffer."""
LAG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Bounds for the time in the queue: up to a day."""
CALL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""Bounds for calls to SQS; a receive waits for messages for 20 seconds at most."""
TOGETHER = 512
"""Durations that are counted together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Durations by bucket, counted since they were first asked for."""

    bounds: tuple[float, ...]
    """The upper bounds of the buckets, in seconds; each includes its bound."""
    counts: tuple[int, ...]
    """Durations in each bucket, and, last, those above all bounds."""
    total: float
    """The sum of all durations, in seconds."""

    @property
    def count(self) -> int:
        """How many durations there are."""
        return sum(self.counts)

    def since(self, before: Distribution | None) -> Distribution:
        """What was added since an earlier reading; all of it if that was of an earlier start."""
        if before is None or any(now < then for now, then in zip(self.counts, before.counts, strict=True)):
            return self
        added = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        return Distribution(bounds=self.bounds, counts=added, total=self.total - before.total)

    def quantile(self, share: float) -> float | None:
        """The seconds that this share of the durations took at most, estimated within their bucket; None without any.

        Beyond the last bound it is that bound.
        """
        if not (left := share * self.count):
            return None
        low = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if left <= count:
                return low + (bound - low) * left / count
            left -= count
            low = bound
        return low


class Histogram:
    """Counts durations in buckets with these upper bounds.

    Durations are kept as they come and counted some hundreds at a time: to sort them takes less than to look up the
    bucket of each. The counted and the other durations are replaced together, so a reader on another thread finds each
    of them once.
    """

    __slots__ = ("_bounds", "_state")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._state: tuple[Distribution, list[float]] = (
            Distribution(bounds=bounds, counts=(0,) * (len(bounds) + 1), total=0.0),
            [],
        )

    def add(self, seconds: Sequence[float]) -> None:
        """Count durations."""
        pending = self._state[1]
        pending += seconds
        if len(pending) >= TOGETHER:
            self._state = self.read(), []

    def read(self) -> Distribution:
        """What was counted so far."""
        counted, pending = self._state
        durations = sorted(pending)  # a copy: the engine may add to it meanwhile
        up_to = [bisect_right(durations, bound) for bound in self._bounds]
        added = (high - low for low, high in pairwise((0, *up_to, len(durations))))
        return Distribution(
            bounds=self._bounds,
            counts=tuple(map(add, counted.counts, added)),
            total=counted.total + sum(durations),
        )
