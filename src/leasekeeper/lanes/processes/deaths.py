"""Messages whose workers died: after three deaths a message counts as poison.

Owned by the processes lane. It remembers the last messages only; a message that comes to another process begins again
there, and the queue's redrive policy counts its receives.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from leasekeeper.lanes.processes.endings import WorkerDied
from leasekeeper.outcomes import Failed, Reject, Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome

MOST = 3
"""Deaths after which a message is rejected: it kills each process that runs it."""
AFTER = (0.0, 2.0)
"""Seconds until a message comes back after its first and second death: the first may be bad luck."""
REMEMBERED = 10_000
"""Messages that are remembered."""


class Deaths:
    """How often the worker of each message died."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def outcome(self, message_id: str, why: str) -> Outcome:
        """What follows for a message whose worker died."""
        count = self._counts.pop(message_id, 0) + 1
        if count >= MOST:
            return Reject(f"{count} worker processes ended while they ran it; the last time, {why}")
        self._counts[message_id] = count
        if len(self._counts) > REMEMBERED:
            del self._counts[next(iter(self._counts))]
        return Failed(WorkerDied(f"{why}; its message is retried"), rule=Retry(AFTER[count - 1]))

    def apart(self, parts: Sequence[Sequence[Delivery]], *, ordered: bool) -> Sequence[Sequence[Delivery]]:
        """These calls, in which each message that has killed a worker is alone: last, or in its place if `ordered`."""
        if not self._counts:
            return parts
        found: list[Sequence[Delivery]] = []
        last: list[Sequence[Delivery]] = []
        for part in parts:
            for kills, rows in groupby(part, lambda row: row.received.message_id in self._counts):
                if kills:
                    (found if ordered else last).extend([row] for row in rows)
                else:
                    found.append(list(rows))
        return [*found, *last]

    def forget(self, message_id: str) -> None:
        """Its handler has ended without a death."""
        if self._counts:
            self._counts.pop(message_id, None)
