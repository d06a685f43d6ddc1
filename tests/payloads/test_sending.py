"""Senders that put large payloads into S3, against the local SQS and a model of S3."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.errors import ConfigurationError, Unsent
from leasekeeper.local import LocalSqs
from leasekeeper.local.objects import Objects
from leasekeeper.payload import PayloadUnavailable
from leasekeeper.payloads import S3Payloads
from leasekeeper.sending import Sender

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBIBYTE = 1_048_576


@pytest.fixture(scope="module")
def sqs() -> Iterator[LocalSqs]:
    with LocalSqs(seed=1) as sqs:
        yield sqs


def sent(sqs: LocalSqs, queue: str) -> list[tuple[Any, dict[str, str | None]]]:
    """The bodies in a queue, read as JSON if they are a pointer, and their attributes."""
    contents = [each.content for each in sqs.broker.account.queues[queue].contents()]
    return [
        (json.loads(each.body) if each.body[:1] == "[" else each.body, _values(each.attributes)) for each in contents
    ]


def _values(attributes: Any) -> dict[str, str | None]:
    return {name: value.get("StringValue") for name, value in attributes.items()}


def sender(sqs: LocalSqs, queue: str, objects: Objects, **options: Any) -> Sender:
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if queue.endswith(".fifo") else {}
    sqs.call("CreateQueue", QueueName=queue, Attributes=attributes)
    payloads = S3Payloads("bucket", client=objects, **options.pop("s3", {}))
    return Sender(queue, endpoint_url=sqs.endpoint_url, region="eu-west-1", payloads=payloads, **options)


def test_a_message_that_is_too_large_becomes_a_pointer(sqs: LocalSqs) -> None:
    objects, large = Objects(), "é" * 600_000
    with sender(sqs, "large", objects, s3={"prefix": "orders/"}) as out:
        out.send(large, attributes={"colour": "red"})
        out.send("small")
    (pointer, attributes), small = sent(sqs, "large")
    name, place = pointer
    assert name == "software.amazon.payloadoffloading.PayloadS3Pointer"
    assert place["s3BucketName"] == "bucket"
    assert place["s3Key"].startswith("orders/")
    assert attributes == {"colour": "red", "ExtendedPayloadSize": "1200000"}
    assert small == ("small", {})
    [((_, key), stored)] = objects.stored.items()
    assert (key, stored.data) == (place["s3Key"], large.encode())
    assert stored.sha256 == sha256(large.encode()).hexdigest()


def test_the_legacy_format_and_a_threshold(sqs: LocalSqs) -> None:
    objects = Objects()
    with sender(sqs, "legacy", objects, s3={"pointer": "legacy", "above": 10}) as out:
        out.send("0123456789")
        out.send("01234567890")
    small, (pointer, attributes) = sent(sqs, "legacy")
    assert small == ("0123456789", {})
    assert pointer[0] == "com.amazon.sqs.javamessaging.MessageS3Pointer"
    assert attributes == {"SQSLargePayloadSize": "11"}


@pytest.mark.parametrize(("bytes_", "objects_"), [(MEBIBYTE - 16_384, 0), (MEBIBYTE - 16_383, 1)])
def test_the_usual_threshold_leaves_room_below_the_largest_message(sqs: LocalSqs, bytes_: int, objects_: int) -> None:
    objects = Objects()
    with sender(sqs, f"usual-{objects_}", objects) as out:
        out.send("x" * bytes_)
    assert len(objects.stored) == objects_


def test_messages_of_a_group_wait_behind_an_upload_and_are_known_by_their_payloads(sqs: LocalSqs) -> None:
    objects = Objects()
    objects.latency = 0.05
    with sender(sqs, "q.fifo", objects, s3={"above": 20}) as out:
        out.post("first, and rather long", group="a")
        out.post("second", group="a")
        out.post("third, and rather long", group="a")
        out.post("first, and rather long", group="a")
    bodies = [
        body if isinstance(body, str) else objects.stored["bucket", body[1]["s3Key"]].data
        for body, _ in sent(sqs, "q.fifo")
    ]
    assert bodies == [b"first, and rather long", "second", b"third, and rather long"]


def test_a_payload_that_cannot_be_stored_is_named_and_holds_up_nothing(sqs: LocalSqs) -> None:
    objects = Objects()

    def refuse(operation: str, _bucket: str, _key: str) -> None:
        raise PayloadUnavailable(f"{operation}: AccessDenied (HTTP 403)")

    objects.fault = refuse
    out = sender(sqs, "refused", objects, s3={"above": 5}, timeout=0.01)
    out.start()
    out.post("too large")
    out.post("fine")
    with pytest.raises(Unsent, match="AccessDenied"):
        out.close()
    assert [body for body, _ in sent(sqs, "refused")] == ["fine"]


def test_it_tries_again_to_store_a_payload(sqs: LocalSqs) -> None:
    objects, failures = Objects(), [1]

    def fail_once(operation: str, _bucket: str, _key: str) -> None:
        if failures and failures.pop():
            raise PayloadUnavailable(f"{operation}: SlowDown (HTTP 503)")

    objects.fault = fail_once
    with sender(sqs, "again", objects, s3={"above": 5}) as out:
        out.send("too large")
    assert len(sent(sqs, "again")) == len(objects.stored) == 1


def test_a_pointer_leaves_room_for_nine_attributes(sqs: LocalSqs) -> None:
    with sender(sqs, "nine", Objects(), s3={"above": 5}) as out:
        out.send("too large", attributes={f"a{number}": "1" for number in range(9)})
        with pytest.raises(ConfigurationError, match="room for 9"):
            out.send("too large", attributes={f"a{number}": "1" for number in range(10)})


def test_what_is_held_counts_with_its_payload(sqs: LocalSqs) -> None:
    objects = Objects()
    objects.latency = 0.2
    with sender(sqs, "held", objects, s3={"above": 5}) as out:
        out.post("x" * 10_000)
        assert out.statistics().held_bytes > 10_000
        out.flush()
        assert out.statistics().held_bytes == 0
