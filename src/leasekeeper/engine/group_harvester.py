"""The harvester of a FIFO queue: deletes of one message group go out in order, and one call at a time (L28)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.group_batch import GroupBatch
from leasekeeper.engine.harvester import Harvester

if TYPE_CHECKING:
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext

LINGER = 0.05
"""Seconds at most that a finished message waits for others: until it is deleted its group is locked."""


class GroupHarvester(Harvester):
    """Deletes what is finished, in the order of its groups.

    Args:
        context: the runner's.
        size: deletes in one call.
        linger: seconds that a delete may wait for others; at most `LINGER`.
    """

    def __init__(self, context: QueueContext, *, size: int, linger: float) -> None:
        self._deletes = GroupBatch(size=size, linger=min(linger, LINGER) if size > 1 else 0.0)
        super().__init__(context, size=size, linger=linger, batch=self._deletes)

    async def _send(self, rows: list[Delivery]) -> None:
        try:
            await super()._send(rows)
        finally:
            self._deletes.answered(rows)
