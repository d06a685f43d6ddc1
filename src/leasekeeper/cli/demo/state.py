"""The demo at one moment, for the view and the summary.

Made by the command several times a second. It promises that reading it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.observe.statistics import ConsumerStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """The demo that was asked for.

    Attributes:
        seconds: for how long orders are sent.
        messages: the most orders; None for no limit.
        concurrency: of the consumer.
        handler_ms: average time of the handler, in milliseconds.
        visibility: seconds of a lease.
    """

    seconds: float
    messages: int | None
    concurrency: int
    handler_ms: float
    visibility: int = 5

    @property
    def most(self) -> float:
        """Orders a second that concurrency and handler time allow."""
        return self.concurrency / (self.handler_ms / 1000) if self.handler_ms else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoState:
    """One moment.

    Attributes:
        stage: `flowing`, `draining`, or `done`.
        elapsed: seconds since the demo began.
        statistics: of the consumer.
        sent: orders sent.
        waiting: visible messages in the queue.
        finished: orders finished, each counted once.
        rates: orders finished a second, oldest first, one for each `TICK`.
        calls: API calls of the consumer, by operation.
        events: the last few orders that failed, were rejected or took long.
        pages: where the pages are in the browser, in words.
    """

    stage: str
    elapsed: float
    plan: DemoPlan
    statistics: ConsumerStatistics
    sent: int
    waiting: int
    finished: int
    rates: Sequence[float]
    calls: Mapping[str, int]
    events: Sequence[str]
    pages: str = ""

    @property
    def rate(self) -> float:
        """Orders a second over the last second or so."""
        recent = self.rates[-4:]
        return sum(recent) / len(recent) if recent else 0.0

    @property
    def calls_per_message(self) -> float:
        """API calls of the consumer for each message settled."""
        settled = self.statistics.ledger.acked + self.statistics.ledger.late
        return sum(self.calls.values()) / settled if settled else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the demo ended.

    Attributes:
        why: what ended it.
        flowed: seconds that orders flowed.
        drained: seconds the stop took.
        first: seconds from the command to the first finished order; None: there was none.
        first_consumed: the same from the consumer's start.
        running: handlers at work when the stop began.
        finished_in_drain: of those, how many were finished.
        ended_in_drain: of those, how many were cancelled and given back, because a second signal cut the drain short.
        released_at_stop: messages given back before they started.
        acked_in_drain: deletes confirmed during the stop.
        duplicates: orders finished twice.
        left: messages in the queue.
        dead: messages in the dead-letter queue.
        lost: orders that were sent and are in none of these places.
    """

    why: str
    flowed: float
    drained: float
    first: float | None
    first_consumed: float
    running: int
    finished_in_drain: int
    ended_in_drain: int
    released_at_stop: int
    acked_in_drain: int
    duplicates: int
    left: int
    dead: int
    lost: int
