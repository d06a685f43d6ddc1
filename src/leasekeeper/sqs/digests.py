"""The MD5 digests that SQS sends along with a message, computed again to compare them.

Owned by the client. It promises AWS's own digests. MD5 guards against accidents here and is used nowhere for security.
"""

from __future__ import annotations

from hashlib import md5
from operator import attrgetter
from typing import TYPE_CHECKING

try:  # CPython's own MD5: a short text costs half of what it costs through OpenSSL, which prepares for long ones
    from _md5 import md5 as md5_of_short  # type: ignore[import-not-found]
except ImportError:  # this Python was built without it
    md5_of_short = md5

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.message import MessageAttribute, Received


SLICE = 120_000
"""Characters of a long body that are hashed at once: a copy of a whole body would cost about as much as its hash."""

SHORT = 2_000
"""Characters up to which a body is hashed by CPython's own MD5, which keeps the GIL."""

LONG = 65_536
"""Characters from which on a body is long: to hash it costs about as much as to receive it."""

_BODY, _OF_BODY, _OF_ATTRIBUTES = map(attrgetter, ("body", "md5_of_body", "md5_of_attributes"))


def intact(messages: list[Received], *, attributes: bool, long_bodies: bool = True) -> list[Received]:
    """The messages that match their digests; a digest that SQS did not send proves nothing.

    Args:
        messages: as received.
        attributes: whether all their attributes were asked for, because the digest covers all that a message has.
        long_bodies: whether to hash bodies over `LONG` too.
    """
    if _all_short_and_intact(messages, attributes=attributes):
        return messages
    return [each for each in messages if _is_intact(each, attributes=attributes, long_bodies=long_bodies)]


def _all_short_and_intact(messages: list[Received], *, attributes: bool) -> bool:
    """Nearly all receives: hashed together, because each step in Python is paid once a message."""
    if attributes and any(map(_OF_ATTRIBUTES, messages)):
        return False
    bodies = list(map(_BODY, messages))
    longest = max(map(len, bodies), default=0)
    if longest > LONG:
        return False
    hashed = md5_of_short if longest <= SHORT else md5
    digests = [hashed(body.encode(), usedforsecurity=False).hexdigest() for body in bodies]
    return digests == list(map(_OF_BODY, messages))


def _is_intact(message: Received, *, attributes: bool, long_bodies: bool) -> bool:
    body, of_body, of_attributes = message.body, message.md5_of_body, message.md5_of_attributes
    if of_body and (long_bodies or len(body) <= LONG) and _hashed(body) != of_body:
        return False
    return not (attributes and of_attributes) or md5_of_attributes(message.attributes) == of_attributes


def _hashed(body: str) -> str:
    digest = md5(usedforsecurity=False)
    for start in range(0, len(body), SLICE):
        digest.update(body[start : start + SLICE].encode())
    return digest.hexdigest()


def md5_of_attributes(attributes: Mapping[str, MessageAttribute]) -> str:
    """The digest of user-defined attributes, hexadecimal (SQS developer guide, message metadata)."""
    digest = md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        value = attribute.value
        data = value.encode() if isinstance(value, str) else value
        kind = b"\x01" if isinstance(value, str) else b"\x02"
        for part in (name.encode(), attribute.data_type.encode()):
            digest.update(len(part).to_bytes(4, "big") + part)
        digest.update(kind + len(data).to_bytes(4, "big") + data)
    return digest.hexdigest()
