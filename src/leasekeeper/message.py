"""The message: as SQS sent it (`Received`), and as a handler sees it (`Message`).

A `Received` belongs to the engine and never changes. A `Message` belongs to one run of one handler. The handler uses it
to settle early, to withhold the ack, and to check its lease.
"""

from __future__ import annotations

from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leasekeeper.outcomes import Settlement

T = TypeVar("T")
U = TypeVar("U")

MOST_RECEIVES = 1_000_000
"""The highest receive count that is believed."""
_DIGITS = 15
"""Digits of the longest number that is read: milliseconds until the year 33658."""


class MessageAttribute(msgspec.Struct, frozen=True, gc=False, rename="pascal", kw_only=True):
    """A user-defined attribute of a message: a value and its type (`String`, `Number` or `Binary`, with any suffix).

    `binary_value` is base64 decoded.
    """

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None

    @property
    def value(self) -> str | bytes:
        """The value by its data type: `bytes` for Binary types, else `str` (numbers too: SQS keeps their text)."""
        return (self.binary_value or b"") if self.data_type.startswith("Binary") else (self.string_value or "")


class _NoAttributes(dict[str, MessageAttribute]):
    """The attributes of all messages without any: a dictionary for each would take 64 bytes. It cannot be changed."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the attributes of a received message cannot be changed: make a copy with `dict()`")

    __setitem__ = setdefault = update = __ior__ = _refuse


NO_ATTRIBUTES = _NoAttributes()


class Received(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One message of a ReceiveMessage response, with the field names of the protocol."""

    message_id: str = msgspec.field(name="MessageId")
    receipt: str = msgspec.field(name="ReceiptHandle")
    body: str = msgspec.field(name="Body", default="")
    md5_of_body: str = msgspec.field(name="MD5OfBody", default="")
    md5_of_attributes: str = msgspec.field(name="MD5OfMessageAttributes", default="")
    system: dict[str, str] = msgspec.field(name="Attributes", default_factory=dict)
    attributes: dict[str, MessageAttribute] = msgspec.field(name="MessageAttributes", default=NO_ATTRIBUTES)

    @property
    def envelopes(self) -> tuple[Any, ...]:
        """The envelopes that were opened, the outermost first: none (`leasekeeper.envelopes.opening` has others)."""
        return ()

    @property
    def as_sent(self) -> Received:
        """The message as SQS sent it; itself, unless something was fetched for it (`leasekeeper.payload`)."""
        return self

    def renewed(self, newer: Received) -> Received:
        """This message, received again: what was fetched for it stays."""
        return newer

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
        return int(text) / 1000 if text.isdecimal() and len(text) <= _DIGITS else _from_iso(text)

    @property
    def first_received_at(self) -> float:
        """When the message was received for the first time: epoch seconds by SQS's clock; 0.0 when unknown."""
        text = self.system.get("ApproximateFirstReceiveTimestamp", "")
        return int(text) / 1000 if text.isdecimal() and len(text) <= _DIGITS else _from_iso(text)


def lags_of(messages: Sequence[Received], now: float) -> list[float]:
    """Seconds from sent until `now` (epoch) of those messages that were received for the first time."""
    try:
        lags = [
            now - float(system["SentTimestamp"]) / 1000
            for each in messages
            if (system := each.system)["ApproximateReceiveCount"] == "1"
        ]
        if not lags or (min(lags) >= 0.0 and sum(lags) < inf):
            return lags
    except (KeyError, ValueError):  # not every server writes both, as plain numbers
        pass
    return [max(0.0, now - each.sent_at) for each in messages if each.receive_count == 1 and each.sent_at]


class LeaseView(Protocol):
    """What a `Message` needs from the engine; the ledger's row implements it."""

    @property
    def attempt(self) -> int:
        """The number of this run of the message."""
        ...

    @property
    def lease_lost(self) -> bool:
        """Whether the lease ended while the handler was running."""
        ...

    @property
    def lease_capped(self) -> bool:
        """Whether the lease cannot be extended any further."""
        ...

    @property
    def lease_deadline(self) -> float:
        """When the lease ends, unless it is extended: seconds on the monotonic clock."""
        ...

    @property
    def waited(self) -> float:
        """Seconds from received to started."""
        ...

    @property
    def withheld(self) -> bool:
        """Whether the handler has called `message.withhold()`."""
        ...

    @property
    def retried(self) -> bool:
        """Whether the handler has given its message back with `message.retry()`."""
        ...

    def watch(self) -> Callable[[], Sequence[tuple[str, float]]]:
        """Note what happens to the lease from now on: `extended` or `lost`, and seconds since the handler's start.

        Call the result once, at the end: it gives what was noted, and no more is noted then.
        """
        ...

    def settle_early(self, *, retry_after: float | None) -> Settlement:
        """Ack (`None`) or retry now; raises `Closed` if the message is already settled."""
        ...

    def withhold(self) -> None:
        """Keep holding the message when the handler returns."""
        ...


class Message(Generic[T]):
    """A received message: the decoded body, the attributes, and control over the lease.

    Attributes:
        id: the message id that SQS assigned; the same at each delivery.
        body: the body, decoded to the annotation `T`.
        raw_body: the body as text, as it was sent.
        queue: the name of the queue that the message was received from.
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
        """The user-defined attributes by name, at most ten. `MessageAttribute.value` is the value of one.

        Attributes of opened envelopes are here too, those of an SNS notification and the trace of a CloudEvent; those
        that SQS sent win over these.
        """
        return self._received.attributes

    @property
    def envelopes(self) -> tuple[Any, ...]:
        """The envelopes that the option `envelope` opened, the outermost first; what each holds is as it was sent."""
        return self._received.envelopes

    @property
    def system(self) -> Mapping[str, str]:
        """The system attributes by their SQS names. Values are text; times are epoch milliseconds."""
        return self._received.system

    @property
    def receive_count(self) -> int:
        """How often the message has been received, including this time. SQS calls it approximate. 1 if unknown."""
        return self._received.receive_count

    @property
    def attempt(self) -> int:
        """The number of this run of the message, from 1, as far as this process knows.

        It is the receive count, without deliveries that were given back unrun and with runs again under one delivery.
        """
        return self._lease.attempt

    @property
    def sent_at(self) -> float:
        """When the message was sent: epoch seconds by the clock of SQS. 0.0 if unknown."""
        return self._received.sent_at

    @property
    def group_id(self) -> str | None:
        """The message group id: the order group on a FIFO queue, the tenant on a fair queue. None if it was not set."""
        return self._received.system.get("MessageGroupId")

    @property
    def sequence_number(self) -> int | None:
        """The message's place in a FIFO queue: grows within its group. None on a standard queue.

        SQS gives 20 digits. A store that keeps the last number of each group can refuse work that comes late.
        """
        text = self._received.system.get("SequenceNumber", "")
        return int(text) if text.isdecimal() and len(text) <= 50 else None

    @property
    def lease_lost(self) -> bool:
        """Whether the lease ended: another consumer may have the message, and what runs now may run twice."""
        return self._lease.lease_lost

    @property
    def lease_capped(self) -> bool:
        """Whether extensions have ended: SQS ends every lease 12 hours after the receive, at `lease_deadline`."""
        return self._lease.lease_capped

    @property
    def lease_deadline(self) -> float:
        """When the lease ends, unless it is extended again: seconds, comparable with `time.monotonic()`."""
        return self._lease.lease_deadline

    def ack(self) -> Settlement:
        """Delete the message now. What the handler does afterwards, even an exception, does not change that.

        Returns:
            A settlement, which tells whether SQS confirmed the delete: await it, or call `result()` in a thread.

        Raises:
            Closed: the message is already settled, or the consumer is closed.
        """
        return self._lease.settle_early(retry_after=None)

    def retry(self, after: float = 0.0) -> Settlement:
        """Return the message to the queue now. What the handler does afterwards does not change that.

        Args:
            after: seconds until the message can be received again, 0 to 43,200.

        Returns:
            A settlement, which tells whether SQS confirmed the release.

        Raises:
            Closed: the message is already settled, or the consumer is closed.
        """
        return self._lease.settle_early(retry_after=after)

    def withhold(self) -> None:
        """Keep the message when the handler returns, and extend its lease until `ack()` or `retry()` is called.

        The message still counts against `concurrency`. A stop waits for it as for a running handler.
        """
        self._lease.withhold()

    def with_body(self, body: U) -> Message[U]:
        """The same message with another body, and the same lease: to settle one settles the other."""
        return Message(self._received, body, queue=self.queue, lease=self._lease)

    def __repr__(self) -> str:
        return f"<Message {self.id} of {self.queue}, receive {self.receive_count}>"


def lease_of(message: Message[Any]) -> LeaseView:
    """The lease of a message, for our own middleware: it needs more of it than a handler does."""
    return message._lease  # noqa: SLF001 - of this module


def _from_iso(text: str) -> float:
    """Epoch seconds of a time as some local servers write it (ISO 8601); 0.0 for anything else."""
    try:
        return max(datetime.fromisoformat(text).timestamp(), 0.0)
    except (ValueError, OverflowError, OSError):
        return 0.0
