"""The capacity of a consumer with a gate: it receives no message that could not start soon.

Owned by the runner. It promises that what polls may bring and what waits here finds a token of the rate within
`LOOK_AHEAD`, and that a rate costs no receive for each message where it allows more. A FIFO queue is asked for whole
batches; there the promise holds for the first message of each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.core.gate import LOOK_AHEAD
from leasekeeper.engine.capacity import Capacity
from leasekeeper.engine.group_capacity import GroupCapacity

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sized

    from leasekeeper.core.gate import Gate
    from leasekeeper.core.groups import Groups
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.options import Options


class LimitedCapacity(Capacity):
    """Slots: polls get no more of them than messages may start.

    Args:
        options: as `Capacity`.
        throttler: as `Capacity`.
        in_flight: as `Capacity`.
        gate: says how many may start, and when.
        clock: seconds, monotonic.
    """

    def __init__(
        self, options: Options, throttler: Throttler, in_flight: Sized, gate: Gate, clock: Callable[[], float]
    ) -> None:
        super().__init__(options, throttler, in_flight)
        self._gate = gate
        self._clock = clock
        self._batch = 1
        """Tokens that a receive waits for: with fewer, each call would bring one message."""
        if bucket := gate.bucket:
            patient = min(bucket.burst, int(bucket.rate * options.longest_pause))
            self._batch = min(options.receive_batch, max(1, int(bucket.rate * LOOK_AHEAD), patient))

    def _left(self) -> int:
        return min(super()._left(), self._allowed())

    def _promised(self) -> int:
        """How many more messages may be asked for by rate."""
        return self._gate.promised(self._clock(), self._throttler.latency, self.polling, self._most)

    def _allowed(self) -> int:
        """How many more messages may be asked for, if there are slots."""
        return self._promised()

    def _too_few(self) -> bool:
        """Whether a receive would bring too few messages now."""
        return self._promised() < self._batch or self._allowed() < 1

    async def reserve(self, most: int) -> int:
        """Take slots for a poll, when enough messages may start for one."""
        while not self._closed and self._too_few():
            await self._turn()
        return await super().reserve(min(most, max(1, self._allowed())))

    async def _turn(self) -> None:
        await _at_most(super()._turn(), self._next_look())

    def _next_look(self) -> float:
        """Seconds until the next look, if nothing else changes before; 0.0: never."""
        return self._gate.until_promised(self._clock(), self._throttler.latency, self.polling, self._batch)


class LimitedGroupCapacity(GroupCapacity):
    """Slots of a FIFO queue. A receive is made when all groups that are here and can go on may start soon.

    Args:
        options: as `GroupCapacity`.
        throttler: as `GroupCapacity`.
        in_flight: as `GroupCapacity`.
        groups: as `GroupCapacity`.
        gate: says how many may start, and when.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        options: Options,
        throttler: Throttler,
        in_flight: Sized,
        groups: Groups,
        *,
        gate: Gate,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(options, throttler, in_flight, groups)
        self._gate = gate
        self._clock = clock

    def _unstarted(self) -> int:
        """Groups that may start a message, and messages that polls may bring; those that wait at the gate left out."""
        return self.polling + self._groups.busy - self._gate.running - self._gate.waiting

    def has_room(self, most: int) -> bool:
        """Whether `reserve` would not have to wait."""
        allowed = self._gate.promised(self._clock(), self._throttler.latency, self._unstarted(), self._most)
        return allowed > 0 and super().has_room(most)

    async def _turn(self) -> None:
        seconds = self._gate.until_promised(self._clock(), self._throttler.latency, self._unstarted(), 1)
        await _at_most(super()._turn(), seconds)


async def _at_most(wait: Coroutine[None, None, None], seconds: float) -> None:
    """Wait, but not for longer than that; 0: without a limit."""
    try:
        async with asyncio.timeout(seconds or None):
            await wait
    except TimeoutError:
        pass
