"""Writing: a message that is too large becomes an object in S3 and a message that points to it.

Used by senders and by the command line. The object is stored before the message is sent, so that no message points to
nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from leasekeeper.api import MAX_BYTES, MOST_ATTRIBUTES, Outgoing
from leasekeeper.errors import ConfigurationError
from leasekeeper.payloads.pointers import marker_for, write_pointer
from leasekeeper.sizes import size_of

if TYPE_CHECKING:
    from leasekeeper.payloads.api import ObjectStore
    from leasekeeper.payloads.settings import S3Payloads

MARGIN = 16_384
"""Bytes that are left free in a message below the queue's limit, for attributes that others add on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPointer(Outgoing):
    """A message that points to its payload.

    Attributes:
        bucket: where the payload goes.
        key: of the object.
        data: the payload.
    """

    bucket: str
    key: str
    data: bytes

    async def store(self, store: ObjectStore) -> None:
        """Store the payload; doing it again changes nothing.

        Raises:
            PayloadUnavailable: it cannot be stored.
        """
        await store.put(self.bucket, self.key, self.data, sha256=sha256(self.data).hexdigest())

    def renamed(self, payloads: S3Payloads, name: str) -> OutgoingPointer:
        """The same with another name for the object."""
        key = payloads.prefix + name
        return replace(self, key=key, body=write_pointer(payloads.pointer, self.bucket, key))


def threshold(payloads: S3Payloads, most_bytes: int) -> int:
    """Bytes of a message above which its payload goes to S3."""
    usual = min(most_bytes, MAX_BYTES) - MARGIN
    return max(0, usual) if payloads.above is None else min(payloads.above, most_bytes)


def pointing(message: Outgoing, payloads: S3Payloads, queue: str, *, content_based: bool = False) -> OutgoingPointer:
    """The message that points to the payload of this one.

    Args:
        message: too large.
        payloads: where it goes.
        queue: the queue's name, for the error.
        content_based: whether the queue makes deduplication ids from bodies. The payload's is taken then, because each
            pointer is another body.

    Raises:
        ConfigurationError: it has too many attributes, or too large ones.
    """
    if len(message.attributes) >= MOST_ATTRIBUTES:
        raise ConfigurationError(
            f"queue {queue}: {len(message.attributes)} attributes, and a message with its payload in S3 has room for "
            f"{MOST_ATTRIBUTES - 1}: one more states the payload's size; put the others into the body"
        )
    data = message.body.encode()
    key = f"{payloads.prefix}{uuid.uuid4()}"
    body = write_pointer(payloads.pointer, payloads.bucket, key)
    attributes = {**message.attributes, **marker_for(payloads.pointer, len(data))}
    given = {field.name: getattr(message, field.name) for field in fields(message)}
    if message.deduplication_id is None and content_based:
        given["deduplication_id"] = sha256(data).hexdigest()
    given |= {"body": body, "attributes": attributes}
    made = OutgoingPointer(**given, bucket=payloads.bucket, key=key, data=data)
    if (size := size_of(body, attributes)) > MAX_BYTES:
        raise ConfigurationError(
            f"queue {queue}: the attributes of the message have {size:,} bytes, and SQS takes at most {MAX_BYTES:,}: "
            "put them into the body, which goes to S3"
        )
    return made
