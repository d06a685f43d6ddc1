"""The capacity: slots for messages, reserved before a receive and given back when their handler has ended.

Owned by the runner; pollers reserve from it, the worker gives back. It promises that no more is held than concurrency
and prefetch allow, nor more in flight than `max_in_flight`, and that waiting pollers are woken when there may be room
(L20).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sized

    from leasekeeper.core.throttler import Throttler
    from leasekeeper.options import Options

GATHER = 0.05
"""Seconds at most that a poller waits for more slots when it could have some at once."""


class Capacity:
    """Slots, some of them taken.

    Args:
        options: `slots` and `max_in_flight` bound the slots.
        throttler: its limit and its prefetch bound them too.
        in_flight: the messages in flight, acks not yet confirmed included.

    Attributes:
        taken: slots reserved for polls, or held by messages that wait or run.
        polling: those of them that are reserved for polls.
        waiting: those of messages that wait until they run again: that many more slots may be taken.
    """

    def __init__(self, options: Options, throttler: Throttler, in_flight: Sized) -> None:
        self._at_work = options.slots
        self._most = options.max_in_flight
        self._throttler = throttler
        self._in_flight = in_flight
        self.taken = 0
        self.polling = 0
        self.waiting = 0
        self._asking: deque[asyncio.Future[None]] = deque()
        self._crowded = False
        """Whether a poller waits because of `max_in_flight`, not because of slots."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def _left(self) -> int:
        """How many slots may still be taken."""
        throttler = self._throttler
        slots = min(throttler.limit, self._at_work + throttler.prefetch) + self.waiting
        return min(slots - self.taken, self._most - len(self._in_flight))

    def has_room(self, most: int) -> bool:
        """Whether `reserve` would not have to wait."""
        room = self._left()
        return room >= most or (room > 0 and self.taken - self.waiting < self._at_work)

    async def reserve(self, most: int) -> int:
        """Take slots for a poll of up to `most` messages, waiting for room; 0 once the capacity is closed.

        Fewer than `most` are taken only when handlers stand idle, and after a moment in which more may come free.
        """
        while not self._closed:
            room = self._left()
            if 0 < room < most and self.taken - self.waiting < self._at_work:
                await self._gather(most)
                room = self._left()
            elif room < most:
                room = 0
            if room > 0:
                granted = min(most, room)
                self.taken += granted
                self.polling += granted
                return granted
            if not self._closed:
                self._crowded |= self._most - len(self._in_flight) < most
                await self._turn()
        return 0

    def received(self, reserved: int, fresh: int) -> None:
        """A poll that had reserved slots is over: `fresh` of them go to its messages, the others are free again."""
        self.polling -= reserved
        if fresh:
            self._idle.clear()
        if reserved > fresh:
            self.give_back(reserved - fresh)

    async def _gather(self, most: int) -> None:
        """Wait a moment for a whole batch of slots; then those that are free are taken."""
        moment = min(GATHER, self._throttler.handler_seconds / 20)
        if moment > 0.001:
            try:
                async with asyncio.timeout(moment):
                    while self._left() < most and not self._closed:
                        await self._turn()
            except TimeoutError:
                pass

    async def _turn(self) -> None:
        """Wait until some slot has come free."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(future)
        try:
            await future
        finally:
            if not future.done() or future.cancelled():
                self._asking = deque(other for other in self._asking if other is not future)

    def give_back(self, slots: int) -> None:
        """These slots are free again."""
        self.taken -= slots
        if self.taken == self.polling:
            self._idle.set()
        while self._asking:
            future = self._asking.popleft()
            if not future.done():
                future.set_result(None)

    def wait(self, slots: int) -> None:
        """Messages with these slots wait, so that others may have as many; a negative number: they go on.

        Then more messages than handlers may be here for a moment: the lane starts no more than it may.
        """
        self.waiting += slots
        self.give_back(0)

    def expect_poll(self) -> None:
        """The pollers start now, or go on after a pause."""

    def settled(self) -> None:
        """Messages may have left the ledger, which makes room just as a slot that comes free does."""
        if self._crowded:
            self._crowded = False
            self.give_back(0)

    def resize(self, options: Options) -> None:
        """Take other bounds; what is held stays."""
        self._at_work = options.slots
        self._most = max(self._most, options.max_in_flight)
        self.give_back(0)

    def close(self) -> None:
        """Reserve nothing more."""
        self._closed = True
        self.give_back(0)

    async def idle(self) -> None:
        """Wait until no slot is held by a message; polls may still hold some."""
        await self._idle.wait()

    def __repr__(self) -> str:
        return f"<Capacity {self.taken} slots taken, {len(self._asking)} waiting{', closed' if self._closed else ''}>"
