"""Instruments of OpenTelemetry: the numbers of the catalogue, under semantic names where there are such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from leasekeeper import Consumer, Leasekeeper, events
from leasekeeper.observe.catalogue import CATALOGUE
from leasekeeper.observe.metric import Kind
from leasekeeper.observe.otel_metrics import OtelMetrics
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.observe.statistics import ConsumerStatistics
    from leasekeeper.testing.world import Running


class Target:
    """A consumer in a world, as an exporter sees one."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.subscribe = running.events.subscribe
        self.measure = running.measure

    def statistics(self) -> ConsumerStatistics:
        return self.running.statistics()


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    assert data is not None
    return {each.name: each for one in data.resource_metrics for scope in one.scope_metrics for each in scope.metrics}


@virtual
async def test_instruments_have_the_numbers_of_the_catalogue() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])

    async def ship(body: str) -> None:
        pass

    async with World() as world:
        running = await world.start(ship)
        OtelMetrics(Target(running), provider=provider, durations=True)
        await world.send("tea", "milk")
        await world.until(lambda: running.statistics().ledger.acked == 2)
        found = collected(reader)
        await running.stop()
    [received] = found["messaging.client.consumed.messages"].data.data_points
    assert received.value == 2
    assert dict(received.attributes) == {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "receive",
        "messaging.destination.name": "orders",
        "code.function.name": ship.__qualname__,
    }
    handled = {
        each.attributes["leasekeeper.outcome"]: each.value for each in found["leasekeeper.handled"].data.data_points
    }
    assert handled["done"] == 2
    assert found["leasekeeper.handled"].unit == "{message}"
    [process] = found["messaging.process.duration"].data.data_points
    assert (process.count, process.explicit_bounds[0], found["messaging.process.duration"].unit) == (2, 0.001, "s")
    calls = {
        each.attributes["messaging.operation.name"]: each.count
        for each in found["messaging.client.operation.duration"].data.data_points
    }
    assert calls.keys() == {"receive", "delete"}
    provider.shutdown()


def test_every_metric_but_the_histograms_is_an_instrument() -> None:
    names: list[str] = []

    class Meter:
        def create_observable_counter(self, name: str, callbacks: Any, unit: str, description: str) -> None:
            names.append(name)

        create_observable_gauge = create_observable_counter

        def create_histogram(self, name: str, unit: str, description: str) -> None:
            names.append(name)

    class Provider:
        def get_meter(self, *_: object, **__: object) -> Meter:
            return Meter()

    OtelMetrics(provider=Provider(), durations=True)  # type: ignore[arg-type]
    assert len(set(names)) == len(names) == len([each for each in CATALOGUE if each.kind is not Kind.HISTOGRAM]) + 2


async def _ship(_body: str) -> None:
    pass


def test_consumers_and_apps_are_measured_and_heard() -> None:
    app = Leasekeeper(region="eu-west-1")
    app.consumer("orders")(_ship)
    alone = Consumer("returns", _ship, region="eu-west-1")
    provider = MeterProvider()
    OtelMetrics(app, alone, provider=provider, durations=True)
    for each in (*app.consumers, alone):
        assert each.measured
        assert events.HandlersMeasured in {kind for _, kinds in each.subscriptions for kind in kinds}
    provider.shutdown()


@virtual
async def test_without_durations_no_message_pays() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])

    async def ship(body: str) -> None:
        pass

    async with World() as world:
        running = await world.start(ship)
        OtelMetrics(Target(running), provider=provider)
        await world.send("tea")
        await world.until(lambda: running.statistics().ledger.acked == 1)
        found = collected(reader)
        assert running.statistics().durations is None
        await running.stop()
    assert "messaging.process.duration" not in found
    assert found["leasekeeper.healthy"].data.data_points[0].value == 1
    provider.shutdown()
