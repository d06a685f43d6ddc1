"""Metrics for Prometheus: the catalogue as families of prometheus-client (the extra `metrics`).

Owned by the user's registry or by the admin surface. It promises that a scrape reads counts and calls nothing of a
message. For its histograms the consumers measure every message, which costs each one to two microseconds.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from leasekeeper.observe.catalogue import CATALOGUE
from leasekeeper.observe.histogram import Distribution
from leasekeeper.observe.metric import Kind, measure, snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric as Family

    from leasekeeper.observe.metric import Metric, Observed, Value


class StatisticsCollector(Collector):
    """Gives a registry of prometheus-client the metrics of consumers and apps, at each scrape.

    `REGISTRY.register(StatisticsCollector(app))` adds them to what a program exports already. Consumers of one queue
    name with one handler's name cannot be told apart: the second of them is called `name-2`.

    Args:
        targets: the consumers and apps. What has not started is left out.
    """

    def __init__(self, *targets: Observed) -> None:
        self._targets = targets
        measure(targets)

    def describe(self) -> Iterator[Family]:
        """The families without samples: registering needs no statistics."""
        return (_family(metric, metric.labels) for metric in CATALOGUE)

    def collect(self) -> Iterator[Family]:
        """The families with the values of now."""
        found = snapshots(self._targets)
        for metric in CATALOGUE:
            family = _family(metric, metric.labels)
            seen: set[tuple[str, ...]] = set()
            for now in found:
                for labels, value in metric.samples(now):
                    _add(family, _unused(labels, seen), value)
            yield family


_KINDS = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


def _family(metric: Metric, labels: tuple[str, ...]) -> Family:
    family: Family = _KINDS[metric.kind](metric.name, metric.meaning, labels=labels)
    return family


def _add(family: Family, labels: tuple[str, ...], value: Value) -> None:
    if isinstance(family, HistogramMetricFamily):
        assert isinstance(value, Distribution)
        bounds = (*map(repr, value.bounds), "+Inf")
        family.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.total)
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
        assert not isinstance(value, Distribution)
        family.add_metric(labels, float(value))


def _unused(labels: tuple[str, ...], seen: set[tuple[str, ...]]) -> tuple[str, ...]:
    """The labels, with a number after the consumer's name if another consumer has the same."""
    free, number = labels, 1
    while free in seen:
        number += 1
        free = (labels[0], f"{labels[1]}-{number}", *labels[2:])
    seen.add(free)
    return free


def registry_of(*targets: Observed) -> CollectorRegistry:
    """A registry with these consumers and apps, and nothing else."""
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(*targets))
    return registry
