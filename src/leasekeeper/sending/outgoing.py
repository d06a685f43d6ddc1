"""What a caller gives to a sender, made into a message that SQS takes, or refused with the reason.

Used by senders and outboxes, in the caller's thread. What passes here is not refused by SQS for its form or its size.
"""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.api import MAX_BYTES, MOST_ATTRIBUTES, Outgoing
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import MessageAttribute
from leasekeeper.sending.tracing import with_trace
from leasekeeper.sizes import check_text, size_of
from leasekeeper.texts import safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from leasekeeper.payloads.settings import S3Payloads

    AttributeValue = str | int | float | bytes | MessageAttribute

LONGEST_DELAY = 900
"""Seconds that SQS can delay a message."""
LONGEST_ID = 128
"""Characters of a group id or deduplication id."""

_NO_SYSTEM: Mapping[str, str] = {}
_encode = msgspec.json.Encoder().encode


class TargetQueue:
    """The queue that messages go to, as far as it matters for their form.

    Attributes:
        name: the queue's name.
        fifo: whether it is a FIFO queue.
        content_based: whether it makes deduplication ids from bodies.
        most_bytes: bytes of its largest message.
        payloads: where payloads go that are too large for it; None: they are refused.
        url: its URL; empty until it is known.
        trace: gives the span whose context messages carry; None: they carry none.
    """

    def __init__(
        self,
        name: str,
        *,
        fifo: bool,
        content_based: bool = False,
        most_bytes: int = MAX_BYTES,
        payloads: S3Payloads | None = None,
    ) -> None:
        self.name = name
        self.url = ""
        self.trace: Callable[[], Any] | None = None
        self.fifo = fifo
        self.content_based = content_based
        self.most_bytes = most_bytes
        self.payloads = payloads
        self._limit: float = most_bytes
        """Bytes of a message above which its payload goes elsewhere, or it is refused."""
        if payloads is not None:
            from leasekeeper.payloads.writing import threshold

            self._limit = threshold(payloads, most_bytes)

    def outgoing(
        self,
        body: Any,
        *,
        group: str | None,
        delay: int | None,
        attributes: Mapping[str, AttributeValue] | None,
        deduplication_id: str | None,
    ) -> tuple[Outgoing, int]:
        """The message, and its size in bytes.

        Raises:
            ConfigurationError: SQS would refuse it; the sentence says why.
        """
        text = body if isinstance(body, str) else encoded(body)
        if not text:
            raise ConfigurationError(f"queue {self.name}: the body is empty: SQS takes no empty message")
        check_text(text, f"queue {self.name}: the body")
        self._check_order(group, delay, deduplication_id)
        given = {} if not attributes else self._attributes(attributes)
        size = size_of(text, given)
        system: Mapping[str, str] = _NO_SYSTEM
        if self.trace is not None:
            bounds = (MOST_ATTRIBUTES, self.most_bytes) if self.payloads is None else (MOST_ATTRIBUTES - 1, math.inf)
            given, system, size = with_trace(self.trace(), given, size, *bounds)
        if self.fifo and deduplication_id is None and not self.content_based:
            deduplication_id = uuid.uuid4().hex  # made once: a call that is made again cannot make a second message
        message = Outgoing(
            body=text,
            delay=delay,
            attributes=given,
            system=system,
            group_id=group,
            deduplication_id=deduplication_id,
        )
        return (message, size) if size <= self._limit else self._pointing(message, size)

    def without_payloads(self) -> TargetQueue:
        """The same queue, for messages whose payloads are stored already."""
        return TargetQueue(self.name, fifo=self.fifo, content_based=self.content_based, most_bytes=self.most_bytes)

    def _pointing(self, message: Outgoing, size: int) -> tuple[Outgoing, int]:
        if self.payloads is None:
            raise ConfigurationError(
                f"queue {self.name}: the message has {size:,} bytes with its attributes, and the queue takes at most "
                f"{self.most_bytes:,}: a Sender or an Outbox with payloads=S3Payloads('bucket') keeps larger ones in S3"
            )
        from leasekeeper.payloads.writing import pointing

        made = pointing(message, self.payloads, self.name, content_based=self.fifo and self.content_based)
        return made, size_of(made.body, made.attributes)

    def _check_order(self, group: str | None, delay: int | None, deduplication_id: str | None) -> None:
        if self.fifo and group is None:
            raise ConfigurationError(f"queue {self.name} is FIFO: give group=, the messages that keep their order")
        if self.fifo and delay is not None:
            raise ConfigurationError(
                f"queue {self.name}: delay={delay!r} on a FIFO queue: SQS delays no single message there; set the "
                "queue's DelaySeconds, or leave it out"
            )
        if not self.fifo and deduplication_id is not None:
            raise ConfigurationError(
                f"queue {self.name}: deduplication_id={deduplication_id!r} on a standard queue, which knows none: use "
                "a FIFO queue, or leave it out"
            )
        for name, text in (("group", group), ("deduplication_id", deduplication_id)):
            if text is not None and not (0 < len(text) <= LONGEST_ID and text.isascii() and text.isprintable()):
                raise ConfigurationError(
                    f"queue {self.name}: {name}={text[:LONGEST_ID]!r}: must have 1 to {LONGEST_ID} printable "
                    "characters of ASCII"
                )
        if delay is not None and not 0 <= delay <= LONGEST_DELAY:
            raise ConfigurationError(
                f"queue {self.name}: delay={delay!r}: must be 0 to {LONGEST_DELAY} seconds, which is the most that SQS "
                "delays a message: for later, use sender.schedule(..., at=...) or an outbox"
            )

    def _attributes(self, given: Mapping[str, AttributeValue]) -> dict[str, MessageAttribute]:
        if len(given) > MOST_ATTRIBUTES:
            raise ConfigurationError(
                f"queue {self.name}: {len(given)} attributes, and SQS takes at most {MOST_ATTRIBUTES}: put the others "
                "into the body"
            )
        return {name: self._attribute(name, value) for name, value in given.items()}

    def _attribute(self, name: str, value: AttributeValue) -> MessageAttribute:
        if isinstance(value, MessageAttribute):
            made = value
        elif isinstance(value, str):
            made = MessageAttribute(data_type="String", string_value=value)
        elif isinstance(value, bytes):
            made = MessageAttribute(data_type="Binary", binary_value=value)
        elif type(value) in (int, float):  # not a bool
            made = MessageAttribute(data_type="Number", string_value=repr(value))
        else:
            raise ConfigurationError(
                f"queue {self.name}: attribute {name} is of type {type(value).__name__}: give text, a number or bytes"
            )
        if not made.value:
            raise ConfigurationError(f"queue {self.name}: attribute {name} is empty, which SQS refuses: leave it out")
        if isinstance(made.value, str):
            check_text(made.value, f"queue {self.name}: attribute {name}")
        return made


def encoded(body: Any) -> str:
    """A body as JSON; text stays as it is.

    Raises:
        ConfigurationError: it cannot be written as JSON.
    """
    dump = getattr(body, "model_dump_json", None)
    if dump is not None:  # a model of pydantic
        return str(dump())
    if isinstance(body, bytes):
        raise ConfigurationError("the body is of type bytes, and SQS takes text: decode it, or encode it in base64")
    try:
        return _encode(body).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigurationError(
            f"the body {safe_repr(body)[:80]} cannot be written as JSON ({error}): give text, or what msgspec or "
            "pydantic can write"
        ) from error
