"""Statistics with what SQS says of the queues: for metrics, and for autoscalers that ask `/statusz`.

Owned by a surface. Its watch asks SQS twice a minute; nothing waits for the answers here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from leasekeeper.core.scaling import LATENCY, scaling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.admin.watch import Watch
    from leasekeeper.consumer import Consumer
    from leasekeeper.observe.backlog import Backlog
    from leasekeeper.observe.statistics import ConsumerStatistics


class ScaledStatistics:
    """The statistics of a surface's consumers, each with its `scaling`.

    Args:
        consumers: says which there are.
        watch: asks SQS about their queues.
        processes: those known to consume the same queues, with this one.
    """

    def __init__(self, consumers: Callable[[], Sequence[Consumer]], watch: Watch, processes: int = 1) -> None:
        self._consumers = consumers
        self._watch = watch
        self._processes = processes

    def of(self, consumer: Consumer, latency: float = LATENCY) -> ConsumerStatistics | None:
        """The statistics of one consumer; None before its start."""
        now = consumer.statistics()
        if now is None:
            return None
        return with_scaling(now, self._watch.recorder(consumer).backlog, latency, self._processes)

    def measure(self) -> None:
        """Have every message measured, for histograms."""
        for consumer in self._consumers():
            consumer.measure()

    def statistics(self) -> tuple[ConsumerStatistics, ...]:
        """The statistics of all consumers that were started."""
        return tuple(now for each in self._consumers() if (now := self.of(each)) is not None)


def with_scaling(now: ConsumerStatistics, backlog: Backlog, latency: float, processes: int = 1) -> ConsumerStatistics:
    """Add what follows from the last answer of SQS, if there was one."""
    if backlog.last is None:
        return now
    counts = backlog.last.counts
    found = scaling(
        now.load,
        handler=now.throttler.handler,
        held=now.throttler.held_seconds,
        hidden=now.ledger.hidden,
        visible=counts.visible,
        in_flight=counts.in_flight,
        usual=backlog.in_flight,
        delayed=counts.delayed,
        growth=backlog.trend,
        latency=latency,
        processes=processes,
    )
    return replace(now, scaling=found)
