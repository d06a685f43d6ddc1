"""What an outbox and its relay look like at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxQueue:
    """The rows of one queue in an outbox; counts end at 100,000."""

    queue: str
    """The queue, as the writers name it."""
    waiting: int
    """Rows that are due and not sent."""
    scheduled: int
    """Rows that are due later."""
    failed: int
    """Rows that were set aside, because SQS cannot take them."""
    oldest: float
    """Seconds since the oldest row that waits was due: the lag. 0 without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatistics:
    """A relay at one moment; counts since its start."""

    table: str
    """The table's name."""
    sent: int
    """Messages that SQS confirmed and whose rows are deleted."""
    retried: int
    """Rows that could not be sent and are tried again, each time counted."""
    failed: int
    """Rows that were set aside, because SQS cannot take them."""
    calls: int
    """Calls of SendMessageBatch."""
    connected: bool
    """Whether the last look into the database succeeded."""
    waiting: int
    """Rows that are due and not sent, at the last look."""
    oldest: float
    """Seconds since the oldest of these was due, at the last look: the lag."""
    queues: tuple[OutboxQueue, ...]
    """The same for each queue."""
