"""The catalogue of metrics, and what exporters make of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import subprocess
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from leasekeeper import Consumer, Leasekeeper
from leasekeeper.admin.scaling import with_scaling
from leasekeeper.core.idempotency_statistics import IdempotencyStatistics
from leasekeeper.core.phases import Phase
from leasekeeper.engine.queue_counts import QueueCounts
from leasekeeper.lanes.routed import RouteStatistics
from leasekeeper.observe.backlog import Backlog
from leasekeeper.observe.catalogue import CATALOGUE
from leasekeeper.observe.counts import OPERATIONS
from leasekeeper.observe.emf import EmfLines
from leasekeeper.observe.histogram import CALL, HANDLER, Distribution, Histogram
from leasekeeper.observe.metric import Kind
from leasekeeper.observe.prometheus import registry_of
from leasekeeper.outbox import OutboxQueue
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.observe.statistics import ConsumerStatistics

NOT_EXPORTED = {
    "throttler.rate": "the rate of messages_received",
    "throttler.handler_p95": "in the histogram of handlers",
    "receives.lags": "the count of the histogram of lag",
    "receives.lag_p95": "in the histogram of lag",
    "load.rate": "the rate of deletes",
    "stop.detail": "in the log",
    "loop_blocked_by": "in the log",
    "scaling.growth": "in arrivals_messages_per_second",
    "scaling.again": "in wanted_replicas",
    "load.given_back": "the rate of ledger.released",
    "scaling.replicas": "in arrivals_messages_per_second",
    "scaling.latency": "a constant",
    "receives.messages": "the same as ledger.received",
    "ledger.smallest_margin": "since the start; recent_margin is of now",
    "ledger.released": "the sum of released_by",
    "ledger.hidden": "in arrivals_messages_per_second; queue_messages has all in flight",
    "ledger.deleted_by": "in outcomes, dead_letters and duplicates",
    "ledger.gone": "in the report; leases_lost counts the leases",
    "work.dead_lettered": "the sum of dead_letters",
    "acks.calls": "in calls",
    "deletes.calls": "in calls",
    "extensions.calls": "in calls",
    "releases.calls": "in calls",
    "acks.confirmed": "the same as ledger.acked and ledger.late together",
    "heartbeat.calls": "in calls",
    "work.done": "in outcomes",
    "work.timed_out": "in outcomes",
    "work.retried": "in outcomes",
    "work.rejected": "in outcomes",
    "work.undecodable": "in outcomes",
    "work.skipped": "in outcomes",
    "work.exhausted": "in outcomes",
    "work.not_started": "in outcomes",
    "work.ended": "in outcomes",
    "queue": "a label",
    "handler": "a label",
}


class Reading:
    """Statistics that note the fields that are read."""

    def __init__(self, value: Any, path: str, seen: set[str]) -> None:
        self._value, self._path, self._seen = value, path, seen

    def __getattr__(self, name: str) -> Any:
        value, path = getattr(self._value, name), f"{self._path}{name}"
        if dataclasses.is_dataclass(value) and not isinstance(value, Distribution):
            return Reading(value, f"{path}.", self._seen)
        self._seen.add(path)
        return value


def leaves(kind: Any, path: str = "") -> set[str]:
    """The paths of all numbers in statistics."""
    found = set()
    for field in dataclasses.fields(kind):
        value = getattr(kind, field.name)
        nested = dataclasses.is_dataclass(value) and not isinstance(value, Distribution)
        found |= leaves(value, f"{path}{field.name}.") if nested else {f"{path}{field.name}"}
    return found


async def statistics_of_a_world(*, fifo: bool) -> ConsumerStatistics:
    """A consumer that has seen messages that end in several ways."""
    async with World(max_receives=5, fifo=fifo) as world:
        world.faults.set("DeleteMessageBatch", latency=0.02)
        world.faults.set("ReceiveMessage", latency=0.02)
        for body in ("good", "good", "raise", "reject", "retry"):
            await world.send(body)

        async def handle(body: str) -> object:
            await asyncio.sleep(0.1)
            if body == "raise":
                raise ValueError
            return {"reject": Reject("no"), "retry": Retry(900)}.get(body)

        consumer = await world.start(handle, concurrency=1, prefetch=5, rate=None if fifo else 100)
        consumer.measure()
        await world.until(lambda: sum(consumer.statistics().outcomes.values()) >= 5)
        await consumer.stop()
        return consumer.statistics()


def asked(statistics: ConsumerStatistics) -> ConsumerStatistics:
    """The same where SQS was asked about the queue."""
    backlog = Backlog()
    backlog.add(0.0, QueueCounts(visible=400, in_flight=3, delayed=1, dead_letters=None))
    backlog.add(10.0, QueueCounts(visible=500, in_flight=2, delayed=1, dead_letters=None))
    return with_scaling(statistics, backlog, 60.0)


ROWS: Any = OutboxQueue(
    table="outbox", queue="q", sent=1, retried=2, refused=3, waiting=4, scheduled=5, failed=6, oldest=7.0
)
"""What a relay says of a queue."""


class Fixed:
    def __init__(self, *snapshots: ConsumerStatistics) -> None:
        self.snapshots = snapshots

    def statistics(self) -> tuple[ConsumerStatistics, ...]:
        return self.snapshots


@pytest.fixture(scope="module")
def standard() -> ConsumerStatistics:
    return virtual(statistics_of_a_world)(fifo=False)


@pytest.fixture(scope="module")
def fifo() -> ConsumerStatistics:
    return virtual(statistics_of_a_world)(fifo=True)


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by name, and by the labels without queue and consumer."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in parse(text):
        for sample in family.samples:
            own = tuple(value for name, value in sample.labels.items() if name not in {"queue", "consumer"})
            found.setdefault(sample.name, {})[own] = sample.value
    return found


def test_the_exported_names_are_those_of_the_catalogue(standard: ConsumerStatistics, fifo: ConsumerStatistics) -> None:
    routed = dataclasses.replace(
        asked(standard),
        routes=RouteStatistics(taken={"created": 2, "paid": 3}, unmatched=1),
        errors={"AccessDenied": 4},
        lane=dataclasses.replace(asked(standard).lane, deaths={"crash": 2}, payload_bytes=5_000),
        idempotency=IdempotencyStatistics(),
    )
    text = generate_latest(registry_of(Fixed(routed, fifo, ROWS))).decode()
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert described == {metric.name for metric in CATALOGUE}
    suffixes = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
    written = {f"{metric.name}{suffix}" for metric in CATALOGUE for suffix in suffixes.get(metric.kind, ("",))}
    assert samples(text).keys() == written  # each has a sample
    assert samples(text)["leasekeeper_routed_total"] == {("created",): 2, ("paid",): 3}
    assert samples(text)["leasekeeper_errors_total"] == {("AccessDenied",): 4}


def test_every_statistic_is_exported_or_has_a_reason_not_to_be(
    standard: ConsumerStatistics, fifo: ConsumerStatistics
) -> None:
    for statistics in (asked(standard), asked(fifo)):
        seen: set[str] = set()
        reading: Any = Reading(statistics, "", seen)
        for metric in CATALOGUE:
            if metric.source == "consumer":
                metric.read(reading)
        exported = leaves(statistics) - NOT_EXPORTED.keys()
        assert exported - seen == set()
        assert not seen & NOT_EXPORTED.keys()


def test_the_values_are_those_of_the_statistics(standard: ConsumerStatistics) -> None:
    found = samples(generate_latest(registry_of(Fixed(standard))).decode())
    handled = {labels[0]: value for labels, value in found["leasekeeper_handled_total"].items() if value}
    assert handled == {"done": 2, "failed": 1, "rejected": 1, "retried": 1}
    assert found["leasekeeper_handler_errors_total"] == {(): 1}
    assert found["leasekeeper_messages_received_total"] == {(): 5}
    assert found["leasekeeper_dead_letters_total"] == {("rejected",): 1, ("undecodable",): 0, ("exhausted",): 0}
    assert found["leasekeeper_released_total"] == {("failed",): 1, ("retried",): 1}
    assert found["leasekeeper_receives_total"][("short",)] >= 1
    calls = {labels: value for labels, value in found["leasekeeper_calls_total"].items() if value}
    assert set(calls) == {("ok", operation) for operation in OPERATIONS}
    assert calls["ok", "SendMessageBatch"] == 1
    assert abs(found["leasekeeper_last_receive_timestamp_seconds"][()] - time.time()) < 60
    assert found["leasekeeper_deletes_total"] == {("confirmed",): 3, ("late",): 0, ("failed",): 0}
    assert found["leasekeeper_phase"][("closed",)] == 1
    assert sum(found["leasekeeper_phase"].values()) == 1


def test_a_histogram_has_every_message(standard: ConsumerStatistics) -> None:
    """Each handler took a tenth of a second; they waited for one another."""
    found = samples(generate_latest(registry_of(Fixed(standard))).decode())
    assert found["leasekeeper_handler_seconds_count"] == {(): 5}
    assert found["leasekeeper_handler_seconds_bucket"]["0.05",] == 0
    assert found["leasekeeper_handler_seconds_bucket"]["0.25",] == 5
    assert found["leasekeeper_handler_seconds_bucket"]["+Inf",] == 5
    assert found["leasekeeper_handler_seconds_sum"][()] == pytest.approx(0.5, abs=0.1)
    assert found["leasekeeper_buffer_seconds_count"] == {(): 5}
    assert found["leasekeeper_buffer_seconds_sum"][()] > 0.3
    assert found["leasekeeper_lag_seconds_count"] == {(): 5}
    calls = found["leasekeeper_call_seconds_bucket"]
    assert calls["0.01", "DeleteMessageBatch"] == 0
    assert calls["0.025", "DeleteMessageBatch"] > 0


def test_without_an_exporter_no_message_is_measured() -> None:
    async def world() -> tuple[ConsumerStatistics, int]:
        async with World() as world:

            async def handle(_body: str) -> None:
                pass

            consumer = await world.start(handle)
            await world.send("a")
            await world.until(lambda: consumer.statistics().ledger.acked == 1)
            before = consumer.statistics()
            consumer.measure()
            consumer.measure()
            await world.send("b")
            await world.until(lambda: consumer.statistics().ledger.acked == 2)
            after = consumer.statistics().durations
            assert after is not None
            return before, after.handler.count

    before, after = virtual(world)()
    assert before.durations is None
    assert after == 1


def test_an_exporter_asks_for_histograms() -> None:
    """Also of consumers that an app declares later, and again at the next start."""
    app = Leasekeeper(region="eu-west-1")
    app.consumer("orders")(_handle)
    registry = registry_of(app)
    app.consumer("returns")(_handle)
    assert [each.measured for each in app.consumers] == [True, False]
    generate_latest(registry)
    assert [each.measured for each in app.consumers] == [True, True]
    alone = Consumer("orders", _handle, region="eu-west-1")
    EmfLines(alone, service="shop")
    assert alone.measured


async def _handle(_body: str) -> None:
    pass


def test_a_quantile_is_estimated_within_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0, 4.0))
    assert histogram.read().quantile(0.5) is None
    histogram.add([0.5, 1.0, 1.5, 3.0])
    first = histogram.read()
    assert first == Distribution(bounds=(1.0, 2.0, 4.0), counts=(2, 1, 1, 0), total=6.0)
    assert (first.quantile(0.5), first.quantile(0.75), first.quantile(1.0)) == (1.0, 2.0, 4.0)
    histogram.add([100.0])
    now = histogram.read()
    assert (now.count, now.quantile(1.0)) == (5, 4.0), "beyond the last bound it is that bound"
    assert now.since(first).counts == (0, 0, 0, 1)
    assert first.since(now) == first, "the consumer has started again"


def test_a_histogram_counts_many_as_one_by_one() -> None:
    """It counts them some hundreds at a time; each bucket includes its bound."""
    histogram, durations = Histogram(CALL), [0.005 * step for step in range(3000)]
    for start in range(0, len(durations), 7):
        histogram.add(durations[start : start + 7])
    found = histogram.read()
    assert list(found.counts) == [Counter(bisect_left(CALL, each) for each in durations)[at] for at in range(13)]
    assert found.total == pytest.approx(sum(durations))


@pytest.mark.parametrize("bounds", [HANDLER, CALL])
def test_bounds_rise(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def test_a_run_counts_once_whatever_follows(standard: ConsumerStatistics) -> None:
    """A handler that raised at its last attempt is exhausted, and not also failed; handler_errors has it too."""

    async def world() -> ConsumerStatistics:
        async with World(max_receives=5) as world:

            async def handle(_body: str) -> None:
                raise ValueError

            consumer = await world.start(handle, max_attempts=1)
            await world.send("a")
            await world.until(lambda: sum(consumer.statistics().outcomes.values()) == 1)
            await consumer.stop()
            return consumer.statistics()

    found = virtual(world)()
    assert {name: count for name, count in found.outcomes.items() if count} == {"exhausted": 1}
    assert found.work.failed == 1


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_every_metric_is_named_and_described_by_the_rules(metric: Any, standard: ConsumerStatistics) -> None:
    """The rules of Prometheus: base units, `_total` on counters alone, and no suffix of a histogram."""
    assert metric.name.startswith("leasekeeper_")
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.removesuffix("_total").endswith("_seconds") == (metric.unit.value == "seconds")
    assert not metric.name.endswith(("_count", "_sum", "_bucket"))
    assert metric.meaning.endswith(".")
    assert metric.advice.endswith(".")
    value = metric.read(standard if metric.source == "consumer" else ROWS)
    if value is not None:
        assert isinstance(value, Mapping) == bool(metric.own)


def test_metrics_have_different_names() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)


def test_every_phase_of_a_runner_has_a_sample(standard: ConsumerStatistics) -> None:
    [metric] = [metric for metric in CATALOGUE if metric.name == "leasekeeper_phase"]
    value = metric.read(standard)
    assert isinstance(value, Mapping)
    assert value.keys() == {phase.value for phase in Phase} - {"new", "starting"}


def test_openmetrics_is_valid_too(standard: ConsumerStatistics, fifo: ConsumerStatistics) -> None:
    """Its parser refuses what the older one lets pass, such as two samples with the same labels."""
    text = generate_openmetrics(registry_of(Fixed(standard, fifo, standard))).decode()
    assert len(list(parse_openmetrics(text))) == len(CATALOGUE)


def test_consumers_with_the_same_labels_are_kept_apart(standard: ConsumerStatistics) -> None:
    text = generate_latest(registry_of(Fixed(standard, standard))).decode()
    [family] = [family for family in parse(text) if family.name == "leasekeeper_healthy"]
    names = [sample.labels["consumer"] for sample in family.samples]
    assert names == [standard.handler, f"{standard.handler}-2"]


def test_what_has_not_started_has_no_samples() -> None:
    class New:
        def statistics(self) -> None:
            return None

    assert samples(generate_latest(registry_of(New())).decode()) == {}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of the Debian package prometheus")
def test_promtool_has_no_complaint(standard: ConsumerStatistics, fifo: ConsumerStatistics) -> None:
    text = generate_latest(registry_of(Fixed(standard, fifo)))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# CloudWatch


def test_an_emf_line_is_as_aws_specifies_it(standard: ConsumerStatistics) -> None:
    [line] = EmfLines(Fixed(standard), service="shop", clock=lambda: 1_700_000_000.5).lines()
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["_aws"]["Timestamp"] == 1_700_000_000_500
    [directive] = parsed["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Leasekeeper"
    assert directive["Dimensions"] == [["Service", "Queue", "Consumer"]]
    assert (parsed["Service"], parsed["Queue"], parsed["Consumer"]) == ("shop", "orders", standard.handler)
    assert 0 < len(directive["Metrics"]) <= 100
    names = [metric["Name"] for metric in directive["Metrics"]]
    assert len(set(names)) == len(names)
    assert all(isinstance(parsed[name], (int, float)) for name in names)
    assert {metric["Unit"] for metric in directive["Metrics"]} == {"Count", "Seconds", "None"}
    assert (parsed["handled_done"], parsed["messages_received"]) == (2, 5)
    assert 0.1 <= parsed["handler_seconds_p95"] <= 0.25
    assert parsed["call_seconds_DeleteMessageBatch_p50"] > 0


def test_a_counter_in_emf_is_what_was_added_since_the_last_line(standard: ConsumerStatistics) -> None:
    target = Fixed(standard)
    lines = EmfLines(target, service="shop")
    lines.lines()
    target.snapshots = (
        dataclasses.replace(standard, ledger=dataclasses.replace(standard.ledger, received=12), concurrency=3),
    )
    [second] = map(json.loads, lines.lines())
    assert (second["messages_received"], second["handled_done"], second["concurrency_limit"]) == (7, 0, 3)
    # The consumer has started again, and counts from 0.
    target.snapshots = (dataclasses.replace(standard, ledger=dataclasses.replace(standard.ledger, received=4)),)
    [third] = map(json.loads, lines.lines())
    assert third["messages_received"] == 4


def test_more_than_a_hundred_metrics_need_a_second_line(standard: ConsumerStatistics) -> None:
    many = dataclasses.replace(standard, errors={f"Code{number}": 1 for number in range(150)})
    lines = [json.loads(line) for line in EmfLines(Fixed(many), service="shop").lines()]
    sizes = [len(line["_aws"]["CloudWatchMetrics"][0]["Metrics"]) for line in lines]
    assert len(sizes) > 1
    assert max(sizes) == 100
    assert sum(name.startswith("errors_") for line in lines for name in line) == 150
