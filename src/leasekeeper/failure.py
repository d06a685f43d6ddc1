"""Why a message became a dead letter: the attribute `leasekeeper.failure` of the copy that a consumer sends.

On the ground floor: `engine/dead_letters.py` writes it, `leasekeeper peek` and `redrive` read it. It promises that what
it writes fits into 2 KiB and has only characters that SQS takes, and that it reads what others wrote without an error.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

from leasekeeper.message import MessageAttribute

if TYPE_CHECKING:
    from leasekeeper.message import Received

FAILURE = "leasekeeper.failure"
"""The name of the message attribute; its type is String, its value a JSON object."""
REDRIVEN = "leasekeeper.redriven"
"""The name of the message attribute that `leasekeeper redrive` sets: how often it sent the message back. A Number."""
MOST_BYTES = 2_048
"""Bytes of the JSON, at most: a copy must leave room for the body."""
_REFUSED = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""What JSON does not escape and SQS does not take (API reference, SendMessage)."""
_CUT = "[...]"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a message became a dead letter.

    Attributes:
        v: the version of this form: 1.
        reason: what ended the tries: `rejected`, `exhausted` or `undecodable`.
        error: the name of the exception's class, e.g. `TimeoutError`; `Reject` when the handler rejected the message.
        message: the exception's text, or the reason that the handler gave.
        at: when it failed for the last time, in ISO 8601 (UTC), as all times here.
        queue: the ARN of the queue that it was consumed from, or its URL.
        attempts: how often its handler ran.
        receives: how often SQS had delivered it there.
        first_received: when it was first received there; empty when unknown.
        sent: when it was sent; empty when unknown.
        host: the host that the consumer ran on.
        version: of Leasekeeper.
        trace: the end of the traceback.
    """

    v: int = 1
    reason: str = ""
    error: str = ""
    message: str = ""
    at: str = ""
    queue: str = ""
    attempts: int = 0
    receives: int = 0
    first_received: str = ""
    sent: str = ""
    host: str = ""
    version: str = ""
    trace: str = ""

    def attribute(self) -> MessageAttribute:
        """As a message attribute. If it is too long, the traceback loses its beginning, then the message its end."""
        plain = {name: _plain(getattr(self, name)) for name in self.__struct_fields__}
        for name in ("trace", "message", "queue", "host", "error", "reason"):
            over = _size(plain) - MOST_BYTES
            if over <= 0:
                break
            plain[name] = _cut(plain[name], _size(plain[name]) - over, from_end=name == "trace")
        return MessageAttribute(data_type="String", string_value=msgspec.json.encode(plain).decode())

    @classmethod
    def of(cls, received: Received) -> Self | None:
        """What a message says about its failure; None when it says nothing that can be read."""
        attribute = received.attributes.get(FAILURE)
        if attribute is None:
            return None
        try:
            said: Any = msgspec.json.decode(attribute.value)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return None
        if not isinstance(said, dict):
            return None
        # Others may write this attribute too: a field of another type counts as not there.
        default = cls()
        fields = {name: getattr(default, name) for name in cls.__struct_fields__}
        return cls(**{name: said[name] if type(said.get(name)) is type(of) else of for name, of in fields.items()})


def timestamp(seconds: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, to the millisecond; empty for 0, which stands for an unknown time."""
    if not seconds:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(timestamp: str) -> float:
    """Epoch seconds of a time in ISO 8601, in UTC when it names no zone; 0.0 for any other text."""
    try:
        moment = datetime.fromisoformat(timestamp)
        return max((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


def _plain(value: Any) -> Any:
    return _REFUSED.sub("?", value) if isinstance(value, str) else value


def _size(value: Any) -> int:
    return len(msgspec.json.encode(value))


def _cut(text: str, room: int, *, from_end: bool) -> str:
    """As much of the text as has at most `room` bytes as JSON: its beginning, or its end."""

    def part(kept: int) -> str:
        return _CUT + text[len(text) - kept :] if from_end else text[:kept] + _CUT

    return part(max(0, bisect_right(range(len(text)), room, key=lambda kept: _size(part(kept))) - 1))
