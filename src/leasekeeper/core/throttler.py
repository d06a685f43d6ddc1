"""The throttler: how many messages may be in flight, how many pollers there are, and how long they pause.

The runner owns one. Pollers and the worker report to it what they see, and read its decisions.
It promises that handlers never wait for a receive, that no more messages wait here than that needs, and that an idle
queue costs one call at a time. The page about the throttler in `docs/internals` explains it with pictures.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from leasekeeper.core.fullness import FullBatchEstimator
from leasekeeper.core.median import StreamingMedian
from leasekeeper.core.throttle_policy import ThrottlerStatistics
from leasekeeper.core.waiting_receives import receives_ready

if TYPE_CHECKING:
    from collections.abc import Collection

    from leasekeeper.core.throttle_policy import ThrottlePolicy

LONGEST_LATENCY = 2.0
"""Seconds: an answer that took longer has waited for messages, so it says nothing about the latency of a call."""

LONGEST_WAIT = 1.0
"""The longest a prefetched message may wait for a handler, in seconds. More is not worth fetching ahead."""

TARGET_FILL = 0.8
"""The share of a batch that a pause waits for. Arrivals vary: with a target of 1, more would often come than fits."""

HEADROOM = 1.25
"""The bound of the pollers, as a multiple of those needed on average: arrivals and latencies vary."""

MEMORY = 1.0
"""Seconds over which the rate of arrivals is averaged, with weights that fall off exponentially."""

MEDIAN_REFRESH = 0.02
"""The shortest time between two reads of the handlers' median, in seconds: a read sorts 63 values."""

WAITED = 5.0
"""An answer that took this many times a call's latency has waited: the queue was empty when it was called."""

SHORTEST_HANDLER = 1e-9
"""Seconds: the handler time used in place of 0, so that it can divide."""

VISIBILITY_OF_MEDIAN = 4
"""An adaptive visibility is this many medians. Leases are extended at half of it, so only what takes two medians is."""


class Throttler:
    """Measures queue, network and handlers, and decides on limit, pollers, pauses and prefetch.

    Attributes:
        limit: how many messages may be held at once, waiting and at work. By Little's law `concurrency` handlers that
            take *m* seconds serve `concurrency * visibility / m` messages in one visibility timeout; more would only
            wait here. It is at least twice `concurrency`, for the next one of each, and at most `max_in_flight`.
        backlog: whether the last answer was full.
        pollers: how many pollers are wanted now; always 1 or more.
        prefetch: how many messages may wait for a handler: twice what the handlers finish during one receive, one
            receive more, and the rest of one batch. Twice, because half is in receives under way. It holds no more than
            can start within `LONGEST_WAIT` and half the visibility timeout: behind a handler of minutes, none.
    """

    __slots__ = (
        "_fullness",
        "_handler",
        "_held",
        "_latency",
        "_partial",
        "_rate",
        "_rate_at",
        "_refreshed",
        "_scales",
        "_worked",
        "backlog",
        "limit",
        "policy",
        "pollers",
        "prefetch",
    )

    def __init__(self, policy: ThrottlePolicy) -> None:
        self.policy = policy
        self._worked = StreamingMedian()
        self._held = StreamingMedian()
        self._handler = 0.0  # the median of `_worked` at the last refresh; 0.0 before the first
        self._latency = 0.0  # of receives that brought a full answer
        self._partial = 0.0  # of the others that brought messages: they may have waited
        self._rate = self._rate_at = 0.0
        self.backlog = False
        self._fullness = FullBatchEstimator(policy.batch)
        self._refreshed = -math.inf
        self.pollers = (policy.pollers or 1) if policy.enabled else (policy.pollers or policy.max_pollers)
        self._begin()

    def _begin(self) -> None:
        """Decide what follows from the policy alone."""
        policy = self.policy
        self.prefetch = 0 if policy.enabled else policy.prefetch or 0
        most = 2 * policy.concurrency if policy.enabled else policy.concurrency + self.prefetch
        self.limit = min(most, policy.max_in_flight)
        self._scales = policy.enabled and policy.pollers is None

    def resize(self, concurrency: int, now: float) -> None:
        """Let this many messages be at work at once from now on."""
        most = max(self.policy.max_in_flight, concurrency)
        self.policy = replace(self.policy, concurrency=concurrency, max_in_flight=most)
        self._begin()
        if self._handler:
            self._refresh(now)

    def settled(self, now: float, *, in_hand: Collection[float], worked: Collection[float]) -> float:
        """Count handled messages, by seconds since each was received, and seconds that each handler took.

        Returns: the sum of the latter.
        """
        self._held.extend(in_hand)
        took = self._worked.extend(worked)
        if now - self._refreshed >= MEDIAN_REFRESH:
            self._refresh(now)
        return took

    def received(self, now: float, *, asked: int, got: int, latency: float) -> None:
        """Count a receive that was answered.

        A full answer adds one poller, so pollers double in each round trip: each poller's answer counts. A short or
        empty answer halves them, but not below what the present rate of arrivals needs. A full answer to a call that
        asked for less than a batch adds none: capacity is short, not pollers. `FullBatchEstimator` says what is full.

        Args:
            now: seconds, monotonic.
            asked: how many messages were asked for, 1 or more.
            got: how many came.
            latency: seconds the call took, waiting included.
        """
        self._rate = self._rate_by(now) + got / MEMORY
        self._rate_at = now
        fullness = self._fullness
        if not got or (got < asked and latency > WAITED * self.latency > 0):
            fullness.reset(probe=not got)
        elif asked >= self.policy.batch:
            fullness.answered(now, got)
        full = self.backlog = got >= min(asked, fullness.full_size)
        if got:
            self._time(got, latency)
        if not self._scales:
            return
        pollers = self.pollers
        if not full:
            pollers = max(pollers // 2, min(pollers, math.ceil(self._calls_at_once(self._rate))))
        elif asked >= self.policy.batch and latency <= LONGEST_LATENCY:
            pollers += 1
        pollers = max(1, min(pollers, self._most_pollers()))
        self.pollers = pollers if full else max(pollers, self._receives_ready())

    def _time(self, got: int, latency: float) -> None:
        """Use the time of an answer with messages to estimate the latency of a call that does not wait."""
        if latency > LONGEST_LATENCY:
            return
        if got >= self._fullness.full_size:
            self._latency += (latency - self._latency) / (8 if self._latency else 1)
        elif not self._partial or latency < self._partial:
            self._partial = latency  # waiting only adds to the latency, so the shortest is the best estimate
        elif got > 1:
            # Several messages were there when the call came, as a rule. A single one may have ended a wait.
            self._partial += (latency - self._partial) / 64

    def failed(self, now: float) -> None:
        """Count a receive that failed or was throttled. This halves the pollers.

        Args:
            now: seconds, monotonic.
        """
        self._rate = self._rate_by(now)
        self._rate_at = now
        self.backlog = False
        self._fullness.reset(probe=True)
        if self._scales:
            self.pollers = max(1, self.pollers // 2)

    def pause(self, now: float) -> float:
        """How many seconds a poller waits before its next receive.

        0 while answers are full, because the queue holds more. Otherwise the time until most of a batch has arrived
        for this poller at the present rate, less the latency of the call itself, and at most the policy's
        `longest_pause`. It is also 0 where less than one message would arrive in that time: a long poll that waits at
        the queue gets it sooner.
        """
        longest = self.policy.longest_pause
        if self.backlog or self._fullness.probing or not self.policy.enabled:
            return 0.0
        rate = self._rate_by(now) / self.pollers
        if rate * longest < 1:
            return 0.0
        return min(longest, max(0.0, TARGET_FILL * self._fullness.full_size / rate - self.latency))

    def visibility(self, minimum: int, maximum: int) -> int:
        """A visibility timeout in whole seconds that most messages finish within: four medians from receive to settled.

        Args:
            minimum: the least it may be, and its value before anything was settled.
            maximum: the most it may be, not below `minimum`.
        """
        return max(minimum, min(maximum, math.ceil(VISIBILITY_OF_MEDIAN * self._held.value)))

    @property
    def handler_seconds(self) -> float:
        """Median seconds of the last 63 handler runs; 0.0 before the first."""
        return self._worked.value

    @property
    def latency(self) -> float:
        """Average seconds of a receive that did not wait for messages; 0.0 before the first.

        Full answers rarely wait. Until one has come, the shortest of the other answers counts.
        """
        return self._latency or self._partial

    def _rate_by(self, now: float) -> float:
        """Messages received a second, averaged over about the last second before `now`."""
        return self._rate * math.exp(min(0.0, self._rate_at - now) / MEMORY)

    def _calls_at_once(self, rate: float) -> float:
        """How many receives of full answers are under way at once, on average, at `rate` messages a second."""
        return rate * self.latency / self._fullness.full_size

    def _capacity(self) -> float:
        """How many messages a second the handlers can take; inf before one has ended.

        The median does not depend on how many messages the handlers were given, so the estimate can grow. If it is too
        low, because the mean is far below the median, the measured rate corrects it.
        """
        return max(self.policy.concurrency / self._handler, self._rate) if self._handler else math.inf

    def _most_pollers(self) -> int:
        """The most pollers that the handlers can use; `max_pollers` until a handler and a receive have been timed."""
        most = self.policy.max_pollers
        calls = self._calls_at_once(self._capacity()) if self._handler else 0.0
        return int(min(HEADROOM * calls + 1, most)) if calls else most

    def _receives_ready(self) -> int:
        """How many receives must be out so that one almost always waits at the queue; 1 if pauses are allowed."""
        policy = self.policy
        if policy.longest_pause > 0:
            return 1
        return receives_ready(
            self._rate,
            self.latency,
            wait=policy.wait,
            most=policy.max_pollers,
            probing=self._fullness.probing,
        )

    def _refresh(self, now: float) -> None:
        """Update the decisions that follow from the handlers' median."""
        self._refreshed = now
        policy = self.policy
        self._handler = max(self._worked.value, SHORTEST_HANDLER)
        if not policy.enabled:
            return
        per_second = policy.concurrency / self._handler
        self.limit = round(min(max(2 * policy.concurrency, per_second * policy.visibility), policy.max_in_flight))
        calls = min(self._calls_at_once(self._capacity()), policy.pollers or policy.max_pollers)
        fed = policy.batch * (1 + math.ceil(2 * calls)) + policy.together - 1
        in_time = per_second * min(LONGEST_WAIT, policy.visibility / 2)
        allowed = self.limit - policy.concurrency
        if policy.prefetch is not None:
            allowed = min(allowed, policy.prefetch)
        self.prefetch = int(min(fed, in_time, allowed))

    def statistics(self) -> ThrottlerStatistics:
        """A snapshot of what it has measured and decided."""
        return ThrottlerStatistics(
            limit=self.limit,
            pollers=self.pollers,
            prefetch=self.prefetch,
            handler=self.handler_seconds,
            handler_p95=self._worked.quantile(0.95),
            held_seconds=self._held.value,
            latency=self.latency,
            rate=self._rate,
        )

    def __repr__(self) -> str:
        return (
            f"<Throttler {self.pollers} pollers, {self.limit} in flight, {self.prefetch} ahead; "
            f"handler {self.handler_seconds * 1e3:.3g} ms, receive {self.latency * 1e3:.3g} ms, {self._rate:.0f}/s>"
        )
