"""The MD5 digests that SQS sends along with a message, computed again to compare them.

Owned by the client. It promises AWS's own digests. MD5 guards against accidents here and is used nowhere for security.
"""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from hashlib import _Hash

    from leasekeeper.message import MessageAttribute, Received


SLICE = 120_000
"""Characters of a long body that are hashed at once: a copy of a whole body would cost about as much as its hash."""


def intact(messages: Iterable[Received], *, attributes: bool) -> list[Received]:
    """The messages that match their digests; a digest that SQS did not send proves nothing.

    Args:
        messages: as received.
        attributes: whether all their attributes were asked for, because the digest covers all that a message has.
    """
    good: list[Received] = []
    for message in messages:
        of_body, of_attributes = message.md5_of_body, message.md5_of_attributes
        if of_body:
            body = message.body
            digest = md5(body.encode(), usedforsecurity=False) if len(body) <= SLICE else _hashed(body)
            if digest.hexdigest() != of_body:
                continue
        if attributes and of_attributes and md5_of_attributes(message.attributes) != of_attributes:
            continue
        good.append(message)
    return good


def _hashed(body: str) -> _Hash:
    digest = md5(usedforsecurity=False)
    for start in range(0, len(body), SLICE):
        digest.update(body[start : start + SLICE].encode())
    return digest


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
