"""The estimate of a full batch: how many messages an answer holds while the queue has more of them.

The throttler owns one. It uses it to tell a queue that is nearly empty from a queue that answers in small portions.
A wrong estimate does not last: it is tested again and again, and dropped when the queue is found empty.
"""

from __future__ import annotations

import math

PROBE_ANSWERS = 12
"""How many answers are compared at a time. Fewer leave the result to chance; more delay the response to a burst."""

LONGEST_REST = 64
"""The most answers between two probes. A probe every 64 answers costs at most a sixth more receives."""

PACE_CHANGE = 0.7
"""The least change of pace, as a natural logarithm, that a comparison needs: about half or double the calls."""

RETEST_AFTER = 5.0
"""Seconds until the estimate is first re-tested; doubles each time."""

LONGEST_RETEST = 60.0
"""The longest time between two re-tests, in seconds."""

FULL_SHARE = 0.8
"""An answer counts as full from this share of the average portion on: half of all portions are below average."""


class FullBatchEstimator:
    """How many messages make a full answer: at most a batch, often fewer, because SQS samples its servers.

    A short answer has one of two causes. Either the queue is nearly empty, or it is spread over many servers and this
    call reached few of them. The two respond differently when the pace of the calls changes:

    - The queue is nearly empty: half the calls bring twice as much each, so fewer calls are enough.
    - The queue holds plenty: half the calls bring the same each, so an answer of this size is as good as a full one.

    From time to time the estimator *probes*: the throttler receives as fast as it may for `PROBE_ANSWERS` answers, and
    the estimator compares the result with the answers before. When the estimate says "plenty", it is re-tested after
    a few seconds: only a whole batch counts as full, pollers slow down, and the two paces are compared again.

    Args:
        batch: how many messages a call asks for.

    Attributes:
        full_size: how many messages make a full answer. This is `batch` until a smaller number is known to be enough.
        probing: whether a probe is under way. Pollers do not pause during a probe.
    """

    __slots__ = (
        "_answers",
        "_batch",
        "_got",
        "_previous",
        "_rest",
        "_retest_after",
        "_retest_at",
        "_since",
        "full_size",
        "probing",
    )

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.reset(probe=True)

    def reset(self, *, probe: bool) -> None:
        """Forget everything, for example because the queue was found empty.

        Args:
            probe: begin with a probe. Use it after a silence: the next answer may be the first of many.
        """
        self.full_size = float(self._batch)
        self.probing = probe
        self._previous: tuple[float, float] | None = None  # answers a second, messages an answer
        self._rest = PROBE_ANSWERS
        self._retest_after = RETEST_AFTER
        self._retest_at = math.inf
        self._answers = self._got = 0
        self._since = math.inf

    def answered(self, now: float, got: int) -> None:
        """Count an answer that held messages, to a call that asked for a batch.

        Args:
            now: seconds, monotonic.
            got: how many messages, 1 or more.
        """
        if self._since > now:
            self._since = now
            return
        self._answers += 1
        self._got += got
        if self._answers < (PROBE_ANSWERS if self.probing else self._rest):
            return
        self._compare(now, self._answers / max(now - self._since, 1e-9), self._got / self._answers)
        self._answers = self._got = 0
        self._since = now
        if not self.probing:
            self._rest = min(2 * self._rest, LONGEST_REST)
        self.probing = not self.probing

    def _compare(self, now: float, pace: float, portion: float) -> None:
        """Compare answers a second and messages an answer with the last comparison, and update the estimate."""
        if now >= self._retest_at:
            self.full_size = float(self._batch)
            self._retest_at = math.inf
            self._retest_after = min(2 * self._retest_after, LONGEST_RETEST)
            self._rest = PROBE_ANSWERS
        elif self._previous is not None:
            faster, fuller = math.log(pace / self._previous[0]), math.log(portion / self._previous[1])
            if abs(faster) < PACE_CHANGE:
                return
            # A nearly empty queue: twice the calls bring half each, fuller == -faster. Plenty: fuller == 0.
            # A trickle brings single messages at any pace. If they counted as plenty, all pollers would start.
            if fuller / faster > -0.5 and portion >= 2:
                self.full_size = FULL_SHARE * portion
                self._retest_at = min(self._retest_at, now + self._retest_after)
            else:
                self.full_size = float(self._batch)
                self._retest_at = math.inf
                self._retest_after = RETEST_AFTER
        self._previous = pace, portion

    def __repr__(self) -> str:
        probing = ", probing" if self.probing else ""
        return f"<FullBatchEstimator: {self.full_size:.2g} of {self._batch} is a full answer{probing}>"
