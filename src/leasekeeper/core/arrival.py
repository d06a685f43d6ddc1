"""Arrival: how long an answer was on its way, and so when SQS began the lease that it brought (L3).

Owned by the runner, shared by its pollers. SQS notes the time of a message's first receive, by its own clock. It
promises that a lease never counts from before its request, and that a wrong clock here costs no message.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.message import Received

AT_ONCE = 0.2
"""Seconds: an answer in less was on its way for less, which the margin of a lease covers."""
LONGEST = 0.6
"""The largest share of a lease that an answer is believed to have been on its way."""
STEP = 1.0
"""Seconds by which the bounds may contradict each other before one of the clocks is assumed to have been set again."""


class Arrival:
    """Estimates the delay of answers.

    The difference between our clock and the time that SQS noted is the delay plus the difference of the clocks. The
    delay is between 0 and the duration of the call, so each answer bounds the difference of the clocks. As long as 0 is
    within all bounds, the clocks are taken to agree. Otherwise the least delay is assumed that fits the bounds.

    Attributes:
        delay: seconds that an answer was on its way, from the last one that allowed an estimate.
    """

    __slots__ = ("_high", "_low", "delay")

    def __init__(self) -> None:
        self._low = -math.inf
        self._high = math.inf
        self.delay = 0.0

    def began(
        self, batch: Sequence[Received], *, requested_at: float, now: float, wall: float, visibility: float
    ) -> float:
        """When SQS began the lease of these messages: seconds on the clock of `now`.

        An answer that came at once was not on its way for long. Without a message that is received for the first time
        the delay is taken to be that of the answer before. It is an estimate, so some of the lease is always left: its
        extension, which is due soon then, makes SQS say whether the lease still holds.

        Args:
            batch: the messages of one answer.
            requested_at: when the receive was sent.
            now: when its answer was read.
            wall: epoch seconds at `now`.
            visibility: the visibility timeout that was asked for, in seconds.
        """
        duration = now - requested_at
        at_once = duration <= AT_ONCE
        if at_once and self._high - self._low <= STEP:
            return now  # nearly always: there is nothing more to learn from it
        for received in batch:
            if received.receive_count == 1:
                if noted := received.first_received_at:
                    self._measure(wall - noted, duration)
                break
        return now if at_once else now - min(self.delay, duration, LONGEST * visibility)

    def _measure(self, difference: float, duration: float) -> None:
        low, high = max(self._low, difference - duration), min(self._high, difference)
        if low > high + STEP:
            low, high = difference - duration, difference
        self._low, self._high = low, high
        skew = 0.0 if low <= 0.0 <= high else high
        self.delay = max(0.0, difference - skew)

    def __repr__(self) -> str:
        return f"<Arrival: {self.delay:.2f} s on the way, clocks differ by {self._low:.2f} to {self._high:.2f} s>"
