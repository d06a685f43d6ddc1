"""The desk: what looks at dead letters, moves them, and examines a queue, for a surface.

Given to a surface by its owner; `leasekeeper.cli.desk` has that of the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.consumer import Consumer


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter.

    Attributes:
        id: its message id.
        sent: when it was sent first, in seconds since 1970; 0.0 when unknown.
        receives: how often it was received, this look included.
        cause: why it is there, as far as it says so.
        body: its body.
    """

    id: str
    sent: float
    receives: int
    cause: str
    body: str


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What was found when a queue was examined.

    Attributes:
        level: `ok`, `warn` or `fail`.
        topic: what was checked.
        message: what was found, and what it means.
        commands: lines to copy that change it.
    """

    level: str
    topic: str
    message: str
    commands: tuple[str, ...] = ()


class Desk(Protocol):
    """What looks at dead letters, moves them, and examines a queue."""

    async def peek(self, consumer: Consumer, most: int) -> tuple[Sequence[Letter], str]:
        """Receive some, give them back at once; what they are, and what the look cost, as a sentence.

        Raises:
            LeasekeeperError: the consumer has no dead-letter queue, or it may not be read.
        """
        ...

    async def redrive(self, consumer: Consumer) -> str:
        """Have SQS move all back; what was started, as a sentence.

        Raises:
            LeasekeeperError: it cannot be done, and why.
        """
        ...

    async def examine(self, consumer: Consumer) -> Sequence[Examined]:
        """Check credentials, permissions and the queue's attributes, and change nothing.

        Raises:
            LeasekeeperError: it cannot be done, and why.
        """
        ...
