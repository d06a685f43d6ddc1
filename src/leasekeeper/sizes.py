"""Sizes of messages as SQS counts them, and which text it takes.

Used by all that send: the sender, copies to dead-letter queues, the command line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.message import MessageAttribute

_REFUSED = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What SQS refuses in bodies and attributes (API reference, SendMessage): most control characters, half surrogates."""


def size_of(body: str, attributes: Mapping[str, MessageAttribute]) -> int:
    """Bytes of a message: its body, and of each attribute the name, the type and the value."""
    size = len(body) if body.isascii() else len(body.encode())
    for name, attribute in attributes.items():
        value = attribute.value
        size += len(name.encode()) + len(attribute.data_type.encode())
        size += len(value.encode() if isinstance(value, str) else value)
    return size


def check_text(text: str, what: str) -> None:
    """Refuse what SQS would refuse.

    Raises:
        ConfigurationError: a character that SQS does not take; says which, and where.
    """
    if text.isascii() and text.isprintable():  # nearly always, and a hundred times quicker
        return
    found = _REFUSED.search(text)
    if found is not None:
        raise ConfigurationError(
            f"{what} has the character U+{ord(found[0]):04X} at position {found.start()}, which SQS refuses: it takes "
            "tab, line feed, carriage return and the characters from U+0020 on; encode other data, such as in base64"
        )
