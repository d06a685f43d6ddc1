"""The MD5 digests that SQS sends along with a message, computed anew.

Owned by the client. It promises AWS's own digests; MD5 guards against accidents here, and is used nowhere for security.
"""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.message import MessageAttribute, Received


def intact(message: Received, *, attributes: bool) -> bool:
    """Whether the message is what its digests say; a digest that SQS did not send proves nothing.

    Args:
        message: as received.
        attributes: whether all its attributes were asked for; the digest covers all that the message has.
    """
    if message.md5_of_body and md5(message.body.encode(), usedforsecurity=False).hexdigest() != message.md5_of_body:
        return False
    if not (attributes and message.md5_of_attributes):
        return True
    return md5_of_attributes(message.attributes) == message.md5_of_attributes


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
