"""Why a message became a dead letter, as an attribute: it fits, SQS takes it, and what others write can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.failure import FAILURE, MOST_BYTES, Failure, seconds_of, timestamp
from leasekeeper.local.model.content import read
from leasekeeper.message import MessageAttribute, Received


def received(value: str | bytes | None) -> Received:
    kind = "Binary" if isinstance(value, bytes) else "String"
    text, data = (None, value) if isinstance(value, bytes) else (value, None)
    attribute = MessageAttribute(data_type=kind, string_value=text, binary_value=data)
    return Received(message_id="1", receipt="r", attributes={} if value is None else {FAILURE: attribute})


def test_what_was_written_is_read() -> None:
    failure = Failure(
        reason="exhausted",
        error="TimeoutError",
        message="no answer",
        at=timestamp(1_700_000_000.5),
        queue="arn:orders",
        attempts=8,
        receives=5,
        first_received=timestamp(1.0),
        sent=timestamp(0.0),
        host="web-1",
        version="1",
        trace="t",
    )
    attribute = failure.attribute()
    assert attribute.data_type == "String"
    assert list(json.loads(attribute.value)) == [
        "v", "reason", "error", "message", "at", "queue", "attempts", "receives", "first_received", "sent", "host",
        "version", "trace",
    ]  # fmt: skip
    assert Failure.of(received(str(attribute.value))) == failure


def test_a_traceback_loses_its_beginning_before_the_message_loses_its_end() -> None:
    trace = "\n".join(f"line {number}" for number in range(1_000))
    read_again = Failure.of(received(str(Failure(message="m" * 1_000, trace=trace).attribute().value)))
    assert read_again is not None
    assert read_again.message == "m" * 1_000
    assert read_again.trace.startswith("[...]")
    assert read_again.trace.endswith("line 998\nline 999")
    read_again = Failure.of(received(str(Failure(message="m" * 9_000, trace=trace).attribute().value)))
    assert read_again is not None
    assert read_again.trace == "[...]"
    assert read_again.message.startswith("m" * 1_700)
    assert read_again.message.endswith("m[...]")


@given(*(st.text(st.characters(), max_size=3_000) for _ in range(3)))
def test_every_failure_fits_and_is_taken_by_sqs(message: str, trace: str, error: str) -> None:
    value = str(Failure(error=error, message=message, trace=trace).attribute().value)
    assert len(value.encode()) <= MOST_BYTES
    read({"MessageBody": "b", "MessageAttributes": {FAILURE: {"DataType": "String", "StringValue": value}}})
    assert Failure.of(received(value)) is not None


@pytest.mark.parametrize("value", [None, "", "{", "[]", "7", "null", "[" * 100_000, b"\xff"])
def test_what_is_no_failure_is_none(value: str | bytes | None) -> None:
    assert Failure.of(received(value)) is None


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ({}, Failure()),
        ({"v": 2, "later": []}, Failure(v=2)),
        ({"error": 5, "message": None, "attempts": "9", "receives": True, "at": 1.5}, Failure()),
    ],
)
def test_a_field_of_another_type_counts_as_not_there(said: dict[str, Any], failure: Failure) -> None:
    assert Failure.of(received(json.dumps(said))) == failure


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14T22:13:20.500Z", 1_700_000_000.5),
        ("2023-11-14T22:13:20", 1_700_000_000.0),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000.0),
        ("1960-01-01", 0.0),
        ("soon", 0.0),
        ("", 0.0),
    ],
)
def test_a_time_is_read_in_utc(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    assert not seconds or seconds_of(timestamp(seconds)) == seconds
