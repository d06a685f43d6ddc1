"""The pauses of a poller whose receives fail.

An `ErrorPause` is the small state of one poller. No pause exceeds the schedule's maximum, and one success ends the
pauses.
"""

from __future__ import annotations

from leasekeeper.schedules import Exponential

POLL_ERRORS = Exponential(base=1.0, maximum=15.0)
"""What a poller waits after failed receives, with full jitter: it spreads callers that failed together best.

In an outage that lasts, a poller makes 12 calls in its first minute and 8 in each later one, on average; over 500 seeds
no 60 seconds held more than 18 (L16). A longer maximum would save calls and delay the first receive after the outage.
"""


class ErrorPause:
    """How often one poller's receives have failed in a row, and so how long it pauses.

    Args:
        schedule: how the pauses grow.
    """

    __slots__ = ("failures", "schedule")

    def __init__(self, schedule: Exponential = POLL_ERRORS) -> None:
        self.schedule = schedule
        self.failures = 0

    def failed(self, draw: float) -> float:
        """Count one more failure; returns the seconds to pause, from 0 to the ceiling.

        Args:
            draw: a number from 0 to below 1, evenly distributed.
        """
        self.failures += 1
        return draw * self.schedule.ceiling(self.failures)

    def succeeded(self) -> None:
        """Forget the failures: the next one pauses as if it were the first."""
        self.failures = 0

    def __repr__(self) -> str:
        return f"<ErrorPause {self.failures} failures in a row>"
