"""Metrics for CloudWatch: the catalogue as lines of the embedded metric format (EMF).

Owned by the user's program, which prints a line an interval; Lambda, ECS and the CloudWatch agent turn such lines into
metrics. It promises lines within AWS's limits: at most 100 metrics and 30 dimensions each.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.observe.catalogue import CATALOGUE
from leasekeeper.observe.histogram import Distribution
from leasekeeper.observe.metric import Kind, Unit, measure, snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.observe.metric import Metric, Observed
    from leasekeeper.observe.statistics import ConsumerStatistics

MOST_METRICS = 100
"""Metrics that AWS allows in one line."""
QUANTILES = (0.5, 0.95, 0.99)
"""What a line has of a histogram."""


class EmfLines:
    """Makes EMF lines: a counter's value is what was added since the last line, a gauge's what it is now.

    The name of a metric is that of the catalogue without `leasekeeper_` and `_total`, with the value of its own label
    after it: `handled_done`. A counter that has not moved since the last line, and was never above 0, is left out. Of a
    histogram a line has the quantiles 0.5, 0.95 and 0.99 of what came since the last: `handler_seconds_p95`.

    Args:
        targets: the consumers and apps. What has not started is left out.
        service: the value of the dimension `Service`; the other dimensions are `Queue` and `Consumer`.
        namespace: the namespace in CloudWatch.
        clock: seconds since 1970, for the time of the line.
    """

    def __init__(
        self,
        *targets: Observed,
        service: str,
        namespace: str = "Leasekeeper",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._targets = targets
        self._service = service
        self._namespace = namespace
        self._clock = clock
        self._before: dict[tuple[str, ...], float] = {}
        self._distributions: dict[tuple[str, ...], Distribution] = {}
        measure(targets)

    def lines(self) -> list[str]:
        """One line for each consumer (more if it had over 100 metrics), to be printed on standard output."""
        now = round(self._clock() * 1000)
        return [line for each in snapshots(self._targets) for line in self._of_consumer(each, now)]

    def _of_consumer(self, statistics: ConsumerStatistics, now: int) -> Iterator[str]:
        values = [each for metric in CATALOGUE for each in self._values(metric, statistics)]
        for start in range(0, len(values), MOST_METRICS):
            yield self._line(statistics, now, values[start : start + MOST_METRICS])

    def _values(self, metric: Metric, statistics: ConsumerStatistics) -> Iterator[tuple[str, str, float]]:
        short = metric.name.removeprefix("leasekeeper_").removesuffix("_total")
        unit = {Unit.SECONDS: "Seconds", Unit.BYTES: "Bytes", Unit.YES_OR_NO: "None", Unit.SHARE: "None"}.get(
            metric.unit, "Count"
        )
        for labels, value in metric.samples(statistics):
            name = "_".join((short, *labels[2:]))
            if isinstance(value, Distribution):
                yield from self._quantiles((name, *labels), name, value)
            elif metric.kind is Kind.GAUGE:
                yield name, unit, value
            elif (added := self._added((name, *labels), value)) is not None:
                yield name, unit, added

    def _quantiles(self, key: tuple[str, ...], name: str, now: Distribution) -> Iterator[tuple[str, str, float]]:
        """Quantiles of what was added since the last line; none if nothing was."""
        added = now.since(self._distributions.get(key))
        self._distributions[key] = now
        for share in QUANTILES:
            if (found := added.quantile(share)) is not None:
                yield f"{name}_p{share * 100:g}", "Seconds", found

    def _added(self, key: tuple[str, ...], value: float) -> float | None:
        """What was added since the last line; all of it after a start of the consumer, which counts from 0 again."""
        before = self._before.get(key)
        if not value and before is None:
            return None
        self._before[key] = value
        return value - before if before is not None and before <= value else value

    def _line(self, statistics: ConsumerStatistics, now: int, values: list[tuple[str, str, float]]) -> str:
        line: dict[str, Any] = {
            "_aws": {
                "Timestamp": now,
                "CloudWatchMetrics": [
                    {
                        "Namespace": self._namespace,
                        "Dimensions": [["Service", "Queue", "Consumer"]],
                        "Metrics": [{"Name": name, "Unit": unit} for name, unit, _ in values],
                    }
                ],
            },
            "Service": self._service,
            "Queue": statistics.queue,
            "Consumer": statistics.handler,
        }
        line |= {name: value for name, _, value in values}
        return msgspec.json.encode(line).decode()
