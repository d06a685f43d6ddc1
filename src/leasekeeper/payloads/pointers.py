"""Pointers: the bodies of messages with a payload in S3, as the extended clients of AWS write them.

The body is a JSON array of a class name of Java and an object. A number attribute marks such messages and states the
bytes of the payload. There are two pairs of names: those of the present clients, and those of the first (`legacy`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from leasekeeper.envelopes.opening import NotThisEnvelope
from leasekeeper.envelopes.sns import read_sns
from leasekeeper.message import MessageAttribute
from leasekeeper.outcomes import Reject
from leasekeeper.payload import Offloaded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.message import Received

PointerName = Literal["extended", "legacy"]
CLASSES: dict[PointerName, str] = {
    "extended": "software.amazon.payloadoffloading.PayloadS3Pointer",
    "legacy": "com.amazon.sqs.javamessaging.MessageS3Pointer",
}
"""What the first member of the array is."""
MARKERS: dict[PointerName, str] = {"extended": "ExtendedPayloadSize", "legacy": "SQSLargePayloadSize"}
"""The attribute that marks a message and states the bytes of its payload."""
_LARGEST = 4_096
"""Characters of a pointer, at most: a bucket has 63 characters, a key 1,024 bytes."""


class Pointer(NamedTuple):
    """Where the payload of a message is."""

    bucket: str
    key: str
    size: int | None
    """Bytes, as the message states them."""
    in_sns: bool = False
    """Whether the pointer is in a notification of SNS, which is around the payload."""


class _Place(msgspec.Struct):
    bucket: str = msgspec.field(name="s3BucketName")
    key: str = msgspec.field(name="s3Key")


_pair = msgspec.json.Decoder(tuple[str, _Place])


def find_pointer(received: Received) -> Pointer | None:
    """The pointer in a message; None if its body is its payload.

    Raises:
        Reject: it is marked as a message with a pointer, and has none.
    """
    for marker in MARKERS.values():
        if marker in received.attributes:
            place = _place_in(received.body)
            if place is None:
                raise Reject(f"it has the attribute {marker}, and its body is no pointer to an object in S3")
            return Pointer(place.bucket, place.key, _size(received.attributes[marker].string_value))
    body = received.body
    if any(name in body for name in CLASSES.values()) and body.lstrip()[:1] == "{":
        return _in_sns(body)
    return None


def _in_sns(body: str) -> Pointer | None:
    try:
        notification = read_sns(body)
    except NotThisEnvelope:
        return None
    for marker in MARKERS.values():
        if marker in notification.message_attributes and (place := _place_in(notification.message)) is not None:
            size = _size(str(notification.message_attributes[marker].value))
            return Pointer(place.bucket, place.key, size, in_sns=True)
    return None


def _place_in(body: str) -> _Place | None:
    if len(body) > _LARGEST:
        return None
    try:
        name, place = _pair.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return place if name in CLASSES.values() and place.bucket and place.key else None


def _size(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) <= 15 else None


def body_with(received: Received, pointer: Pointer, payload: str) -> str:
    """The body of the message with the payload in place of the pointer."""
    if not pointer.in_sns:
        return payload
    notification: dict[str, Any] = json.loads(received.body)
    notification["Message"] = payload
    return json.dumps(notification)


def without_marker(attributes: Mapping[str, MessageAttribute]) -> dict[str, MessageAttribute]:
    """The attributes that the sender of the message gave it."""
    return {name: value for name, value in attributes.items() if name not in MARKERS.values()}


def offloaded(sent: Received, pointer: Pointer, body: str) -> Offloaded:
    """The message with its payload."""
    return Offloaded(
        message_id=sent.message_id,
        receipt=sent.receipt,
        body=body,
        system=sent.system,
        attributes=without_marker(sent.attributes),
        sent=sent,
        bucket=pointer.bucket,
        key=pointer.key,
    )


def write_pointer(name: PointerName, bucket: str, key: str) -> str:
    """The body of a message with that payload."""
    return json.dumps([CLASSES[name], {"s3BucketName": bucket, "s3Key": key}], separators=(",", ":"))


def marker_for(name: PointerName, size: int) -> dict[str, MessageAttribute]:
    """The attribute that marks a message with a payload of that many bytes."""
    return {MARKERS[name]: MessageAttribute(data_type="Number", string_value=str(size))}
