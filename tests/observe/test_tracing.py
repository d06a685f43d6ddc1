"""Spans of handlers, as OpenTelemetry's SDK gets them: names, kinds, links, attributes, errors, the lease's events."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

from leasekeeper import Batch, ConfigurationError, Consumer, Reject, Retry
from leasekeeper.local import LocalSqs
from leasekeeper.observe.tracing import Tracing
from leasekeeper.testing.handling import run_handler
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

TRACE_ID, SPAN_ID = 0x5759E988BD862E3FE1BE46A994272793, 0x53995C3F42CD8AD8
W3C = f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-01"
UNSAMPLED = W3C[:-1] + "0"
AWS = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class Spans:
    """A provider whose spans are kept."""

    def __init__(self, **settings: Any) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(**settings)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    def all(self) -> list[ReadableSpan]:
        return list(self._kept.get_finished_spans())

    def only(self) -> ReadableSpan:
        [span] = self.all()
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


def attributes(traceparent: str) -> dict[str, Any]:
    return {"MessageAttributes": {"traceparent": {"DataType": "String", "StringValue": traceparent}}}


def aws_header(text: str) -> dict[str, Any]:
    return {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": text}}}


def call(sqs: LocalSqs, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    asked = urllib.request.Request(sqs.endpoint_url, json.dumps(request).encode(), headers)
    with urllib.request.urlopen(asked) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(each.context.trace_id, each.context.span_id) for each in span.links]


@virtual
async def test_a_message_is_a_span_with_a_link_to_its_sender() -> None:
    spans, seen = Spans(), list[Any]()

    async def ship(body: str) -> None:
        seen.append(trace.get_current_span().get_span_context())
        await asyncio.sleep(1)

    async with World() as world:
        [message_id] = await world.send("tea", **attributes(W3C))
        running = await world.start(ship, middleware=[Tracing(spans.provider)])
        await world.until(lambda: running.statistics().ledger.acked == 1)
    span = spans.only()
    assert (span.name, span.kind, span.status.status_code) == ("process orders", SpanKind.CONSUMER, StatusCode.UNSET)
    assert span.parent is None
    assert links(span) == [(TRACE_ID, SPAN_ID)]
    assert seen == [span.context], "the span is current in the handler"
    found: dict[str, Any] = dict(span.attributes or {})
    assert found.pop("leasekeeper.wait") >= 0.0
    assert found.pop("leasekeeper.buffer_wait") < 1.0
    assert found == {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.message.id": message_id,
        "aws.sqs.queue.url": world.queue_url,
        "server.address": "127.0.0.1",
        "code.function.name": ship.__qualname__,
        "leasekeeper.attempt": 1,
        "leasekeeper.outcome": "done",
    }


@virtual
async def test_as_a_parent_the_senders_trace_goes_on() -> None:
    spans = Spans()

    async def ship(body: str) -> None:
        pass

    async with World() as world:
        await world.send("tea", **aws_header(AWS))
        await world.send("milk")
        running = await world.start(ship, middleware=[Tracing(spans.provider, style="parent")], concurrency=1)
        await world.until(lambda: running.statistics().ledger.acked == 2)
    tea, milk = spans.all()
    assert tea.parent is not None
    assert (tea.parent.trace_id, tea.parent.span_id, tea.parent.is_remote) == (TRACE_ID, SPAN_ID, True)
    assert tea.context.trace_id == TRACE_ID
    assert not tea.links
    assert milk.parent is None, "without a header the span begins a trace"


@virtual
async def test_a_batch_is_one_span_with_a_link_for_each_message() -> None:
    spans = Spans()

    async def ship(batch: Batch[str]) -> None:
        pass

    async with World() as world:
        sent = await world.send("tea", **attributes(W3C))
        sent += await world.send("milk", **aws_header(AWS))
        await world.send("rice")
        running = await world.start(ship, batch=3, batch_wait=5.0, middleware=[Tracing(spans.provider, style="parent")])
        await world.until(lambda: running.statistics().ledger.acked == 3)
    span = spans.only()
    assert (span.name, span.kind, span.parent) == ("process orders", SpanKind.CONSUMER, None)
    assert links(span) == [(TRACE_ID, SPAN_ID)] * 2
    assert [dict(each.attributes or {}) for each in span.links] == [{"messaging.message.id": each} for each in sent]
    found = dict(span.attributes or {})
    assert found["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in found


def handle(spans: Spans, handler: Callable[..., Any], **more: Any) -> ReadableSpan:
    run_handler(handler, "tea", middleware=[Tracing(spans.provider)], **more)
    return spans.only()


def _returns(result: object) -> Callable[[str], object]:
    def ship(body: str) -> object:
        return result

    return ship


def _raises(error: BaseException) -> Callable[[str], object]:
    async def ship(body: str) -> None:
        raise error

    return ship


@pytest.mark.parametrize(
    ("handler", "outcome", "kind"),
    [
        (_returns(None), "done", None),
        (_returns(Retry(5)), "retried", None),
        (_raises(Retry(5)), "retried", None),
        (_returns(Reject("no such customer")), "rejected", "leasekeeper.Reject"),
        (_raises(Reject("no such customer")), "rejected", "leasekeeper.Reject"),
        (_raises(KeyError("tea")), "failed", "KeyError"),
        (_raises(ConfigurationError("wrong")), "failed", "leasekeeper.errors.ConfigurationError"),
    ],
)
def test_the_span_says_how_the_handler_ended(
    spans: Spans, handler: Callable[..., Any], outcome: str, kind: str | None
) -> None:
    """A retry that the handler asks for is no error."""
    span = handle(spans, handler)
    found = dict(span.attributes or {})
    assert (found["leasekeeper.outcome"], found.get("error.type")) == (outcome, kind)
    assert span.status.status_code is (StatusCode.ERROR if kind else StatusCode.UNSET)
    assert [each.name for each in span.events] == (["exception"] if outcome == "failed" else [])


@virtual
async def test_what_happens_to_the_lease_is_on_the_span() -> None:
    spans = Spans()

    async def ship(body: str) -> None:
        await asyncio.sleep(65)

    async with World() as world:
        await world.send("tea", **attributes(W3C))
        running = await world.start(ship, middleware=[Tracing(spans.provider)])
        await world.until(lambda: running.statistics().heartbeat.extended >= 2)
        world.faults.set("ChangeMessageVisibilityBatch", throttle=1.0)
        await world.until(lambda: len(spans.all()) == 1)
    span = spans.only()
    names = [each.name for each in span.events]
    assert names[0] == "lease.extended"
    assert names[-1] == "lease.lost"
    assert span.start_time is not None
    seconds = [(each.timestamp - span.start_time) / 1e9 for each in span.events]
    assert seconds == sorted(seconds)
    assert 10 < seconds[0] < 30, "they have the times of the engine"


@virtual
async def test_a_handler_that_ran_into_its_time_out_is_an_error() -> None:
    spans = Spans()

    async def ship(body: str) -> None:
        await asyncio.sleep(60)

    async with World() as world:
        await world.send("tea")
        running = await world.start(ship, middleware=[Tracing(spans.provider)], handler_timeout=5)
        await world.until(lambda: running.statistics().work.timed_out == 1)
    span = spans.only()
    found = dict(span.attributes or {})
    assert (found["leasekeeper.outcome"], found["error.type"]) == ("timed_out", "timeout")
    assert span.status.status_code is StatusCode.ERROR


def test_an_unsampled_message_has_no_span_and_its_context_goes_on() -> None:
    spans, seen = Spans(), list[Any]()

    def ship(body: str) -> None:
        seen.append(trace.get_current_span())
        seen.append(trace.get_current_span(baggage.set_baggage("tenant", "acme")))

    run_handler(ship, "tea", middleware=[Tracing(spans.provider)], attributes={"traceparent": UNSAMPLED})
    assert spans.all() == []
    span, with_more = seen
    assert with_more is span
    context = span.get_span_context()
    assert (context.trace_id, context.trace_flags.sampled, span.is_recording()) == (TRACE_ID, False, False)
    assert trace.get_current_span() is trace.INVALID_SPAN, "the context is put back"


def test_an_unsampled_message_calls_nothing_of_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = Spans()
    monkeypatch.setattr("opentelemetry.sdk.trace.Tracer.start_span", None)
    run_handler(_returns(None), "tea", middleware=[Tracing(spans.provider)], attributes={"traceparent": UNSAMPLED})


@pytest.mark.parametrize("header", [W3C, UNSAMPLED, ""])
def test_a_handler_has_the_baggage_of_its_message(header: str) -> None:
    """Also one whose sender did not sample: what it calls passes the baggage on."""
    seen = list[Any]()

    def ship(body: str) -> None:
        seen.append((dict(baggage.get_all()), dict(baggage.get_all(baggage.set_baggage("more", "1")))))

    carried = {"baggage": "tenant=acme,who=J%C3%BCrgen"} | ({"traceparent": header} if header else {})
    run_handler(ship, "tea", middleware=[Tracing(Spans().provider)], attributes=carried)
    run_handler(ship, "tea", middleware=[Tracing(Spans().provider)], attributes={"traceparent": header or W3C})
    expected = {"tenant": "acme", "who": "Jürgen"}
    assert seen == [(expected, {**expected, "more": "1"}), ({}, {"more": "1"})]
    assert not baggage.get_all(), "the context is put back"


def test_a_share_is_chosen_by_the_trace(spans: Spans) -> None:
    """All messages of one trace have spans, or none of them."""
    tracing = Tracing(spans.provider, sample=0.5)
    for number in range(1, 64):
        header = f"00-{number << 50:032x}-{SPAN_ID:016x}-01"
        for _ in range(2):
            run_handler(_returns(None), "tea", middleware=[tracing], attributes={"traceparent": header})
    traced = [links(each)[0][0] for each in spans.all()]
    assert sorted(set(traced)) == [number << 50 for number in range(1, 32)]
    assert len(traced) == 2 * 31


def test_the_provider_decides_where_the_sender_did_not() -> None:
    spans = Spans(sampler=ParentBased(TraceIdRatioBased(0.0)))
    run_handler(_returns(None), "tea", middleware=[Tracing(spans.provider)])
    assert spans.all() == []


@pytest.mark.parametrize("values", [{"style": "linked"}, {"sample": 1.5}, {"sample": "always"}])
def test_wrong_arguments_are_refused(values: dict[str, Any]) -> None:
    [name] = values
    with pytest.raises(ConfigurationError, match=rf"Tracing\({name}="):
        Tracing(**values)


@virtual
async def test_calls_have_spans_where_that_is_wanted() -> None:
    spans = Spans()

    async def ship(body: str) -> None:
        pass

    async with World() as world:
        await world.send("tea")
        tracing = Tracing(spans.provider, sample=0, receive=True, settle=True)
        running = await world.start(ship, middleware=[tracing])
        await world.until(lambda: running.statistics().ledger.acked == 1)
        world.faults.set("ReceiveMessage", throttle=1.0)
        await world.until(lambda: running.statistics().receives.failed == 1)
    receive, delete, failed = spans.all()[:3]
    assert [each.name for each in (receive, delete, failed)] == ["receive orders", "delete orders", "receive orders"]
    assert {each.kind for each in spans.all()} == {SpanKind.CLIENT}
    found = dict(delete.attributes or {})
    assert (found["messaging.operation.type"], found["messaging.batch.message_count"]) == ("settle", 1)
    assert failed.status.status_code is StatusCode.ERROR


@virtual
async def test_a_delete_call_that_failed_as_a_whole_is_an_error() -> None:
    spans = Spans()

    async def ship(body: str) -> None:
        pass

    async with World() as world:
        await world.send("tea")
        world.faults.set("DeleteMessageBatch", throttle=1.0)
        await world.start(ship, middleware=[Tracing(spans.provider, sample=0, settle=True)])
        await world.until(lambda: len(spans.all()) == 1)
    span = spans.all()[0]
    found = dict(span.attributes or {})
    assert span.status.status_code is StatusCode.ERROR
    assert (found["error.type"], found["messaging.batch.message_count"]) == ("RequestThrottled", 0)


@pytest.mark.slow
def test_the_spans_of_calls_have_the_ids_of_the_server() -> None:
    """Not those of another call that ran at the same time; a call without an answer has none."""
    spans, done = Spans(), threading.Semaphore(0)

    def ship(body: str) -> None:
        done.release()

    with LocalSqs() as sqs:
        url = call(sqs, "CreateQueue", {"QueueName": "orders"})["QueueUrl"]
        for body in ("tea", "milk", "rice"):
            call(sqs, "SendMessage", {"QueueUrl": url, "MessageBody": body})
        tracing = Tracing(spans.provider, sample=0, receive=True, settle=True)
        options: dict[str, Any] = {"endpoint_url": sqs.endpoint_url, "middleware": [tracing], "poll_grace": 0}
        consumer = Consumer("orders", ship, **options)
        consumer.start().result()
        for _ in range(3):
            assert done.acquire(timeout=30)
        consumer.stop().result()
    ids = [(each.attributes or {}).get("aws.request_id") for each in spans.all()]
    assert {each.name for each in spans.all()} == {"receive orders", "delete orders"}
    assert len(set(ids)) == len(ids), "each call has an id of its own"
    assert all(ids)


@pytest.mark.slow
def test_the_server_of_this_machine_carries_both_headers_to_both_kinds_of_handlers() -> None:
    """Also for `def` handlers: their span is current in the thread that runs them."""
    spans, done = Spans(), threading.Semaphore(0)
    tracer = spans.provider.get_tracer("test")

    def in_a_thread(body: str) -> None:
        with tracer.start_as_current_span("query"):
            done.release()

    async def in_a_task(body: str) -> None:
        in_a_thread(body)

    async def in_a_batch(bodies: list[str]) -> None:
        in_a_thread("")

    tracing = [Tracing(spans.provider)]
    with LocalSqs() as sqs:
        for number, handler in enumerate[Any]([in_a_thread, in_a_task, in_a_batch]):
            name, batch = f"q{number}", 2 if handler is in_a_batch else None
            url = call(sqs, "CreateQueue", {"QueueName": name})["QueueUrl"]
            for request in (attributes(W3C), aws_header(AWS)):
                call(sqs, "SendMessage", {"QueueUrl": url, "MessageBody": "tea", **request})
            consumer = Consumer(
                name, handler, endpoint_url=sqs.endpoint_url, middleware=tracing, batch=batch, poll_grace=0
            )
            consumer.start().result()
            for _ in range(2 // (batch or 1)):
                assert done.acquire(timeout=30)
            consumer.stop().result()
    handlers = [each for each in spans.all() if each.kind is SpanKind.CONSUMER]
    assert [each.name for each in handlers] == ["process q0"] * 2 + ["process q1"] * 2 + ["process q2"]
    assert [links(each) for each in handlers] == [[(TRACE_ID, SPAN_ID)]] * 4 + [[(TRACE_ID, SPAN_ID)] * 2]
    inside = {each.parent.span_id for each in spans.all() if each.name == "query" and each.parent is not None}
    assert inside == {each.context.span_id for each in handlers}


@pytest.mark.slow
def test_nothing_is_imported_without_tracing() -> None:
    code = "import leasekeeper, leasekeeper.cli, sys; print(any(n.startswith('opentelemetry') for n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
