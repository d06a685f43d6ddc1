"""The event of AWS Lambda's event source mapping for SQS, and the messages in it.

Used by `leasekeeper.contrib.lambda_`. The shape is that of the Lambda developer guide, "Using Lambda with Amazon SQS".
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.core.delivery import Delivery, Lease
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import MessageAttribute, Received

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Attribute(msgspec.Struct, rename="camel", kw_only=True):
    data_type: str
    string_value: str | None = None
    binary_value: str | None = None


class Record(msgspec.Struct, rename="camel", kw_only=True):
    """One message of an event."""

    message_id: str
    receipt_handle: str
    body: str
    attributes: dict[str, str] = {}
    message_attributes: dict[str, _Attribute] = {}
    event_source: str
    event_source_arn: str = msgspec.field(name="eventSourceARN")

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return self.event_source_arn.rpartition(":")[2]

    def received(self) -> Received:
        """The message as a receive would have brought it."""
        return Received(
            message_id=self.message_id,
            receipt=self.receipt_handle,
            body=self.body,
            attributes={name: _attribute(each) for name, each in self.message_attributes.items()},
            system=self.attributes,
        )


def _attribute(found: _Attribute) -> MessageAttribute:
    binary = None if found.binary_value is None else base64.b64decode(found.binary_value)
    return MessageAttribute(data_type=found.data_type, string_value=found.string_value, binary_value=binary)


def records_of(event: Any) -> list[Record]:
    """The messages of an event.

    Raises:
        ConfigurationError: it is no event of an SQS event source mapping.
    """
    try:
        records = msgspec.convert(event["Records"], list[Record])
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"this event is not one of SQS ({error}): let an event source mapping of an SQS queue invoke the function"
        ) from None
    for record in records:
        if record.event_source != "aws:sqs":
            raise ConfigurationError(f"this event is of {record.event_source!r}: it must be of 'aws:sqs'")
    return records


def delivery_of(record: Record, seconds: float) -> Delivery:
    """The message as a row, with a lease of as many seconds as the invocation has left."""
    now = time.monotonic()
    received = record.received()
    lease = Lease(seconds, began=now, due=now + seconds, deadline=now + seconds)
    return Delivery(received, lease, requested_at=now, received_at=now)


def answer_for(failed: Mapping[str, object]) -> dict[str, list[dict[str, str]]]:
    """What Lambda wants to know: the ids of the messages that are not done."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
