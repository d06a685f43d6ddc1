"""Where a dead letter came from: SQS says it of messages that SQS moved, our consumers say it of those they copied.

Used by `peek` and `redrive`. Pure. It promises to name one destination only when every message that was looked at came
from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from leasekeeper.cli.policy import name_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from leasekeeper.message import Received

SOURCE_OF_SQS = "DeadLetterQueueSourceArn"
"""The system attribute of a message that SQS moved."""
REASON, SOURCE, RECEIVE_COUNT = "Leasekeeper.Reason", "Leasekeeper.Source", "Leasekeeper.ReceiveCount"
"""The message attributes of a copy that a consumer of ours sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a dead letter came from.

    Attributes:
        queue: the name of the queue; empty when it is not known.
        moved: SQS moved the message, and so can move it back without being told where to.
        reason: why a handler rejected it; empty when it is not known.
        receives: how often it was received before that; empty when it is not known.
    """

    queue: str
    moved: bool
    reason: str = ""
    receives: str = ""

    @classmethod
    def of(cls, message: Received) -> Self:
        """What the message says."""
        if source := message.system.get(SOURCE_OF_SQS):
            return cls(queue=name_in(source), moved=True)
        reason, source, receives = (
            str(message.attributes[name].value) if name in message.attributes else ""
            for name in (REASON, SOURCE, RECEIVE_COUNT)
        )
        return cls(queue=name_in(source), moved=False, reason=reason, receives=receives)


def destinations(messages: Iterable[Received], sources: Collection[str]) -> set[str] | None:
    """The queues that these dead letters belong to; None when SQS moved them all, and so knows by itself.

    Args:
        messages: those that were looked at.
        sources: the names of the queues that share the dead-letter queue.
    """
    origins = [Origin.of(message) for message in messages]
    if all(origin.moved for origin in origins):
        return None
    named = {origin.queue for origin in origins if origin.queue}
    return named if all(origin.queue for origin in origins) else named | set(sources)
