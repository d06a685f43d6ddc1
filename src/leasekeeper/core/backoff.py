"""Back-off: how long to wait after a failure, exponentially longer with each, with jitter from a given draw.

A `Backoff` is a policy and keeps nothing; an `ErrorPause` is the small state of one poller.
No pause exceeds the policy's maximum, and one success ends the pauses.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """An exponential back-off: its ceiling is `base` at the first attempt, `factor` times that at each further one.

    Attributes:
        base: the first ceiling in seconds, 0 or more; 0 waits never.
        maximum: the highest ceiling in seconds, not below `base`.
        factor: how much the ceiling grows with each attempt, not below 1.
    """

    base: float
    maximum: float
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.base <= self.maximum:
            raise ValueError(
                f"a back-off from {self.base!r} s to at most {self.maximum!r} s cannot work: 0 <= base <= maximum"
            )
        if not self.factor >= 1:
            raise ValueError(f"a back-off that grows by {self.factor!r} would shrink: give a factor of at least 1")

    def ceiling(self, attempt: int) -> float:
        """The longest delay at this attempt, in seconds: min(maximum, base * factor ** (attempt - 1)).

        Args:
            attempt: counts from 1, without end.

        Raises:
            ValueError: the attempt is below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempt {attempt} does not exist: attempts count from 1")
        try:
            return min(self.maximum, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            return self.maximum

    def delay(self, attempt: int, draw: float) -> float:
        """A delay with full jitter: from 0 to the ceiling, in seconds.

        Full jitter is best at spreading callers that failed together. It suits calls that can be repeated soon.

        Args:
            attempt: counts from 1.
            draw: a number from 0 to below 1, evenly distributed.
        """
        return draw * self.ceiling(attempt)

    def equal_jitter(self, attempt: int, draw: float) -> float:
        """A delay from half of the ceiling to all of it, in seconds: a message must not return at once.

        Args:
            attempt: counts from 1.
            draw: a number from 0 to below 1, evenly distributed.
        """
        return (0.5 + 0.5 * draw) * self.ceiling(attempt)


POLL_ERRORS = Backoff(base=1.0, maximum=15.0)
"""What a poller waits after failed receives.

In an outage that lasts, a poller makes 12 calls in its first minute and 8 in each later one, on average; over 500 seeds
no 60 seconds held more than 18 (L16). A longer maximum would save calls and delay the first receive after the outage.
"""


class ErrorPause:
    """How often one poller's receives have failed in a row, and so how long it pauses.

    Args:
        policy: how the pauses grow.
    """

    __slots__ = ("failures", "policy")

    def __init__(self, policy: Backoff = POLL_ERRORS) -> None:
        self.policy = policy
        self.failures = 0

    def failed(self, draw: float) -> float:
        """Count one more failure; returns the seconds to pause, with full jitter.

        Args:
            draw: a number from 0 to below 1, evenly distributed.
        """
        self.failures += 1
        return self.policy.delay(self.failures, draw)

    def succeeded(self) -> None:
        """Forget the failures: the next one pauses as if it were the first."""
        self.failures = 0

    def __repr__(self) -> str:
        return f"<ErrorPause {self.failures} failures in a row>"
