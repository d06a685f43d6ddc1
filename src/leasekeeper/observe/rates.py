"""Rates: what a consumer did in each of the last sixty seconds, from its counts.

Owned by a recorder, which samples once a second: a message pays nothing. They begin again
when the consumer is started again.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import NamedTuple

KEPT = 60
"""Seconds, and so samples less one, that are kept."""
RECENT = 5
"""Seconds that the rate of now is averaged over."""


class Sample(NamedTuple):
    """Counts at one moment."""

    at: float
    received: int
    done: int
    failed: int
    calls: int
    lags: int = 0


_SINCE_START = Sample(0.0, 0, 0, 0, 0)


class Rates:
    """The samples of the last minute, and what follows from them."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT + 1)

    def add(self, sample: Sample) -> None:
        """Take a sample; one with lower counts than the last is of a new life of the consumer."""
        samples = self._samples
        if samples and (sample.received < samples[-1].received or sample.calls < samples[-1].calls):
            samples.clear()
        samples.append(sample)

    def _over(self, seconds: int) -> tuple[Sample, Sample, float]:
        """The samples at both ends of the last `seconds`, and the seconds between them; 0 with less than two."""
        samples = self._samples
        if len(samples) < 2:
            return _SINCE_START, _SINCE_START, 0.0
        first, last = samples[max(0, len(samples) - 1 - seconds)], samples[-1]
        return first, last, last.at - first.at

    @property
    def received(self) -> float:
        """Messages received a second, lately."""
        first, last, seconds = self._over(RECENT)
        return (last.received - first.received) / seconds if seconds > 0 else 0.0

    @property
    def new_lately(self) -> bool:
        """Whether a new message was received in the last minute; before it was sampled for so long, since the start.

        One that comes again from its back-off is not new.
        """
        samples = self._samples
        before = samples[0].lags if len(samples) > KEPT else 0
        return bool(samples) and samples[-1].lags > before

    @property
    def done(self) -> float:
        """Messages finished a second, lately."""
        first, last, seconds = self._over(RECENT)
        return (last.done - first.done) / seconds if seconds > 0 else 0.0

    @property
    def done_over_a_minute(self) -> float:
        """Messages finished a second, over the last minute as far as it was sampled."""
        first, last, seconds = self._over(KEPT)
        return (last.done - first.done) / seconds if seconds > 0 else 0.0

    @property
    def since_done(self) -> float:
        """Seconds for which no handler has ended well, as far as they were sampled."""
        samples = self._samples
        last = next((each.at for each in samples if each.done == samples[-1].done), 0.0)
        return samples[-1].at - last if samples else 0.0

    @property
    def failures_a_minute(self) -> float:
        """Handlers that raised in the last minute."""
        first, last, _ = self._over(KEPT)
        return float(last.failed - first.failed)

    @property
    def calls_per_message(self) -> float | None:
        """Calls to SQS for each finished message of the last minute; None without one."""
        first, last, _ = self._over(KEPT)
        done = last.done - first.done
        return (last.calls - first.calls) / done if done else None

    def by_second(self, name: str) -> list[float]:
        """A count's growth in each of the last 60 seconds, oldest first; 0 where nothing was sampled."""
        samples = list(self._samples)
        grown = [
            (getattr(after, name) - getattr(before, name)) / max(after.at - before.at, 0.001)
            for before, after in pairwise(samples)
        ]
        return [0.0] * (KEPT - len(grown)) + grown
