"""The room: places for messages, taken before a receive asks for them and given back when their handler has ended.

Owned by the worker; pollers reserve from it. It promises that no more is in hand than concurrency and prefetch allow,
nor more in flight than `max_in_flight`, and that whoever waits is woken when there may be room (L20).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.context import QueueContext

GATHER = 0.05
"""The longest a poller waits for more room when it could have some at once, in seconds."""


class Capacity:
    """Places, of which some are taken.

    Attributes:
        taken: places reserved for polls, or held by messages that wait or are at work.
    """

    def __init__(self, context: QueueContext, throttler: Throttler) -> None:
        self._context = context
        self._throttler = throttler
        self.taken = 0
        self._asking: deque[asyncio.Future[None]] = deque()
        self._crowded = False
        """Whether somebody who asks for room is kept waiting by `max_in_flight`, not by places."""
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False

    def _left(self) -> int:
        """How many places may still be taken."""
        options, throttler = self._context.options, self._throttler
        places = min(throttler.limit, options.concurrency + throttler.prefetch)
        return min(places - self.taken, self._spare())

    def _spare(self) -> int:
        """How many messages more may be in flight, acks not yet confirmed included."""
        return self._context.options.max_in_flight - len(self._context.ledger)

    async def reserve(self, most: int) -> int:
        """Take places for up to `most` messages, waiting for room; 0 once nothing is to be received any more.

        Fewer than `most` are taken only when handlers stand idle, and after a moment in which more may come free.
        """
        while not self._closed:
            room = self._left()
            if room >= most or (
                room > 0 and self.taken < self._context.options.concurrency and await self._gather(most)
            ):
                granted = min(most, self._left())
                if granted > 0:
                    self.taken += granted
                    self._empty.clear()
                    return granted
            elif not self._closed:
                self._crowded |= self._spare() < most
                await self._turn()
        return 0

    async def _gather(self, most: int) -> bool:
        """Wait a moment for a whole batch of places; true when what there is should be taken now."""
        moment = min(GATHER, self._throttler.handler_seconds / 20)
        if moment > 0.001:
            try:
                async with asyncio.timeout(moment):
                    while self._left() < most and not self._closed:
                        await self._turn()
            except TimeoutError:
                pass
        return True

    async def _turn(self) -> None:
        """Wait until some place has come free."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(future)
        try:
            await future
        finally:
            if not future.done() or future.cancelled():
                self._asking = deque(each for each in self._asking if each is not future)

    def give_back(self, places: int) -> None:
        """Places are free again."""
        self.taken -= places
        if not self.taken:
            self._empty.set()
        while self._asking:
            future = self._asking.popleft()
            if not future.done():
                future.set_result(None)

    def settled(self) -> None:
        """Messages may have left the ledger, which makes room as well as places that are given back do."""
        if self._crowded:
            self._crowded = False
            self.give_back(0)

    def close(self) -> None:
        """Reserve nothing any more."""
        self._closed = True
        self.give_back(0)

    async def emptied(self) -> None:
        """Wait until every place is free."""
        await self._empty.wait()

    def __repr__(self) -> str:
        return f"<Capacity {self.taken} places taken, {len(self._asking)} ask{', closed' if self._closed else ''}>"
