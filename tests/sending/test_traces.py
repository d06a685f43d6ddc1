"""Trace headers of messages that are sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from opentelemetry.baggage import set_baggage
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id

from leasekeeper import Leasekeeper
from leasekeeper.local import LocalSqs
from leasekeeper.message_context import MessageContext
from leasekeeper.observe.tracing import Tracing
from leasekeeper.outbox import Outbox
from leasekeeper.payloads import S3Payloads
from leasekeeper.sending import Sender
from leasekeeper.sending.outgoing import TargetQueue
from leasekeeper.sending.tracing import trace_source

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACER = TracerProvider().get_tracer("test")


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSqs]:
    monkeypatch.setattr(MessageContext, "span_ids", None)
    with LocalSqs() as sqs:
        sqs.call("CreateQueue", QueueName="q")
        sqs.call("CreateQueue", QueueName="orders")
        yield sqs


def sent(sqs: LocalSqs) -> tuple[dict[str, str], str]:
    """The attributes of the one message there, and its trace header."""
    (message,) = sqs.broker.account.queues["q"].contents()
    return {name: each["StringValue"] for name, each in message.content.attributes.items()}, message.content.trace


def headers(span: Any) -> tuple[str, str]:
    found = span.get_span_context()
    trace, parent = format_trace_id(found.trace_id), format_span_id(found.span_id)
    return f"00-{trace}-{parent}-01", f"Root=1-{trace[:8]}-{trace[8:]};Parent={parent};Sampled=1"


def sender(sqs: LocalSqs, **options: Any) -> Sender:
    return Sender("q", endpoint_url=sqs.endpoint_url, region="eu-west-1", **options)


def test_a_message_carries_the_span_in_which_it_was_sent_in_both_forms(sqs: LocalSqs) -> None:
    with sender(sqs, trace=True) as out, TRACER.start_as_current_span("order") as span:
        out.send("x", attributes={"kind": "order"})
    w3c, aws = headers(span)
    assert sent(sqs) == ({"kind": "order", "traceparent": w3c}, aws)


@pytest.mark.parametrize("given", [1, 10])
def test_a_message_carries_the_baggage_where_there_is_room(sqs: LocalSqs, given: int) -> None:
    attributes = {f"a{number}": "v" for number in range(given)}
    token = attach(set_baggage("tenant", "acme & co"))
    try:
        with sender(sqs, trace=True) as out:
            out.send("x", attributes=attributes)
    finally:
        detach(token)
    carried = {} if given == 10 else {"baggage": "tenant=acme+%26+co"}
    assert sent(sqs) == (attributes | carried, "")


@pytest.mark.parametrize("trace", [None, False])
def test_without_traces_a_message_carries_nothing(sqs: LocalSqs, trace: bool | None) -> None:
    with sender(sqs, trace=trace) as out, TRACER.start_as_current_span("order"):
        out.send("x")
    assert sent(sqs) == ({}, "")


def test_without_a_span_a_message_carries_nothing(sqs: LocalSqs) -> None:
    with sender(sqs, trace=True) as out:
        out.send("x")
    assert sent(sqs) == ({}, "")


def test_without_room_the_system_attribute_carries_it_alone(sqs: LocalSqs) -> None:
    ten = {f"a{number}": "v" for number in range(10)}
    with sender(sqs, trace=True) as out, TRACER.start_as_current_span("order") as span:
        out.send("x", attributes=ten)
    assert sent(sqs) == (ten, headers(span)[1])


def test_a_message_is_not_made_too_large_or_given_one_attribute_too_many() -> None:
    target = TargetQueue("q", fifo=False, most_bytes=100, payloads=None)
    target.trace = trace_source(wanted=True)
    pointed = TargetQueue("q", fifo=False, payloads=S3Payloads("bucket"))
    pointed.trace = target.trace
    given: dict[str, Any] = {"group": None, "delay": None, "deduplication_id": None}
    with TRACER.start_as_current_span("order"):
        small, size = target.outgoing("x" * 28, attributes=None, **given)
        large, _ = target.outgoing("x" * 29, attributes=None, **given)
        pointer, _ = pointed.outgoing("x" * 2_000_000, attributes={f"a{number}": "v" for number in range(9)}, **given)
    assert (len(small.attributes), size) == (1, 100)
    assert (len(large.attributes), "AWSTraceHeader" in large.system) == (0, True)
    assert (len(pointer.attributes), "AWSTraceHeader" in pointer.system) == (10, True)


def test_what_a_traced_handler_sends_belongs_to_its_span(sqs: LocalSqs) -> None:
    provider = TracerProvider()
    app = Leasekeeper(endpoint_url=sqs.endpoint_url, region="eu-west-1", middleware=[Tracing(provider)])
    seen: list[str] = []
    done = asyncio.Event()

    @app.consumer("orders")
    async def ship(body: str, out: Annotated[Sender, "q"]) -> None:
        from opentelemetry.trace import get_current_span

        seen.append(format_trace_id(get_current_span().get_span_context().trace_id))
        await out.send(body)
        done.set()

    sqs.call("SendMessage", QueueUrl=f"{sqs.endpoint_url}/000000000000/orders", MessageBody="x")

    async def story() -> None:
        async with app:
            await done.wait()

    asyncio.run(asyncio.wait_for(story(), 30))
    assert sent(sqs)[0]["traceparent"].split("-")[1] == seen[0]


def test_a_row_of_an_outbox_carries_the_span_in_which_it_was_written(sqs: LocalSqs) -> None:
    Tracing(TracerProvider())
    with TRACER.start_as_current_span("order") as span:
        values = Outbox().values("q", "x")
    assert headers(span)[0] in values["attributes"]
