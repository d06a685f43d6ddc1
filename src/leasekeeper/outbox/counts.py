"""What a relay has done since its start, and what it saw last. Written on its loop, read from any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leasekeeper.outbox.statistics import OutboxQueue


class Counts:
    """Attributes as `RelayStatistics` has them."""

    def __init__(self) -> None:
        self.sent = self.retried = self.failed = self.calls = 0
        self.connected = False
        self.queues: tuple[OutboxQueue, ...] = ()
