"""Metrics for OpenTelemetry: the catalogue as observable instruments, with semantic names where there are such.

Owned by the user's program. Instruments are read when the SDK's reader collects, so a message pays nothing. The two
histograms of the semantic conventions are an exception, because OpenTelemetry has no histogram that can be read: each
value is recorded on the engine's thread, and only if that is wanted.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from leasekeeper import events
from leasekeeper.observe.catalogue import CATALOGUE
from leasekeeper.observe.histogram import CALL, HANDLER, Distribution
from leasekeeper.observe.metric import Kind, Unit, measure, snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider

    from leasekeeper.observe.metric import Metric, Observed
    from leasekeeper.observe.statistics import ConsumerStatistics

SEMANTIC = {"leasekeeper_messages_received_total": "messaging.client.consumed.messages"}
"""Metrics of the catalogue for which the semantic conventions have a name."""
UNITS = {
    Unit.SECONDS: "s",
    Unit.BYTES: "By",
    Unit.MESSAGES: "{message}",
    Unit.HANDLERS: "{handler}",
    Unit.CALLS: "{call}",
    Unit.GROUPS: "{group}",
    Unit.POLLERS: "{poller}",
}
"""Units as UCUM writes them; 1 for all others."""
FRESH = 0.5
"""Seconds that one snapshot serves the instruments of a collection."""
SYSTEM = {"messaging.system": "aws_sqs"}


class OtelMetrics:
    """Makes instruments for consumers and apps: `OtelMetrics(app)`, once, before they start.

    A metric `leasekeeper_in_hand{state}` becomes `leasekeeper.in_hand` with the attribute `leasekeeper.state`. The
    queue is `messaging.destination.name`, the handler `code.function.name`.

    Args:
        targets: the consumers and apps. Those that have not started have no values.
        provider: where the instruments are made; None: the global meter provider.
        durations: whether to record the histograms `messaging.process.duration` and
            `messaging.client.operation.duration`. The SDK takes several microseconds for each value.
    """

    def __init__(self, *targets: Observed, provider: MeterProvider | None = None, durations: bool = False) -> None:
        self._targets = targets
        self._taken = -FRESH
        self._snapshots: list[ConsumerStatistics] = []
        meter = metrics.get_meter("leasekeeper", meter_provider=provider)
        for metric in CATALOGUE:
            if metric.kind is not Kind.HISTOGRAM:
                self._instrument(meter, metric)
        if durations:
            self._process = _histogram(meter, "messaging.process.duration", "Time of each handler.", HANDLER)
            self._calls = _histogram(meter, "messaging.client.operation.duration", "Time of each call to SQS.", CALL)
            measure(targets)
            for target in targets:
                subscribe = getattr(target, "subscribe", None)
                if subscribe is not None:
                    self._subscribe(subscribe)

    def _instrument(self, meter: Meter, metric: Metric) -> None:
        name = SEMANTIC.get(metric.name) or "leasekeeper." + metric.name.removeprefix("leasekeeper_").removesuffix(
            "_total"
        ).removesuffix("_seconds")
        make = meter.create_observable_counter if metric.kind is Kind.COUNTER else meter.create_observable_gauge
        make(name, [partial(self._observe, metric)], UNITS.get(metric.unit, "1"), metric.meaning)

    def _observe(self, metric: Metric, _: CallbackOptions) -> Iterator[Observation]:
        for now in self._now():
            for labels, value in metric.samples(now):
                if not isinstance(value, Distribution):
                    yield Observation(value, _attributes(metric, labels))

    def _now(self) -> Iterable[ConsumerStatistics]:
        now = time.monotonic()
        if now - self._taken >= FRESH:
            self._taken, self._snapshots = now, snapshots(self._targets, histograms=False)
        return self._snapshots

    def _subscribe(self, subscribe: Callable[..., None]) -> None:
        subscribe(self._handlers, events.HandlersMeasured)
        subscribe(partial(self._call, "receive"), events.MessagesReceived)
        subscribe(partial(self._call, "delete"), events.DeletesAnswered)
        subscribe(partial(self._call, "extend"), events.LeasesExtended)
        subscribe(partial(self._call, "release"), events.MessagesReleased)
        subscribe(partial(self._call, "send"), events.MessagesCopied)

    def _handlers(self, event: events.HandlersMeasured) -> None:
        attributes = {**SYSTEM, "messaging.operation.name": "process", "messaging.destination.name": event.queue}
        for seconds in event.worked:
            self._process.record(seconds, attributes)

    def _call(self, operation: str, event: Any) -> None:
        attributes = {**SYSTEM, "messaging.operation.name": operation, "messaging.destination.name": event.queue}
        if code := getattr(event, "code", ""):
            attributes["error.type"] = code
        self._calls.record(event.seconds, attributes)


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    queue, handler, *own = labels
    found = {**SYSTEM, "messaging.destination.name": queue, "code.function.name": handler}
    if metric.name in SEMANTIC:
        found["messaging.operation.name"] = "receive"
    return found | {f"leasekeeper.{name}": value for name, value in zip(metric.own, own, strict=True)}


def _histogram(meter: Meter, name: str, meaning: str, bounds: tuple[float, ...]) -> Histogram:
    try:
        return meter.create_histogram(name, "s", meaning, explicit_bucket_boundaries_advisory=bounds)
    except TypeError:  # an older release: give the bounds with a view
        return meter.create_histogram(name, "s", meaning)
