"""Durations of every message and call, in histograms: subscribed only when an exporter of metrics asks for them.

Made by a consumer's observer. Until then the engine measures samples, and a message pays nothing for this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper import events
from leasekeeper.observe.counts import OPERATIONS
from leasekeeper.observe.histogram import CALL, HANDLER, LAG, WAIT, Distribution, Histogram

if TYPE_CHECKING:
    from leasekeeper.channel import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationStatistics:
    """Durations in buckets, counted since an exporter first asked for them."""

    handler: Distribution
    """Seconds of each handler; with batches, those of its batch for each message."""
    buffer: Distribution
    """Seconds from received to started, of each message."""
    lag: Distribution
    """Seconds from sent to received, of each message received for the first time. It compares two clocks."""
    calls: dict[str, Distribution]
    """Seconds of each call, by operation. A receive includes its wait for messages."""


class Durations:
    """Counts what the events of one channel tell."""

    def __init__(self, channel: Channel) -> None:
        self._handler, self._buffer, self._lag = Histogram(HANDLER), Histogram(WAIT), Histogram(LAG)
        self._calls = {operation: Histogram(CALL) for operation in OPERATIONS}
        channel.subscribe(self._handlers, events.HandlersMeasured)
        channel.subscribe(self._lags, events.LagsMeasured)
        channel.subscribe(self._received, events.MessagesReceived)
        channel.subscribe(self._answered, *events.ANSWERS)

    def _handlers(self, event: events.HandlersMeasured) -> None:
        self._handler.add(event.worked)
        self._buffer.add(event.waited)

    def _lags(self, event: events.LagsMeasured) -> None:
        self._lag.add(event.seconds)

    def _received(self, event: events.MessagesReceived) -> None:
        self._calls["ReceiveMessage"].add((event.seconds,))

    def _answered(self, event: events.Answered) -> None:
        self._calls[event.operation].add((event.seconds,))

    def read(self) -> DurationStatistics:
        """What was counted so far; may be asked from any thread."""
        return DurationStatistics(
            handler=self._handler.read(),
            buffer=self._buffer.read(),
            lag=self._lag.read(),
            calls={operation: each.read() for operation, each in self._calls.items()},
        )
