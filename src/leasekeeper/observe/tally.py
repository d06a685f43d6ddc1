"""The tally: what one runner counts as it works, for statistics and metrics.

Owned by the runner, written on the engine's loop only; nothing reads it but `statistics()`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from leasekeeper.core.median import StreamingMedian


@dataclass(slots=True)
class Tally:
    """Counters since the start, and medians of the last 63."""

    receives: int = 0
    empty_receives: int = 0
    receive_errors: int = 0
    received: int = 0
    done: int = 0
    retried: int = 0
    failed: int = 0
    rejected: int = 0
    undecodable: int = 0
    dead_lettered: int = 0
    timed_out: int = 0
    not_started: int = 0
    ended: int = 0
    heartbeat_calls: int = 0
    heartbeat_failures: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Errors by SQS's code: receives that failed, and entries of batches that failed."""
    first_lag: StreamingMedian = field(default_factory=StreamingMedian)
    """Seconds from sent to received, of messages received for the first time; two clocks, so take it as approximate."""
    buffer_seconds: StreamingMedian = field(default_factory=StreamingMedian)
    """Seconds from received to started."""
    delete_seconds: StreamingMedian = field(default_factory=StreamingMedian)
    """Seconds of a delete call."""

    def failed_entry(self, code: str) -> None:
        """Count an entry of a batch that failed."""
        self.errors[code] += 1
