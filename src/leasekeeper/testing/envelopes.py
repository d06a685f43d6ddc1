"""Envelopes for tests: bodies as SNS, EventBridge, S3, CloudEvents and Step Functions make them, and Lambda's event.

Used by users' tests, together with `run_handler`, a trial or `leasekeeper.contrib.lambda_`. Each has every field that
the service sends; the fixed values are those of recorded messages.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from leasekeeper.testing.handling import body_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACCOUNT = "111122223333"
REGION = "eu-west-1"
TIME = "2026-05-02T00:54:06Z"


def sns(
    payload: object,
    *,
    topic: str = "orders",
    subject: str | None = None,
    attributes: Mapping[str, str | bytes] | None = None,
) -> str:
    """The body of a message that an SNS topic delivers, without raw message delivery.

    Args:
        payload: text, or what is written as JSON.
        topic: the topic's name.
        subject: of the notification.
        attributes: attributes of the notification.
    """
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"
    sent: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": arn,
        "Message": body_text(payload),
        "Timestamp": "2026-05-02T00:54:06.655Z",
        "SignatureVersion": "1",
        "Signature": "RVhBTVBMRQ==",
        "SigningCertURL": f"https://sns.{REGION}.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233f.pem",
        "UnsubscribeURL": f"https://sns.{REGION}.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={arn}:c9135db0",
    }
    if subject is not None:
        sent["Subject"] = subject
    if attributes:
        sent["MessageAttributes"] = {name: _sns_attribute(value) for name, value in attributes.items()}
    return json.dumps(sent)


def _sns_attribute(value: str | bytes) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"Type": "Binary", "Value": base64.b64encode(value).decode()}
    return {"Type": "String", "Value": value}


def eventbridge(detail: object, *, detail_type: str = "OrderPlaced", source: str = "com.example.shop") -> str:
    """The body of a message that a rule of EventBridge sends."""
    return json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": TIME,
            "region": REGION,
            "resources": [],
            "detail": json.loads(body_text(detail)),
        }
    )


def s3(*keys: str, bucket: str = "shop-uploads", event: str = "ObjectCreated:Put", size: int = 9) -> str:
    """The body of an event notification of S3, with a record for each key."""
    return json.dumps({"Records": [_s3_record(key, bucket, event, size) for key in keys]})


def _s3_record(key: str, bucket: str, event: str, size: int) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-05-02T00:54:06.655Z",
        "eventName": event,
        "userIdentity": {"principalId": "AWS:AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "203.0.113.7"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "uploads",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {
                "key": quote_plus(key, safe="/"),
                "size": size,
                "eTag": "437b930db84b8079c2dd804a71936b5f",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }


def s3_test_event(*, bucket: str = "shop-uploads") -> str:
    """The body of the message that S3 sends when a notification is configured; it has no records."""
    return json.dumps(
        {
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": "2026-05-02T00:54:06.655Z",
            "Bucket": bucket,
            "RequestId": "5582815E1AEA5ADF",
            "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
        }
    )


def cloudevent(data: object, *, type: str = "com.example.order.placed", source: str = "/shop/orders") -> str:  # noqa: A002 - the name of the field
    """The body of a CloudEvent in its JSON format."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": "A234-1234-1234",
            "source": source,
            "type": type,
            "time": TIME,
            "datacontenttype": "application/json",
            "data": json.loads(body_text(data)),
        }
    )


def step_functions_task(payload: object, *, token: str = "AAAAKgAAAAIAAAAAAAAAAexample", heartbeat: int = 60) -> str:  # noqa: S107 - an example
    """The body of a task with a token, as `leasekeeper.step_functions` suggests it for a state machine."""
    return json.dumps({"TaskToken": token, "Input": json.loads(body_text(payload)), "HeartbeatSeconds": heartbeat})


def lambda_event(
    *bodies: object,
    queue: str = "orders",
    attributes: Mapping[str, str | bytes] | None = None,
    groups: Sequence[str] = (),
    receive_count: int = 1,
) -> dict[str, Any]:
    """The event with which an event source mapping of SQS invokes a function of AWS Lambda.

    Args:
        bodies: text, or what is written as JSON; one for each message. Their ids are `message-0` and so on.
        queue: the queue's name.
        attributes: message attributes of each.
        groups: on a FIFO queue, the message group of each; by default they are all of `g`.
        receive_count: how often each has been received.
    """
    names = list(groups) or ["g"] * len(bodies)
    records = [_record(number, body, queue, receive_count) for number, body in enumerate(bodies)]
    for record, group in zip(records, names, strict=True):
        record["messageAttributes"] = {name: _lambda_attribute(value) for name, value in (attributes or {}).items()}
        if queue.endswith(".fifo"):
            record["attributes"]["MessageGroupId"] = group
    return {"Records": records}


def _record(number: int, body: object, queue: str, receive_count: int) -> dict[str, Any]:
    system = {
        "ApproximateReceiveCount": str(receive_count),
        "SentTimestamp": "1573251510774",
        "SenderId": "AIDAIO23YVJENQZJOL4VO",
        "ApproximateFirstReceiveTimestamp": "1573251510774",
    }
    if queue.endswith(".fifo"):
        system |= {
            "SequenceNumber": str(18849496460467696128 + 256 * number),
            "MessageDeduplicationId": str(number),
        }
    return {
        "messageId": f"message-{number}",
        "receiptHandle": f"receipt-{number}",
        "body": body_text(body),
        "attributes": system,
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
        "awsRegion": REGION,
    }


def _lambda_attribute(value: str | bytes) -> dict[str, Any]:
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    if isinstance(value, bytes):
        return {"binaryValue": base64.b64encode(value).decode(), "dataType": "Binary", **lists}
    return {"stringValue": value, "dataType": "String", **lists}
