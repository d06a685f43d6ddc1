"""The consumer with each server and messages sent by boto3: all are handled and deleted."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from leasekeeper import Consumer, Message, Reject, Retries, Retry, Table
from leasekeeper.observe.tracing import Tracing
from leasekeeper.routing import attribute, field

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 60
PATIENCE = 60.0


@dataclass
class Order:
    id: int
    items: list[str]


class Seen:
    """The bodies that handlers saw. `reached` is set when there are `count` of them."""

    def __init__(self, count: int) -> None:
        self.bodies: list[Any] = []
        self.reached = threading.Event()
        self._count = count

    def expect(self, count: int) -> None:
        """Let `reached` be set when there are so many."""
        self._count = count
        if len(self.bodies) < count:
            self.reached.clear()

    def note(self, body: Any) -> None:
        self.bodies.append(body)
        if len(self.bodies) >= self._count:
            self.reached.set()


def put(queue: Any, count: int) -> None:
    for start in range(0, count, 10):
        entries = [
            {
                "Id": str(number),
                "MessageBody": json.dumps({"id": number, "items": ["tea"]}),
                "MessageAttributes": {"tenant": {"DataType": "String", "StringValue": f"t{number % 3}"}},
            }
            for number in range(start, start + 10)
        ]
        queue.ask("send_message_batch", Entries=entries)


def left(queue: Any) -> tuple[int, int]:
    """The numbers of messages that are visible and in flight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = queue.ask("get_queue_attributes", AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def consume(queue: Any, handler: Callable[..., Any] | list[Any], seen: Seen, **options: Any) -> Any:
    """Run a consumer until it has seen enough, then stop it. Returns its report."""
    (first, when), *more = handler if isinstance(handler, list) else [(handler, None)]
    consumer = Consumer(queue.url, first, when=when, concurrency=10, poll_grace=0.1, ack_interval=0.1, **options)
    for another, condition in more:
        consumer.add_handler(another, when=condition)
    consumer.start()
    try:
        assert seen.reached.wait(PATIENCE), f"{len(seen.bodies)} seen: {consumer}"
    finally:
        report = consumer.stop().result()
    return report


@pytest.mark.parametrize("kind", ["async def", "def", "pool"])
def test_everything_is_handled_once_and_deleted(queue: Any, kind: str) -> None:
    seen = Seen(COUNT)
    odd: list[str] = []
    put(queue, COUNT)

    async def coroutine(message: Message[Order]) -> None:
        if message.receive_count != 1 or message.attributes["tenant"].value != f"t{message.body.id % 3}":
            odd.append(f"{message}: {message.attributes}")
        seen.note(message.body)

    def blocking(order: Order) -> None:
        seen.note(order)

    options = {"dispatch": "pool"} if kind == "pool" else {}
    report = consume(queue, blocking if kind == "def" else coroutine, seen, **options)
    assert odd == []
    assert Counter(order.id for order in seen.bodies) == Counter(range(COUNT))
    assert (report.handled, report.acked, report.lost, report.unsettled) == (COUNT, COUNT, 0, 0)
    assert left(queue) == (0, 0)


def test_both_trace_headers_reach_the_spans(queue: Any) -> None:
    """Each server keeps the attribute of W3C and the system attribute of X-Ray."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace_id, span_id = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
    w3c = {"DataType": "String", "StringValue": f"00-{trace_id}-{span_id}-01"}
    aws = {"DataType": "String", "StringValue": f"Root=1-{trace_id[:8]}-{trace_id[8:]};Parent={span_id};Sampled=1"}
    queue.ask("send_message", MessageBody="tea", MessageAttributes={"traceparent": w3c})
    queue.ask("send_message", MessageBody="milk", MessageSystemAttributes={"AWSTraceHeader": aws})
    seen = Seen(2)

    async def handle(body: str) -> None:
        seen.note(body)

    consume(queue, handle, seen, middleware=[Tracing(provider)])
    spans = kept.get_finished_spans()
    found = [(f"{each.context.trace_id:032x}", f"{each.context.span_id:016x}") for span in spans for each in span.links]
    assert found == [(trace_id, span_id)] * 2
    assert {(span.attributes or {})["messaging.destination.name"] for span in spans} == {queue.url.rpartition("/")[2]}


@pytest.mark.always
def test_a_retried_message_is_received_again_and_a_rejected_one_is_not(queue: Any) -> None:
    seen = Seen(3)
    put(queue, 10)

    async def handle(message: Message[Order]) -> None:
        if message.body.id == 1:
            raise Reject("never")
        if message.body.id == 2 and message.receive_count < 3:
            seen.note(message.receive_count)
            raise Retry(after=0)
        if message.body.id == 2:
            seen.note(message.receive_count)

    report = consume(queue, handle, seen)
    assert seen.bodies == [1, 2, 3]
    assert (report.retried, report.rejected, report.acked) == (2, 1, 9)
    assert left(queue) == (0, 1)  # the rejected message stays hidden, because there is no dead-letter queue


def test_messages_are_divided_among_handlers_by_their_attributes_and_fields(queue: Any) -> None:
    """Each server sends the attributes that conditions ask for."""
    seen = Seen(COUNT)
    put(queue, COUNT)

    async def tenant(order: Order) -> None:
        seen.note(("tenant", order.id))

    async def tens(order: Order) -> None:
        seen.note(("tens", order.id))

    async def rest(message: Message[Order]) -> None:
        seen.note(("rest", message.body.id))

    routes = [(tenant, attribute("tenant") == "t0"), (tens, field("id").any_of(*range(0, COUNT, 10))), (rest, None)]
    report = consume(queue, routes, seen)
    expected = [
        ("tenant" if number % 3 == 0 else "tens" if number % 10 == 0 else "rest", number) for number in range(COUNT)
    ]
    assert sorted(seen.bodies, key=lambda each: each[1]) == expected
    assert (report.handled, report.acked, report.unmatched) == (COUNT, COUNT, 0)
    assert left(queue) == (0, 0)


def test_a_lease_is_kept_for_longer_than_its_length(queue: Any) -> None:
    """L3: with a visibility of two seconds and a handler of four seconds, the message is received once."""
    seen = Seen(1)
    end = threading.Event()
    put(queue, 10)

    def slow(order: Order) -> None:
        if order.id == 0:
            end.wait(4)
            seen.note(order.id)

    report = consume(queue, slow, seen, visibility_timeout=2)
    assert (report.received, report.handled, report.acked, report.lost) == (10, 10, 10, 0)
    assert left(queue) == (0, 0)


def test_a_message_that_used_up_its_attempts_is_in_the_dead_letter_queue_with_the_reason(sqs: Any) -> None:
    """L30: with its body and attributes; the attempts are counted across receives and immediate tries."""
    dead = sqs.queue()
    source = sqs.queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 9}))
    sent = {"tenant": {"DataType": "String", "StringValue": "t1"}}
    source.send("a", MessageAttributes=sent)
    seen = Seen(3)

    def handle(message: Message[str]) -> None:
        seen.note((message.attempt, message.receive_count))
        raise ValueError("no stock")

    report = consume(source, handle, seen, retry=Retries(Table(1), immediate=1), max_attempts=3)
    assert seen.bodies == [(1, 1), (2, 1), (3, 2)]
    assert (report.failed, report.acked, left(source)) == (3, 1, (0, 0))
    copy = dead.one()
    assert (copy["Body"], copy["MessageAttributes"]["tenant"]["StringValue"]) == ("a", "t1")
    failure = json.loads(copy["MessageAttributes"]["leasekeeper.failure"]["StringValue"])
    assert {name: failure[name] for name in ("reason", "error", "message", "attempts", "receives", "queue")} == {
        "reason": "exhausted",
        "error": "ValueError",
        "message": "no stock",
        "attempts": 3,
        "receives": 2,
        "queue": source.arn,
    }


def test_tenants_a_rate_and_a_pause_hold_with_each_server(queue: Any) -> None:
    """The server tells the group of a message; 20 messages take 2 s at 10 a second, and none comes during a pause."""
    tenants = Counter({"a": 10, "b": 10})
    for tenant, count in tenants.items():
        for number in range(count):
            queue.ask("send_message", MessageBody=f"{tenant}{number}", MessageGroupId=tenant)
    seen = Seen(10)
    running, most = Counter[str](), Counter[str]()

    async def handle(message: Message[str]) -> None:
        tenant = message.group_id or ""
        running[tenant] += 1
        most[tenant] = max(most[tenant], running[tenant])
        await asyncio.sleep(0.15)
        running[tenant] -= 1
        seen.note(message.body)

    began = time.monotonic()
    consumer = Consumer(queue.url, handle, rate=10, burst=2, group_concurrency=1, max_pollers=1, wait_time=1)
    consumer.start()
    try:
        assert seen.reached.wait(PATIENCE), f"{len(seen.bodies)} seen: {consumer}"
        consumer.pause()
        consumer.resume()
        seen.expect(20)
        assert seen.reached.wait(PATIENCE), f"{len(seen.bodies)} seen: {consumer}"
        assert time.monotonic() - began >= (20 - 2) / 10
    finally:
        report = consumer.stop().result()
    assert sorted(seen.bodies) == sorted(f"{tenant}{number}" for tenant in "ab" for number in range(10))
    assert most == {"a": 1, "b": 1}
    assert (report.acked, report.unsettled, report.lost) == (20, 0, 0)
