"""A budget: how many bytes of payloads one consumer holds at the same time, in the order in which they were asked for.

Owned by one lane, used on its loop. It promises that nothing waits for ever: a payload that is larger than the whole
budget is let in alone.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Budget:
    """Bytes that may be taken.

    Args:
        most: bytes in all.

    Attributes:
        taken: bytes that are taken now.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def is_asked(self) -> bool:
        """Whether some payload waits for bytes."""
        return bool(self._waiting)

    def has(self, size: int) -> bool:
        """Whether `take` would not have to wait."""
        return not self._waiting and self._fits(size)

    async def take(self, size: int) -> None:
        """Take this many bytes, when they are free and all earlier askers have theirs."""
        if self.has(size):
            self.taken += size
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (size, granted)
        self._waiting.append(waiting)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # it was granted at the same moment
                self.give_back(size)
            else:
                self._waiting.remove(waiting)
                self._grant()
            raise

    def give_back(self, size: int) -> None:
        """Give back what was taken, or a part of it; a negative number takes more, whatever is free."""
        self.taken -= size
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, granted = self._waiting.popleft()
            if not granted.done():
                self.taken += size
                granted.set_result(None)

    def _fits(self, size: int) -> bool:
        return self.taken + size <= self._most or not self.taken

    def __repr__(self) -> str:
        return f"<Budget {self.taken:,} of {self._most:,} bytes, {len(self._waiting)} waiting>"
