"""Schedules of a sender, with moto's EventBridge Scheduler; it keeps them and does not run them."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from leasekeeper import Sender
from leasekeeper.api import Credentials
from leasekeeper.sending import Schedules

KEYS = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "eu-west-1"}
ROLE = "arn:aws:iam::123456789012:role/later"


@pytest.fixture
def scheduler(endpoint_url: str) -> Any:
    return boto3.client("scheduler", endpoint_url=endpoint_url, **KEYS)


def sender(endpoint_url: str, name: str, **schedules: Any) -> Sender:
    return Sender(
        name,
        endpoint_url=endpoint_url,
        region="eu-west-1",
        credentials=Credentials(access_key="k", secret_key="s"),
        schedules=Schedules(role=ROLE, endpoint_url=endpoint_url, **schedules),
    )


def queue(endpoint_url: str, suffix: str = "") -> str:
    name = f"later-{uuid.uuid4().hex[:8]}{suffix}"
    client = boto3.client("sqs", endpoint_url=endpoint_url, **KEYS)
    client.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if suffix else {})
    return name


@pytest.mark.only("moto")
@pytest.mark.always
def test_a_message_for_later_is_a_schedule_that_sends_it_once(endpoint_url: str, scheduler: Any) -> None:
    name = queue(endpoint_url, ".fifo")
    at = datetime.now(UTC) + timedelta(days=3, seconds=1)

    async def story() -> Any:
        async with sender(endpoint_url, name) as out:
            first = await out.schedule({"id": 7}, at=at, name="reminder 7", group="g", attributes={"kind": "reminder"})
            again = await out.schedule({"id": 7}, at=at, name="reminder 7", group="g")
            other = await out.schedule({"id": 8}, at=at, group="g")
            return first, again, other

    first, again, other = asyncio.run(story())
    assert first.name == again.name
    assert first.name.startswith("reminder-7-")
    assert (first.created, again.created, other.created) == (True, False, True)
    assert (first.at.second, at <= first.at < at + timedelta(minutes=1)) == (0, True)
    found = scheduler.get_schedule(Name=first.name)
    assert found["ScheduleExpression"] == f"at({first.at:%Y-%m-%dT%H:%M:00})"
    assert (found["ActionAfterCompletion"], found["FlexibleTimeWindow"]) == ("DELETE", {"Mode": "OFF"})
    assert found["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"
    assert found["Target"]["RoleArn"] == ROLE
    message = json.loads(found["Target"]["Input"])
    assert message["QueueUrl"].endswith(f"/{name}")
    assert message.pop("MessageDeduplicationId")
    assert message | {"QueueUrl": ""} == {
        "QueueUrl": "",
        "MessageBody": '{"id":7}',
        "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "reminder"}},
        "MessageGroupId": "g",
    }


@pytest.mark.only("moto")
def test_a_scheduled_message_can_be_taken_back(endpoint_url: str, scheduler: Any) -> None:
    with sender(endpoint_url, queue(endpoint_url)) as out:
        made = out.schedule("x", at=datetime.now(UTC) + timedelta(minutes=1), name="soon").result()
        assert made.created, "with a name also what SQS could delay"
        assert out.unschedule("soon").result()
        assert not out.unschedule("soon").result()
    assert not [each for each in scheduler.list_schedules()["Schedules"] if each["Name"] == made.name]
