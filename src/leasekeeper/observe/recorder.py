"""The recorder: what happened lately in one consumer, for the page, `leasekeeper top` and advice about scaling.

Made by the admin surface, one for each consumer; without a surface there is none. It pulls counts once a second, and
subscribes only to what comes once a batch of ended handlers or when something goes wrong.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from leasekeeper import events
from leasekeeper.observe.backlog import Backlog
from leasekeeper.observe.failures import Failures
from leasekeeper.observe.rates import Rates, Sample
from leasekeeper.observe.throttler_changes import ThrottlerChanges
from leasekeeper.texts import bounded, safe_str

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from leasekeeper.observe.statistics import ConsumerStatistics

KEPT = 200
"""Events about leases that are kept."""


class Source(Protocol):
    """What a recorder listens to: a `Consumer`."""

    def subscribe(self, subscriber: Callable[[Any], object], *kinds: type[events.Event]) -> None:
        """As `Consumer.subscribe`."""
        ...


class LeaseEvent(NamedTuple):
    """Leases that were extended or lost, or extensions that failed."""

    at: float
    what: str
    """`extended`, `lost` or `failed`."""
    leases: int
    message_id: str | None
    reason: str


class Recorder:
    """What happened lately in one consumer.

    Attributes:
        rates: of the last minute.
        failures: in groups.
        changes: of the throttler's decisions.
        backlog: what SQS says of the queue, if it is asked.
        last: the statistics of the last look; None before the start.
        refusal: why the last receive that failed did; empty before the first.
    """

    def __init__(self, source: Source) -> None:
        self.rates = Rates()
        self.failures = Failures()
        self.changes = ThrottlerChanges()
        self.backlog = Backlog()
        self.last: ConsumerStatistics | None = None
        self.refusal = ""
        self._leases: deque[LeaseEvent] = deque(maxlen=KEPT)
        source.subscribe(self._on_receive_failed, events.ReceiveFailed)
        source.subscribe(self._on_ended, events.HandlersEnded)
        source.subscribe(self._on_lost, events.LeaseLost)
        source.subscribe(self._on_entries_failed, events.EntriesFailed)

    # On the engine's thread

    def _on_ended(self, event: events.HandlersEnded) -> None:
        for conclusion in event.others:
            self.failures.add(conclusion, time.time())

    def _on_receive_failed(self, event: events.ReceiveFailed) -> None:
        self.refusal = bounded(safe_str(event.error) or event.code)

    def _on_lost(self, event: events.LeaseLost) -> None:
        reason = "the lease ended while the handler was running: another consumer may have the message"
        self._leases.append(LeaseEvent(time.time(), "lost", 1, event.message_id, reason))

    def _on_entries_failed(self, event: events.EntriesFailed) -> None:
        if event.heartbeat and event.failures:
            name, failure = event.failures[0]
            what = "; it is not tried again" if event.given_up else "; it is tried again"
            reason = bounded(f"{failure.code}: {failure.message}".rstrip(". ")) + what
            self._leases.append(LeaseEvent(time.time(), "failed", len(event.failures), name, reason))

    # On the surface's thread

    def look(self, now: ConsumerStatistics | None, at: float) -> None:
        """Take the statistics of this second; `at` is in seconds since 1970."""
        before, self.last = self.last, now
        if now is None:
            return
        if before is not None and now.seconds < before.seconds:  # it was started again
            before = None
        received = now.receives
        self.rates.add(Sample(at, received.messages, now.work.done, now.work.failed, calls_of(now), received.lags))
        self.changes.look(before, now, at)
        extended = now.heartbeat.extended - (before.heartbeat.extended if before is not None else 0)
        if extended > 0:
            self._leases.append(LeaseEvent(at, "extended", extended, None, ""))

    def leases(self) -> list[LeaseEvent]:
        """What happened to leases, the newest first."""
        return list(self._leases)[::-1]


def calls_of(now: ConsumerStatistics) -> int:
    """Calls to SQS since the start."""
    batches = (now.deletes, now.extensions, now.releases)
    return now.receives.calls + now.receives.failed + sum(each.calls for each in batches)
