"""The message, as it came off the wire (`Received`) and as a handler sees it (`Message`).

A `Received` belongs to the engine and never changes. A `Message` belongs to one run of one handler; through it the
handler may settle early, withhold its ack, and learn that its lease is lost.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.outcomes import Settlement

T = TypeVar("T")

MOST_RECEIVES = 1_000_000
"""The highest receive count that is believed."""
_DIGITS = 15
"""Digits of the longest number that is read: milliseconds until the year 33658."""


class MessageAttribute(msgspec.Struct, frozen=True, gc=False, rename="pascal", kw_only=True):
    """One user-defined attribute of a message: a type (`String`, `Number`, `Binary`; a suffix may follow) and a value.

    `binary_value` holds what the wire carries, base64 decoded.
    """

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None

    @property
    def value(self) -> str | bytes:
        """The value by its data type: `bytes` for Binary types, else `str` (numbers too: SQS keeps their text)."""
        return (self.binary_value or b"") if self.data_type.startswith("Binary") else (self.string_value or "")


class Received(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One message of one ReceiveMessage answer, in the names of the wire."""

    message_id: str = msgspec.field(name="MessageId")
    receipt: str = msgspec.field(name="ReceiptHandle")
    body: str = msgspec.field(name="Body", default="")
    md5_of_body: str = msgspec.field(name="MD5OfBody", default="")
    md5_of_attributes: str = msgspec.field(name="MD5OfMessageAttributes", default="")
    system: dict[str, str] = msgspec.field(name="Attributes", default_factory=dict)
    attributes: dict[str, MessageAttribute] = msgspec.field(name="MessageAttributes", default_factory=dict)

    @property
    def receive_count(self) -> int:
        """How often the message has been received, this time included: 1 to `MOST_RECEIVES`; 1 when unknown."""
        text = self.system.get("ApproximateReceiveCount", "1")
        # Not every server writes a plain number, and a count decides how long a retry waits: it must be a sane one.
        return min(int(text), MOST_RECEIVES) or 1 if text.isdecimal() and len(text) <= _DIGITS else 1

    @property
    def sent_at(self) -> float:
        """When the message was sent: epoch seconds by SQS's clock; 0.0 when unknown. AWS writes milliseconds."""
        text = self.system.get("SentTimestamp", "")
        if text.isdecimal() and len(text) <= _DIGITS:
            return int(text) / 1000
        try:
            return max(datetime.fromisoformat(text).timestamp(), 0.0)  # as some local servers write it
        except (ValueError, OverflowError, OSError):
            return 0.0


class LeaseView(Protocol):
    """What a `Message` may ask and say of its lease; the engine's side of it is the ledger's row."""

    @property
    def lease_lost(self) -> bool:
        """Whether the lease ran out while the handler was at work."""
        ...

    @property
    def lease_capped(self) -> bool:
        """Whether the lease can be extended no more."""
        ...

    @property
    def lease_deadline(self) -> float:
        """When the lease ends unless it is extended: seconds on the monotonic clock."""
        ...

    def settle_early(self, *, retry_after: float | None) -> Settlement:
        """Ack (`None`) or retry now; raises `Closed` when settled already."""
        ...

    def withhold(self) -> None:
        """Leave the message in hand when the handler returns."""
        ...


class Message(Generic[T]):
    """What a handler receives: the decoded body, the attributes, and a say over the lease.

    Attributes:
        id: the message id SQS gave it; the same at each delivery.
        body: the body, decoded to the annotation `T`.
        raw_body: the body as text, as it was sent.
        queue: the name of the queue it was received from.
    """

    __slots__ = ("_lease", "_received", "body", "id", "queue", "raw_body")

    def __init__(self, received: Received, body: T, *, queue: str, lease: LeaseView) -> None:
        self._received = received
        self._lease = lease
        self.id = received.message_id
        self.body = body
        self.raw_body = received.body
        self.queue = queue

    @property
    def attributes(self) -> Mapping[str, MessageAttribute]:
        """The user-defined attributes, at most ten."""
        return self._received.attributes

    @property
    def system(self) -> Mapping[str, str]:
        """The system attributes, as SQS names them; values are text, times epoch milliseconds."""
        return self._received.system

    @property
    def receive_count(self) -> int:
        """How often the message has been received, this time included; SQS calls it approximate. 1 when unknown."""
        return self._received.receive_count

    @property
    def sent_at(self) -> float:
        """When the message was sent: epoch seconds, by SQS's clock. 0.0 when unknown."""
        return self._received.sent_at

    @property
    def group_id(self) -> str | None:
        """The message group id: FIFO ordering, or the tenant of a fair queue; None without one."""
        return self._received.system.get("MessageGroupId")

    @property
    def lease_lost(self) -> bool:
        """Whether the lease ran out: someone else may have the message, and what is done now may be done twice."""
        return self._lease.lease_lost

    @property
    def lease_capped(self) -> bool:
        """Whether the lease can be extended no more: SQS ends it 12 hours after the receive, at `lease_deadline`."""
        return self._lease.lease_capped

    @property
    def lease_deadline(self) -> float:
        """When the lease ends unless it is extended again: seconds, comparable with `time.monotonic()`."""
        return self._lease.lease_deadline

    def ack(self) -> Settlement:
        """Say now that the message is processed: it is deleted, whatever the handler does afterwards.

        Returns:
            A settlement that can be awaited, and asked from threads, for whether the delete was confirmed.

        Raises:
            Closed: it was settled already, or the consumer is closed.
        """
        return self._lease.settle_early(retry_after=None)

    def retry(self, after: float = 0.0) -> Settlement:
        """Say now that the message is to come again in `after` seconds (0 to 43,200), whatever the handler does next.

        Raises:
            Closed: it was settled already, or the consumer is closed.
        """
        return self._lease.settle_early(retry_after=after)

    def withhold(self) -> None:
        """Keep the message when the handler returns: its lease is kept until `ack()` or `retry()` is called.

        It goes on taking its place in `concurrency`, and at a stop it is waited for like a running handler.
        """
        self._lease.withhold()

    def __repr__(self) -> str:
        return f"<Message {self.id} of {self.queue}, receive {self.receive_count}>"
