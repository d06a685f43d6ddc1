"""A message as a queue stores it, and as a receive returns it.

Owned by exactly one queue at a time. It promises a receipt that names its queue, its message and its receive. There is
no table of receipts, so old receipts cost nothing.
"""

from __future__ import annotations

import re
from enum import Enum
from math import inf
from typing import Any, NamedTuple

import msgspec

from leasekeeper.local.model.content import Content, md5_of_attributes

_RECEIPT = re.compile(r"AQEB([0-9a-f]{12})-([0-9]{1,18})-([0-9]{1,18})")


class Place(Enum):
    """Where a message is."""

    VISIBLE = "visible"
    IN_FLIGHT = "in flight"
    DELAYED = "delayed"
    GONE = "gone"


def read_receipt(handle: str) -> tuple[str, int, int] | None:
    """The queue's receipt tag, the message's number and the number of the receive; None for other text."""
    match = _RECEIPT.fullmatch(handle)
    if match is None:
        return None
    receipt_tag, number, receive = match.groups()
    return receipt_tag, int(number), int(receive)


class Stored(msgspec.Struct, eq=False, gc=False):
    """One message in one queue.

    Attributes:
        number: counts the messages of the queue; a smaller number arrived earlier.
        content: body and attributes.
        system: the system attributes that do not change after sending, as text.
        sent: when it was sent, on the model's clock; retention counts from here.
        group: the message group id, as in `system`.
        receives: how often it was received, in all queues.
        carried: how many of those receives were in other queues, before it was moved here.
        received: the time of its last receive; the 12 hours count from here.
        due: when it becomes visible, while it is in flight or delayed.
        armed: the time of its one valid entry in the timers of the queue; infinite when there is none.
        listed: whether the queue's order holds an entry for it.
        changes: counts changes of visibility; a repeated receive compares it.
    """

    number: int
    id: str
    content: Content
    system: dict[str, str]
    sent: float
    group: str | None = None
    place: Place = Place.VISIBLE
    receives: int = 0
    carried: int = 0
    received: float = -inf
    first_received: str = ""
    due: float = inf
    armed: float = inf
    listed: bool = False
    changes: int = 0

    def __repr__(self) -> str:
        return f"<Stored {self.id} {self.place.value}, received {self.receives} times>"


class Selection(NamedTuple):
    """Which attributes a receive asks for."""

    system: frozenset[str]
    user: tuple[str, ...]

    def wants_system(self, name: str) -> bool:
        """Whether it asks for the system attribute of that name."""
        return name in self.system

    def wants_user(self, name: str) -> bool:
        """Whether it asks for the message attribute of that name: by name, by `prefix.*`, or for all of them."""
        return any(
            wanted in (name, "All", "*", ".*") or (wanted.endswith(".*") and name.startswith(wanted[:-2]))
            for wanted in self.user
        )


def render(message: Stored, receipt_tag: str, selection: Selection) -> dict[str, Any]:
    """A message as ReceiveMessage returns it, in the names of the JSON protocol."""
    content = message.content
    answer: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": f"AQEB{receipt_tag}-{message.number}-{message.receives}",
        "MD5OfBody": content.body_md5,
        "Body": content.body,
    }
    if selection.system:
        system = {
            **message.system,
            "ApproximateReceiveCount": str(message.receives),
            "ApproximateFirstReceiveTimestamp": message.first_received,
        }
        if "All" not in selection.system:
            system = {name: value for name, value in system.items() if selection.wants_system(name)}
        if system:
            answer["Attributes"] = system
    if selection.user and content.attributes:
        _render_attributes(answer, content, selection)
    return answer


def _render_attributes(answer: dict[str, Any], content: Content, selection: Selection) -> None:
    chosen = {name: value for name, value in content.attributes.items() if selection.wants_user(name)}
    if not chosen:
        return
    answer["MessageAttributes"] = chosen
    whole = len(chosen) == len(content.attributes)
    answer["MD5OfMessageAttributes"] = content.attributes_md5 if whole else md5_of_attributes(chosen)
