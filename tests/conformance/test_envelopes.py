"""Envelopes from the services themselves: SNS, EventBridge and S3 of other servers send to a queue that we consume."""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from leasekeeper import Consumer, Message, Reject
from leasekeeper.api import Credentials
from leasekeeper.envelopes import EventBridgeEvent, S3Record, SnsNotification
from leasekeeper.step_functions import StepFunctions

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.observe.counts import WorkStatistics

several = pytest.mark.only("moto", "ministack")
PATIENCE = 60.0
KEYS = ["a+b c/é.txt", "red flower+(1).jpg"]


@dataclass
class Order:
    id: int


@pytest.fixture
def service(endpoint_url: str) -> Callable[[str], Any]:
    """A client of boto3 for another service of the server."""

    def make(name: str) -> Any:
        return boto3.client(
            name,
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    return make


@pytest.fixture
def topic(queue: Any, service: Callable[[str], Any]) -> tuple[Any, str, str]:
    """A client of SNS, a topic, and its subscription to the queue."""
    sns = service("sns")
    arn = sns.create_topic(Name=f"t-{uuid.uuid4().hex}")["TopicArn"]
    found = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue.arn, ReturnSubscriptionArn=True)
    return sns, arn, found["SubscriptionArn"]


def consume(
    queue: Any, handler: Callable[[Any], object], count: int, **options: Any
) -> tuple[list[Any], WorkStatistics]:
    """What the handler returned for the first `count` calls, and how the work ended."""
    seen: list[Any] = []
    enough = threading.Event()

    def handle(argument: Any) -> None:
        seen.append(handler(argument))
        if len(seen) >= count:
            enough.set()

    handle.__annotations__["argument"] = handler.__annotations__["argument"]
    consumer = Consumer(queue.url, handle, max_pollers=1, poll_grace=0.1, ack_interval=0.1, **options)
    consumer.start()
    try:
        assert enough.wait(PATIENCE), f"{len(seen)} seen: {consumer}"
    finally:
        consumer.stop()
    found = consumer.statistics()
    assert found is not None
    assert queue.counts() == (0, 0, 0)
    return seen, found.work


def body(argument: Order) -> Any:
    return argument


def whole(argument: Message[Order]) -> Any:
    return argument


@several
@pytest.mark.always
@pytest.mark.parametrize("envelope", ["sns", "auto"])
def test_a_notification_of_sns(envelope: Any, queue: Any, topic: tuple[Any, str, str]) -> None:
    sns, arn, _ = topic
    attributes = {
        "tenant": {"DataType": "String", "StringValue": "ann"},
        "weight": {"DataType": "Number", "StringValue": "1.5"},
    }
    sns.publish(TopicArn=arn, Message='{"id": 7}', Subject="an order", MessageAttributes=attributes)
    [message], _ = consume(queue, whole, 1, envelope=envelope)
    assert message.body == Order(7)
    [notification] = message.envelopes
    assert isinstance(notification, SnsNotification)
    assert (notification.topic_arn, notification.subject) == (arn, "an order")
    assert {name: each.value for name, each in message.attributes.items()} == {"tenant": "ann", "weight": "1.5"}


@several
def test_raw_delivery_of_sns_needs_no_envelope(queue: Any, topic: tuple[Any, str, str]) -> None:
    sns, arn, subscription = topic
    attributes = {"tenant": {"DataType": "String", "StringValue": "ann"}}
    sns.publish(TopicArn=arn, Message='{"id": 1}', MessageAttributes=attributes)
    sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    sns.publish(TopicArn=arn, Message='{"id": 2}', MessageAttributes=attributes)
    messages, _ = consume(queue, whole, 2, envelope="auto")  # it takes both
    assert sorted((each.body.id, len(each.envelopes)) for each in messages) == [(1, 1), (2, 0)]
    assert [each.attributes["tenant"].value for each in messages] == ["ann", "ann"]


def event(argument: EventBridgeEvent[Order]) -> Any:
    assert argument.detail_type == "OrderPlaced"
    return argument.detail


@several
@pytest.mark.parametrize(("handler", "envelope"), [(event, None), (body, "eventbridge")], ids=["whole", "opened"])
def test_an_event_of_eventbridge(
    handler: Callable[[Any], Any], envelope: Any, queue: Any, service: Callable[[str], Any]
) -> None:
    events = service("events")
    source = f"shop.{uuid.uuid4().hex}"
    events.put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=source, Targets=[{"Id": "1", "Arn": queue.arn}])
    events.put_events(Entries=[{"Source": source, "DetailType": "OrderPlaced", "Detail": '{"id": 9}'}])
    assert consume(queue, handler, 1, envelope=envelope)[0] == [Order(9)]


def record(argument: S3Record) -> Any:
    return argument.key, argument.event_name


@several
@pytest.mark.differs("ministack", because="it does not encode keys in direct notifications")
def test_s3_tells_the_queue_itself(queue: Any, service: Callable[[str], Any]) -> None:
    s3, bucket = service("s3"), uuid.uuid4().hex
    s3.create_bucket(Bucket=bucket)
    to_queue = [{"QueueArn": queue.arn, "Events": ["s3:ObjectCreated:*"]}]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": to_queue})
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    seen, work = consume(queue, record, 2)
    assert sorted(seen) == [(key, "ObjectCreated:Put") for key in KEYS]
    assert (work.done, work.skipped) == (2, 1)  # the test event came first


@several
@pytest.mark.differs("ministack", because="it does not encode keys in notifications")
def test_s3_tells_the_queue_through_sns(queue: Any, topic: tuple[Any, str, str], service: Callable[[str], Any]) -> None:
    s3, bucket = service("s3"), uuid.uuid4().hex
    s3.create_bucket(Bucket=bucket)
    to_topic = [{"TopicArn": topic[1], "Events": ["s3:ObjectCreated:*"]}]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"TopicConfigurations": to_topic})
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    seen, _ = consume(queue, record, 2, envelope="sns")
    assert sorted(key for key, _ in seen) == KEYS


@several
def test_s3_tells_the_queue_through_eventbridge(queue: Any, service: Callable[[str], Any]) -> None:
    s3, events, bucket = service("s3"), service("events"), uuid.uuid4().hex
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=bucket, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=bucket, Targets=[{"Id": "1", "Arn": queue.arn}])
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    seen, _ = consume(queue, record, 2, envelope="eventbridge")
    assert sorted(key for key, _ in seen) == KEYS


@pytest.mark.only("ministack")
def test_a_state_machine_waits_for_the_result(queue: Any, endpoint_url: str, service: Callable[[str], Any]) -> None:
    """It sends a task token; what the handler returns is the output of one execution, its rejection fails the other."""
    machines, name = service("stepfunctions"), f"m-{uuid.uuid4().hex}"
    message = {"TaskToken.$": "$$.Task.Token", "Input.$": "$", "HeartbeatSeconds": 60}
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "HeartbeatSeconds": 60,
        "Parameters": {"QueueUrl": queue.url, "MessageBody": message},
        "End": True,
    }
    machine = machines.create_state_machine(
        name=name,
        definition=json.dumps({"StartAt": "Ship", "States": {"Ship": state}}),
        roleArn="arn:aws:iam::123456789012:role/states",
    )["stateMachineArn"]
    runs = {
        number: machines.start_execution(stateMachineArn=machine, input=json.dumps({"id": number}))["executionArn"]
        for number in (7, 8)
    }

    def ship(argument: Order) -> Any:
        if argument.id == 8:
            raise Reject("no such order")
        return {"shipped": argument.id}

    tasks = StepFunctions(
        endpoint_url=endpoint_url,
        region="us-east-1",
        credentials=Credentials(access_key="test", secret_key="test"),
    )
    handled = threading.Semaphore(0)

    def handle(order: Order) -> Any:
        handled.release()
        return ship(order)

    consumer = Consumer(queue.url, handle, envelope=tasks, max_pollers=1, poll_grace=0.1, ack_interval=0.1)
    consumer.start()
    for _ in runs:
        assert handled.acquire(timeout=PATIENCE)
    consumer.stop()
    assert queue.counts() == (0, 0, 0)
    ends = {number: machines.describe_execution(executionArn=arn) for number, arn in runs.items()}
    assert (ends[7]["status"], json.loads(ends[7]["output"])) == ("SUCCEEDED", {"shipped": 7})
    assert ends[8]["status"] == "FAILED"
