"""The capacity of a FIFO queue: receives are made while there is room for more message groups at work.

Owned by the runner. A group runs one message at a time, so the messages behind it take no slot of another group; a
group that waits for a back-off takes none at all. It promises to ask for whole batches only: fewer would split a group,
and SQS locks the rest of it until those are deleted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from leasekeeper.core.group import FULL
from leasekeeper.engine.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Sized

    from leasekeeper.core.groups import Groups
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.options import Options


class GroupCapacity(Capacity):
    """Slots for messages, given out by groups.

    Args:
        options: `concurrency` bounds the groups at work, `max_in_flight` the messages in flight.
        throttler: its prefetch is the number of messages whose groups may wait for a handler.
        in_flight: the messages in flight, acks not yet confirmed included.
        groups: what is held, by group.
    """

    def __init__(self, options: Options, throttler: Throttler, in_flight: Sized, groups: Groups) -> None:
        super().__init__(options, throttler, in_flight)
        # A batch of one group takes one handler; in a batch of several groups each message may be of another group.
        self._concurrency = options.slots if options.batch_groups == "several" else options.concurrency
        self._groups = groups

    def resize(self, options: Options) -> None:
        """Take other bounds; what is held stays."""
        self._concurrency = options.slots if options.batch_groups == "several" else options.concurrency
        super().resize(options)

    def has_room(self, most: int) -> bool:  # noqa: ARG002 - it is always a whole batch
        """Whether `reserve` would not have to wait."""
        throttler = self._throttler
        polls = self.polling // FULL
        # The throttler counts messages, and a group that waits for a handler brings it all of its messages.
        waiting = math.ceil(throttler.prefetch * self._groups.per_message)
        groups = min(throttler.limit, self._concurrency + waiting)
        if self._groups.busy + polls >= groups:
            return False
        at_work = self.taken - self.polling - self._groups.held_back
        return at_work + self.polling < FULL * (groups + polls) and not self._full()

    def _full(self) -> bool:
        """Whether a whole batch more would be above `max_in_flight`."""
        return len(self._in_flight) + self.polling + FULL > max(self._most, FULL)

    async def reserve(self, most: int) -> int:
        """Take slots for a poll, waiting for room; 0 once the capacity is closed."""
        while not self._closed:
            if self.has_room(most):
                self.taken += FULL
                self.polling += FULL
                return FULL
            self._crowded |= self._full()
            await self._turn()
        return 0
