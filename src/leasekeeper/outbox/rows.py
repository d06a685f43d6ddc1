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

if TYPE_CHECKING:
    from leasekeeper.api import Outgoing
    from leasekeeper.sending.outgoing import Target


class Row(NamedTuple):
    """A row that this relay has locked."""

    id: int
    group: str | None
    deduplication_id: str
    body: str
    attributes: str
    """JSON."""
    attempts: int


class Ready(NamedTuple):
    """A row whose message can be sent."""

    row: Row
    outgoing: Outgoing
    size: int
    """Bytes as SQS counts them."""


def message_of(row: Row, target: Target) -> Ready:
    """The message of a row.

    Raises:
        ConfigurationError: SQS would refuse it.
    """
    outgoing, size = target.outgoing(
        row.body,
        group=row.group,
        delay=None,
        attributes=_attributes(row.attributes),
        deduplication_id=row.deduplication_id if target.fifo else None,
    )
    return Ready(row, outgoing, size)


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
