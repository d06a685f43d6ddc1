"""The formats of pointers, as other clients write them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.message import MessageAttribute, Received
from leasekeeper.outcomes import Reject
from leasekeeper.payloads.pointers import (
    MARKERS,
    Pointer,
    PointerName,
    body_with,
    find_pointer,
    marker_for,
    write_pointer,
)

JAVA = '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]'
PYTHON = '["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]'
JAVA_1 = '["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"b","s3Key":"k"}]'
NEWER = '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k","s3Region":"eu-west-1"}]'
NAMES: list[PointerName] = ["extended", "legacy"]


def received(body: str, **sizes: str) -> Received:
    attributes = {name: MessageAttribute(data_type="Number", string_value=size) for name, size in sizes.items()}
    return Received(message_id="1", receipt="r", body=body, attributes=attributes)


def notification(message: str, attributes: dict[str, Any]) -> str:
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "1",
            "TopicArn": "arn:aws:sns:eu-west-1:123456789012:t",
            "Message": message,
            "Timestamp": datetime(2026, 1, 1).isoformat() + "Z",  # noqa: DTZ001
            "MessageAttributes": attributes,
        }
    )


@pytest.mark.parametrize("marker", MARKERS.values())
@pytest.mark.parametrize("body", [JAVA, PYTHON, JAVA_1, NEWER])
def test_reads_every_shape_with_either_marker(body: str, marker: str) -> None:
    assert find_pointer(received(body, **{marker: "12"})) == Pointer("b", "k", 12)


@pytest.mark.parametrize("body", [JAVA, "text", "", "[]", '{"a":1}'])
def test_a_message_without_a_marker_has_no_pointer(body: str) -> None:
    assert find_pointer(received(body)) is None


@pytest.mark.parametrize(
    "body",
    [
        "text",
        "[" * 3_000,
        '["java.lang.Runtime",{"s3BucketName":"b","s3Key":"k"}]',
        '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"","s3Key":"k"}]',
        '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3Key":"k"}]',
        '["software.amazon.payloadoffloading.PayloadS3Pointer"]',
        JAVA + " " * 5_000,
    ],
)
def test_a_marked_message_without_a_pointer_is_rejected(body: str) -> None:
    with pytest.raises(Reject) as refused:
        find_pointer(received(body, ExtendedPayloadSize="12"))
    assert "ExtendedPayloadSize" in refused.value.reason


@pytest.mark.parametrize("size", ["", "many", "-1", "1" * 16])
def test_a_size_that_is_none_is_unknown(size: str) -> None:
    assert find_pointer(received(JAVA, ExtendedPayloadSize=size)) == Pointer("b", "k", None)


def test_a_pointer_inside_a_notification_of_sns() -> None:
    """The marker is among the notification's attributes, and the payload takes the pointer's place."""
    body = notification(JAVA, {"ExtendedPayloadSize": {"Type": "Number", "Value": "12"}})
    message = received(body)
    pointer = find_pointer(message)
    assert pointer == Pointer("b", "k", 12, in_sns=True)
    assert json.loads(body_with(message, pointer, 'the "payload"')) == {**json.loads(body), "Message": 'the "payload"'}
    assert find_pointer(received(notification(JAVA, {}))) is None


@given(st.sampled_from(NAMES), st.text(min_size=1, max_size=200), st.integers(0, 10**12))
def test_reads_what_it_writes(name: PointerName, key: str, size: int) -> None:
    message = Received(
        message_id="1", receipt="r", body=write_pointer(name, "b", key), attributes=marker_for(name, size)
    )
    assert find_pointer(message) == Pointer("b", key, size)
