"""A row of the outbox, and the message that it means.

Used by the relay. It promises that a row which any driver has written is either a message that SQS takes, or is refused
with the reason.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from leasekeeper.errors import ConfigurationError
from leasekeeper.message import MessageAttribute
from leasekeeper.payloads.pointers import MARKERS
from leasekeeper.payloads.writing import OutgoingPointer

if TYPE_CHECKING:
    from leasekeeper.api import Outgoing
    from leasekeeper.sending.outgoing import TargetQueue


class Row(NamedTuple):
    """A row that this relay has locked."""

    id: int
    group: str | None
    deduplication_id: str
    body: str | None
    """None: it is larger than any message, and was left in the table."""
    attributes: str
    """JSON."""
    attempts: int
    size: int
    """Bytes of the body."""


class Ready(NamedTuple):
    """A row whose message can be sent."""

    row: Row
    outgoing: Outgoing
    size: int
    """Bytes as SQS counts them."""


def message_of(row: Row, target: TargetQueue) -> Ready | None:
    """The message of a row; None: its payload has to go to S3 first.

    Raises:
        ConfigurationError: SQS would refuse it.
    """
    attributes = _attributes(row.attributes)
    if target.payloads is not None and _points(attributes):
        target = target.without_payloads()
    if row.body is None:
        if target.payloads is not None:
            return None
        raise ConfigurationError(
            f"queue {target.name}: the body has {row.size:,} bytes, and the queue takes at most {target.most_bytes:,}: "
            "an Outbox with payloads=S3Payloads('bucket') keeps larger ones in S3"
        )
    outgoing, size = _outgoing(row, row.body, target, attributes)
    return None if isinstance(outgoing, OutgoingPointer) else Ready(row, outgoing, size)


def pointer_of(row: Row, body: str, target: TargetQueue, name: str) -> OutgoingPointer | None:
    """The message that points to the payload of a row, under that name; None: it can be sent as it is by now.

    Raises:
        ConfigurationError: SQS would refuse it.
    """
    attributes = _attributes(row.attributes)
    if _points(attributes):
        return None
    outgoing, _ = _outgoing(row, body, target, attributes)
    if target.payloads is None or not isinstance(outgoing, OutgoingPointer):
        return None
    return outgoing.renamed(target.payloads, name)


def _points(attributes: dict[str, Any]) -> bool:
    """Whether it points to its payload already."""
    return any(marker in attributes for marker in MARKERS.values())


def _outgoing(row: Row, body: str, target: TargetQueue, attributes: dict[str, Any]) -> tuple[Outgoing, int]:
    return target.outgoing(
        body,
        group=row.group,
        delay=None,
        attributes=attributes,
        deduplication_id=row.deduplication_id if target.fifo else None,
    )


def _attributes(text: str) -> dict[str, Any]:
    given = json.loads(text)
    if not isinstance(given, dict):
        raise ConfigurationError("the column attributes is no JSON object")
    return {name: _attribute(name, value) for name, value in given.items()}


def _attribute(name: str, value: Any) -> Any:
    """Text and numbers may stand for themselves."""
    if not isinstance(value, dict):
        return value
    kind, text = value.get("type"), value.get("value")
    if not isinstance(kind, str) or not isinstance(text, str):
        raise ConfigurationError(f"attribute {name} needs a type and a value, both text, in the column attributes")
    if not kind.startswith("Binary"):
        return MessageAttribute(data_type=kind, string_value=text)
    try:
        return MessageAttribute(data_type=kind, binary_value=base64.b64decode(text, validate=True))
    except ValueError as error:  # binascii.Error is one; letters beyond ASCII are another
        raise ConfigurationError(f"attribute {name}: the value is not base64 ({error})") from None
