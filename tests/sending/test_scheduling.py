"""Messages that are sent later, where it needs no scheduler; tests/conformance has the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leasekeeper.api import Outgoing, Response
from leasekeeper.errors import ConfigurationError, SqsError, Verdict
from leasekeeper.local import LocalSqs
from leasekeeper.message import MessageAttribute
from leasekeeper.payloads import S3Payloads
from leasekeeper.sending import Schedules, Sender
from leasekeeper.sending.outgoing import TargetQueue
from leasekeeper.sending.scheduler_client import _error_of
from leasekeeper.sending.scheduling import full_minute, request_of, schedule_name

ROLE = "arn:aws-cn:iam::123456789012:role/later"
AT = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)


def test_sqs_delays_by_itself_what_is_near_and_the_rest_is_refused_with_the_reason() -> None:
    with LocalSqs() as sqs:
        for name in ("q", "q.fifo"):
            attributes = {"FifoQueue": "true"} if name == "q.fifo" else {}
            sqs.call("CreateQueue", QueueName=name, Attributes=attributes)
        soon = datetime.now(UTC) + timedelta(seconds=600)
        with Sender("q", endpoint_url=sqs.endpoint_url, region="eu-west-1") as out:
            found = out.schedule("a", at=soon).result()
            assert (found.name, found.at) == ("", soon)
            out.schedule("b", at=datetime.now(UTC) - timedelta(days=1))
            with pytest.raises(ConfigurationError, match=r"900 seconds at most.*schedules=Schedules\(role=...\)"):
                out.schedule("c", at=datetime.now(UTC) + timedelta(seconds=1000))
            with pytest.raises(ConfigurationError, match="schedules=Schedules"):
                out.schedule("c", at=soon, name="a name needs the scheduler")
            with pytest.raises(ConfigurationError, match="no time zone"):
                out.schedule("c", at=datetime(2030, 1, 1))  # noqa: DTZ001
            with pytest.raises(ConfigurationError, match=r"for later, use sender.schedule"):
                out.send("c", delay=901)
        with (
            Sender("q.fifo", endpoint_url=sqs.endpoint_url, region="eu-west-1") as out,
            pytest.raises(ConfigurationError, match="on a FIFO queue not at all"),
        ):
            out.schedule("c", at=soon, group="g")
        shown = sqs.call("GetQueueAttributes", QueueUrl=f"{sqs.endpoint_url}/000000000000/q", AttributeNames=["All"])
    assert shown["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"
    assert shown["Attributes"]["ApproximateNumberOfMessages"] == "1"


def request(**message: Any) -> dict[str, Any]:
    return request_of(
        Schedules(role=ROLE, kms_key="k"), TargetQueue("q", fifo=False), Outgoing(**message), at=AT, token="t"
    )


def test_a_schedule_is_of_the_partition_of_its_role_and_encrypted_with_the_key() -> None:
    made = request(body="x")
    assert made["Target"]["Arn"] == "arn:aws-cn:scheduler:::aws-sdk:sqs:sendMessage"
    assert made["KmsKeyArn"] == "k"
    assert made["ScheduleExpression"] == "at(2030-01-02T03:04:00)"


def test_words_that_the_scheduler_would_replace_arrive_as_they_were_given() -> None:
    text = request(body="at <aws.scheduler.scheduled-time>")["Target"]["Input"]
    assert "<aws.scheduler." not in text
    assert json.loads(text)["MessageBody"] == "at <aws.scheduler.scheduled-time>"


def test_a_schedule_is_never_early_and_never_in_the_past() -> None:
    """The scheduler refuses what is past, and SQS sends nothing that has a name."""
    second = timedelta(seconds=1)
    assert full_minute(AT, AT - timedelta(days=1)) == AT
    assert full_minute(AT + second, AT - timedelta(days=1)) == AT + timedelta(minutes=1)
    assert full_minute(AT - timedelta(days=1), AT - 20 * second) == AT
    assert full_minute(AT - timedelta(days=1), AT - second) == AT + timedelta(minutes=1)


def test_what_a_schedule_cannot_send_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a schedule takes at most 262,144"):
        request(body="x" * 262_144)
    with pytest.raises(ConfigurationError, match="attribute a is of bytes"):
        request(body="x", attributes={"a": MessageAttribute(data_type="Binary", binary_value=b"x")})


def test_a_payload_that_goes_to_s3_is_refused() -> None:
    target = TargetQueue("q", fifo=False, payloads=S3Payloads("bucket"))
    large, _ = target.outgoing("x" * 2_000_000, group=None, delay=None, attributes=None, deduplication_id=None)
    with pytest.raises(ConfigurationError, match="a payload in S3 cannot be scheduled"):
        request_of(Schedules(role=ROLE), target, large, at=AT, token="t")


def test_names_are_those_of_the_scheduler_and_differ_by_queue() -> None:
    names = {schedule_name("q", "Ünfug/" * 20), schedule_name("r", "Ünfug/" * 20), schedule_name("q", None)}
    assert len(names) == 3
    assert all(len(name) <= 64 and name.isascii() and "/" not in name for name in names)
    assert schedule_name("q", "a") == schedule_name("q", "a")


@pytest.mark.parametrize(
    ("given", "sentence"), [({"role": "later"}, "ARN of a role"), ({"role": ROLE, "group": ""}, "64")]
)
def test_wrong_schedules_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Schedules(**given)


def test_a_scheduler_that_cannot_be_reached_is_said(closed_port: int) -> None:
    with LocalSqs() as sqs:
        sqs.call("CreateQueue", QueueName="q", Attributes={})
        schedules = Schedules(role=ROLE, endpoint_url=f"http://127.0.0.1:{closed_port}")
        with (
            Sender("q", endpoint_url=sqs.endpoint_url, region="eu-west-1", schedules=schedules) as out,
            pytest.raises(SqsError, match="CreateSchedule: ConnectError"),
        ):
            out.schedule("x", at=AT)


def test_a_refusal_has_its_code_in_a_header_or_in_the_body() -> None:
    for headers, body in (
        ({"x-amzn-errortype": "ValidationException:http://internal/"}, b'{"Message": "no such role"}'),
        ({}, b'{"__type": "com.amazonaws.scheduler#ValidationException", "message": "no such role"}'),
    ):
        error = _error_of("CreateSchedule", Response(400, headers.get, body))
        assert (error.code, error.message, error.verdict) == ("ValidationException", "no such role", Verdict.REFUSED)
    throttled = _error_of("CreateSchedule", Response(429, {"x-amzn-errortype": "ThrottlingException"}.get, b"{}"))
    assert throttled.verdict is Verdict.THROTTLED
    assert _error_of("CreateSchedule", Response(502, lambda _: None, b"<html>")).code == "HTTP502"
