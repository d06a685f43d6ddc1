"""The MD5 digests that SQS sends along with a message, computed anew.

Owned by the client. It promises AWS's own digests; MD5 guards against accidents here, and is used nowhere for security.
"""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from leasekeeper.message import MessageAttribute, Received


def intact(messages: Iterable[Received], *, attributes: bool) -> list[Received]:
    """Those messages that are what their digests say; a digest that SQS did not send proves nothing.

    Args:
        messages: as received.
        attributes: whether all their attributes were asked for; the digest covers all that a message has.
    """
    good: list[Received] = []
    for message in messages:
        of_body, of_attributes = message.md5_of_body, message.md5_of_attributes
        if of_body and md5(message.body.encode(), usedforsecurity=False).hexdigest() != of_body:
            continue
        if attributes and of_attributes and md5_of_attributes(message.attributes) != of_attributes:
            continue
        good.append(message)
    return good


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
