"""What an outbox and its relay look like at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxQueue:
    """One queue of an outbox. Rows are those of the last look, and counted up to 100,000."""

    source: ClassVar[str] = "outbox"

    table: str
    """The table's name."""
    queue: str
    """The queue, as the writers name it."""
    sent: int
    """Messages that SQS confirmed to this relay, since its start."""
    retried: int
    """Rows that this relay could not send and that are tried again, each time counted."""
    refused: int
    """Rows that this relay has set aside, because SQS cannot take them."""
    waiting: int
    """Rows that are due and not sent."""
    scheduled: int
    """Rows that are due later."""
    failed: int
    """Rows that are set aside."""
    oldest: float
    """Seconds since the oldest row that waits was due: the lag. 0 without one."""

    @property
    def handler(self) -> str:
        """What the label `consumer` of its metrics says."""
        return self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatistics:
    """A relay at one moment; counts since its start."""

    table: str
    """The table's name."""
    sent: int
    """Messages that SQS confirmed and whose rows are deleted."""
    retried: int
    """Rows that could not be sent and are tried again, each time counted."""
    refused: int
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
