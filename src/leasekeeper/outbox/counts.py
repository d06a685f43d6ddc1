"""What a relay has done since its start, and what it saw last. Written on its loop, read from any thread."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class QueueCounts:
    """One queue; attributes as `OutboxQueue` has them."""

    sent: int = 0
    retried: int = 0
    refused: int = 0
    waiting: int = 0
    scheduled: int = 0
    failed: int = 0
    oldest: float = 0.0


class Counts:
    """All queues, by the names that the writers give.

    Attributes:
        calls: of SendMessageBatch.
        connected: whether the last look into the database succeeded.
        queues: those that have had rows.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.connected = False
        self.queues: dict[str, QueueCounts] = {}

    def of(self, queue: str) -> QueueCounts:
        """Those of one queue."""
        return self.queues.setdefault(queue, QueueCounts())
