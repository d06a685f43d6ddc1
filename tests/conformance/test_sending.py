"""The sender with each server, received by boto3."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from leasekeeper import Sender
from leasekeeper.api import Credentials
from leasekeeper.errors import ConfigurationError

KEYS = Credentials(access_key="k", secret_key="s")


def receive_all(queue: Any) -> list[Any]:
    """Receive and delete everything that is there."""
    found: list[Any] = []
    while True:
        answer = queue.ask(
            "receive_message",
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        if not answer.get("Messages"):
            return found
        found += answer["Messages"]
        for each in answer["Messages"]:
            queue.ask("delete_message", ReceiptHandle=each["ReceiptHandle"])


@pytest.mark.always
def test_what_is_sent_arrives_with_its_attributes(queue: Any) -> None:
    with Sender(queue.url, credentials=KEYS) as out:
        for number in range(25):
            out.post({"n": number}, attributes={"kind": "order", "weight": 1.5, "blob": b"\x00\xff"})
        out.flush().result()
        assert out.statistics().calls == 3
    found = receive_all(queue)
    assert sorted(each["Body"] for each in found) == sorted(f'{{"n":{number}}}' for number in range(25))
    kinds = {name: each["DataType"] for name, each in found[0]["MessageAttributes"].items()}
    assert kinds == {"kind": "String", "weight": "Number", "blob": "Binary"}
    assert found[0]["MessageAttributes"]["blob"]["BinaryValue"] == b"\x00\xff"


@pytest.mark.differs("moto", "ministack", because="system attributes of the entries of a batch are dropped")
def test_the_trace_arrives_in_both_forms(queue: Any) -> None:
    tracer = TracerProvider().get_tracer("test")
    with Sender(queue.url, credentials=KEYS, trace=True) as out, tracer.start_as_current_span("order") as span:
        out.send("x")
    trace = f"{span.get_span_context().trace_id:032x}"
    (found,) = receive_all(queue)
    assert found["MessageAttributes"]["traceparent"]["StringValue"].split("-")[1] == trace
    assert found["Attributes"]["AWSTraceHeader"].startswith(f"Root=1-{trace[:8]}-{trace[8:]};Parent=")


def test_groups_of_a_fifo_queue_arrive_in_order(sqs: Any) -> None:
    queue = sqs.queue(fifo=True, ContentBasedDeduplication="false")
    with Sender(queue.url, credentials=KEYS) as out:
        for number in range(12):
            for group in "abc":
                out.post(f"{group}{number}", group=group)
    bodies = [each["Body"] for each in receive_all(queue)]
    for group in "abc":
        assert [body for body in bodies if body[0] == group] == [f"{group}{number}" for number in range(12)]


def test_what_a_queue_does_not_take_is_refused_before_it_is_sent(sqs: Any) -> None:
    queue = sqs.queue(MaximumMessageSize="1024")
    with Sender(queue.url, credentials=KEYS) as out:
        out.send("x" * 1024)
        with pytest.raises(ConfigurationError, match="takes at most 1,024"):
            out.send("x" * 1025)
