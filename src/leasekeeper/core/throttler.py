"""The throttler: how many messages may be in flight, how many pollers there are, and how long they pause.

The runner owns one; pollers and the worker tell it what they see and read from it what to do.
It promises that handlers are kept fed, that no more waits here than keeps them fed, and that an idle queue costs one
call at a time. `docs/internals/throttler.md` explains it with pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.core.fill import Fill
from leasekeeper.core.median import StreamingMedian

if TYPE_CHECKING:
    from collections.abc import Collection

LONGEST_LATENCY = 2.0
"""Seconds: an answer that took longer has waited for messages, so it says nothing about the latency of a call."""

LONGEST_WAIT = 1.0
"""Seconds a prefetched message may wait for a handler: what cannot start within them is not worth fetching ahead."""

AIM = 0.8
"""How full a batch a pause aims at, as a share. Arrivals vary: aiming at full ones would often find more than fits."""

HEADROOM = 1.25
"""How many times the pollers needed on average may be there, because neither arrivals nor latencies are even."""

MEMORY = 1.0
"""Seconds over which the rate of arrivals is averaged, with weights that fall off exponentially."""

GLANCE = 0.02
"""Seconds between two looks at the handlers' median: it is asked for 50 times a second at most, not at each message."""

WAITED = 5.0
"""An answer that took this many times a call's latency has waited: the queue was empty when it was called."""

SHORTEST_HANDLER = 1e-9
"""Seconds: handlers that take no time at all are taken to take this, which is no time and can be divided by."""

VISIBILITY_OF_MEDIAN = 4
"""An adaptive visibility is this many medians: extended at half of it, only what takes two medians is extended ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlePolicy:
    """What a throttler may decide, and within which bounds.

    Attributes:
        concurrency: how many handlers run at once, 1 or more.
        visibility: the visibility timeout in seconds, above 0.
        max_in_flight: how many messages may be in hand at most, not below `concurrency`; SQS allows 120,000.
        pollers: a fixed number of pollers; None: scaled from 1 to `max_pollers`.
        max_pollers: the most pollers when they are scaled.
        batch: how many messages a receive asks for, 1 to 10.
        prefetch: how many messages may wait for a handler at most; None: as many as keep the handlers fed.
        longest_pause: seconds a poller may wait for its next batch to fill, and so the most that this adds to a
            message's latency; 0 for the least latency, at up to one receive a message.
        enabled: False: all pollers, no pauses, and no prefetch but `prefetch`.
    """

    concurrency: int
    visibility: float
    max_in_flight: int = 120_000
    pollers: int | None = None
    max_pollers: int = 10
    batch: int = 10
    prefetch: int | None = None
    longest_pause: float = 0.05
    enabled: bool = True

    def __post_init__(self) -> None:
        for name in ("concurrency", "pollers", "max_pollers", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} cannot work: give 1 or more")
        if not self.visibility > 0:
            raise ValueError(f"visibility={self.visibility!r} cannot work: give seconds above 0")
        if not self.longest_pause >= 0:
            raise ValueError(f"longest_pause={self.longest_pause!r} cannot work: give seconds, 0 or more")
        if self.prefetch is not None and self.prefetch < 0:
            raise ValueError(f"prefetch={self.prefetch} cannot work: give 0 or more")
        if self.max_in_flight < self.concurrency:
            raise ValueError(
                f"max_in_flight={self.max_in_flight} with concurrency={self.concurrency}: handlers could never all be "
                "at work; raise max_in_flight or lower concurrency"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlerStatistics:
    """What a throttler has seen, and what it makes of it."""

    limit: int
    """How many messages may be in hand, waiting and at work."""
    pollers: int
    """How many pollers are wanted."""
    prefetch: int
    """How many messages may wait for a handler."""
    handler: float
    """Median seconds of the last 63 handler runs; 0.0 before the first."""
    in_hand: float
    """Median seconds from receive to settled of the last 63 messages; 0.0 before the first."""
    latency: float
    """Average seconds of a receive that did not wait for messages; 0.0 before the first."""
    rate: float
    """Messages received a second, lately: as of the last answered receive."""


class Throttler:
    """What is seen of queue, network and handlers, and what follows from it.

    Attributes:
        limit: how many messages may be in hand, waiting and at work. By Little's law `concurrency` handlers that take
            *m* seconds serve `concurrency * visibility / m` messages within one visibility timeout; more would only
            wait here for somebody else to be given them. At least twice `concurrency`, so that each handler may have
            one message at work and the next one ready however long it works; at most `max_in_flight`.
        pollers: how many pollers are wanted now; always 1 or more.
        prefetch: how many messages may wait for a handler: twice what the handlers finish during one receive, and one
            batch more, in whole batches. Twice, because half of it is on its way at any time. No more than start
            within `LONGEST_WAIT` and within half the visibility timeout: behind a handler of minutes nothing waits.
    """

    __slots__ = (
        "_backlog",
        "_fill",
        "_handler",
        "_in_hand",
        "_latency",
        "_looked",
        "_partial",
        "_rate",
        "_rate_at",
        "_worked",
        "limit",
        "policy",
        "pollers",
        "prefetch",
    )

    def __init__(self, policy: ThrottlePolicy) -> None:
        self.policy = policy
        self._worked = StreamingMedian()
        self._in_hand = StreamingMedian()
        self._handler = 0.0  # the median of `_worked` at the last look; 0.0 before the first
        self._latency = 0.0  # of receives that brought a whole batch
        self._partial = 0.0  # of the others that brought something: it may hold some waiting
        self._rate = 0.0
        self._rate_at = 0.0
        self._backlog = False
        self._fill = Fill(policy.batch)
        self._looked = -math.inf
        if policy.enabled:
            self.pollers = policy.pollers or 1
            self.prefetch = 0
            self.limit = min(2 * policy.concurrency, policy.max_in_flight)
        else:
            self.pollers = policy.pollers or policy.max_pollers
            self.prefetch = policy.prefetch or 0
            self.limit = min(policy.concurrency + self.prefetch, policy.max_in_flight)

    def settled(self, now: float, *, in_hand: Collection[float], worked: Collection[float]) -> None:
        """Count messages whose handlers have ended.

        Args:
            now: seconds, monotonic.
            in_hand: seconds since each was received.
            worked: seconds that each one's handler took.
        """
        self._in_hand.extend(in_hand)
        self._worked.extend(worked)
        if now - self._looked >= GLANCE:
            self._look(now)

    def received(self, now: float, *, asked: int, got: int, latency: float) -> None:
        """Count a receive that was answered.

        A full answer makes one poller more, which doubles them in each round trip, as each poller's answer counts; a
        short or empty one halves them, but not below what the present rate of arrivals needs. A full answer to a call
        that asked for less than a batch says that room is short, not pollers. What counts as full, `Fill` finds out.

        Args:
            now: seconds, monotonic.
            asked: how many messages were asked for, 1 or more.
            got: how many came.
            latency: seconds the call took, waiting included.
        """
        self._rate = self._rate_by(now) + got / MEMORY
        self._rate_at = now
        fill = self._fill
        if not got or (got < asked and latency > WAITED * self.latency > 0):
            fill.forget(trying=not got)
        elif asked >= self.policy.batch:
            fill.answered(now, got)
        full = self._backlog = got >= min(asked, fill.whole)
        at_once = latency <= LONGEST_LATENCY
        if got >= fill.whole and at_once:
            self._latency += (latency - self._latency) / (8 if self._latency else 1)
        elif got:
            # What it waited for messages only adds: the shortest is nearest to the call's own latency.
            rising = self._partial and self._partial < latency
            self._partial += (min(latency, LONGEST_LATENCY) - self._partial) / (64 if rising else 1)
        if not self._scales:
            return
        pollers = self.pollers
        if not full:
            pollers = max(pollers // 2, min(pollers, math.ceil(self._calls_at_once(self._rate))))
        elif asked >= self.policy.batch and at_once:
            pollers += 1
        self.pollers = max(1, min(pollers, self._most_pollers()))

    def failed(self, now: float) -> None:
        """Count a receive that failed or was throttled: the pollers are halved.

        Args:
            now: seconds, monotonic.
        """
        self._rate = self._rate_by(now)
        self._rate_at = now
        self._backlog = False
        self._fill.forget(trying=True)
        if self._scales:
            self.pollers = max(1, self.pollers // 2)

    def pause(self, now: float) -> float:
        """How many seconds a poller waits before its next receive.

        0 while answers are full: the queue holds more. Otherwise as long as it takes, at the present rate, until
        most of a batch has come for this poller, less the latency of the call itself, but never longer than the
        policy's `longest_pause`. And 0 where not even one message would come in that time: a long poll that waits at
        the queue brings it sooner. With 50 ms that is below 20 messages a second; from there on the pauses make of
        ten receives three or less.
        """
        longest = self.policy.longest_pause
        if self._backlog or self._fill.trying or not self.policy.enabled:
            return 0.0
        rate = self._rate_by(now) / self.pollers
        if rate * longest < 1:
            return 0.0
        return min(longest, max(0.0, AIM * self._fill.whole / rate - self.latency))

    def visibility(self, minimum: int, maximum: int) -> int:
        """A visibility timeout in whole seconds that most messages need not have extended: four medians in hand.

        Args:
            minimum: the least it may be, and what it is before anything was settled.
            maximum: the most it may be, not below `minimum`.
        """
        return max(minimum, min(maximum, math.ceil(VISIBILITY_OF_MEDIAN * self._in_hand.value)))

    @property
    def handler_seconds(self) -> float:
        """Median seconds of the last 63 handler runs; 0.0 before the first."""
        return self._worked.value

    @property
    def latency(self) -> float:
        """Average seconds of a receive that did not wait for messages; 0.0 before the first.

        A whole batch comes at once, as a rule. While none has come yet, answers with fewer messages must do.
        """
        return self._latency or self._partial

    @property
    def _scales(self) -> bool:
        return self.policy.enabled and self.policy.pollers is None

    def _rate_by(self, now: float) -> float:
        """Messages received a second, lately, as it looks at `now`."""
        return self._rate * math.exp(min(0.0, self._rate_at - now) / MEMORY)

    def _calls_at_once(self, rate: float) -> float:
        """How many receives of whole batches are under way at once, on average, to bring `rate` messages a second."""
        return rate * self.latency / self._fill.whole

    def _capacity(self) -> float:
        """How many messages a second the handlers can take; inf before one has ended.

        What they would take at their median is not bounded by what they were given, so the estimate can grow. Where
        it is too low, because most of the work is quicker than the median, the measured rate corrects it.
        """
        return max(self.policy.concurrency / self._handler, self._rate) if self._handler else math.inf

    def _most_pollers(self) -> int:
        """The most pollers that there is work for. Before a handler has ended nothing is known, and all may be."""
        most = self.policy.max_pollers
        if not (self._handler and self.latency):
            return most
        return int(min(HEADROOM * self._calls_at_once(self._capacity()) + 1, most))

    def _look(self, now: float) -> None:
        """Take up what the handlers' median says now."""
        self._looked = now
        policy = self.policy
        self._handler = max(self._worked.value, SHORTEST_HANDLER)
        if not policy.enabled:
            return
        per_second = policy.concurrency / self._handler
        self.limit = round(min(max(2 * policy.concurrency, per_second * policy.visibility), policy.max_in_flight))
        calls = min(self._calls_at_once(self._capacity()), policy.pollers or policy.max_pollers)
        fed = policy.batch * (1 + math.ceil(2 * calls))
        in_time = per_second * min(LONGEST_WAIT, policy.visibility / 2)
        allowed = self.limit - policy.concurrency
        if policy.prefetch is not None:
            allowed = min(allowed, policy.prefetch)
        self.prefetch = int(min(fed, in_time, allowed))

    def statistics(self) -> ThrottlerStatistics:
        """What it has seen and makes of it now."""
        return ThrottlerStatistics(
            limit=self.limit,
            pollers=self.pollers,
            prefetch=self.prefetch,
            handler=self.handler_seconds,
            in_hand=self._in_hand.value,
            latency=self.latency,
            rate=self._rate,
        )

    def __repr__(self) -> str:
        return (
            f"<Throttler {self.pollers} pollers, {self.limit} in flight, {self.prefetch} ahead; "
            f"handler {self.handler_seconds * 1e3:.3g} ms, receive {self.latency * 1e3:.3g} ms, {self._rate:.0f}/s>"
        )
