"""The room of a sender: how much it may hold, and who waits for a place.

Used from any thread. It promises that a sender never holds more than its limits, but for messages whose caller waits
for them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Room:
    """Places for messages and bytes.

    Args:
        messages: how many messages.
        size: how many bytes.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._messages = messages
        self._size = size
        self.taken = 0
        self.taken_bytes = 0
        self._accepted = 0
        self.lock = threading.Lock()
        self._freed = threading.Condition(self.lock)
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def has(self, size: int) -> bool:
        """Whether a message of that size has a place now; one of any size has it if nothing is held."""
        if not self.taken:
            return True
        return self.taken < self._messages and self.taken_bytes + size <= self._size

    def take(self, size: int) -> int:
        """Take a place; returns how many messages ever took one. The lock is held."""
        self.taken += 1
        self.taken_bytes += size
        self._accepted += 1
        return self._accepted

    def wait(self, size: int, timeout: float, go_on: Callable[[], bool]) -> bool:
        """Wait for a place, at most `timeout` seconds and while `go_on()`; whether it is there. The lock is held."""
        deadline = time.monotonic() + timeout
        while not self.has(size) and go_on():
            left = deadline - time.monotonic()
            if left <= 0 or not self._freed.wait(left):
                return self.has(size)
        return self.has(size)

    async def wait_in_loop(self, size: int) -> None:
        """Wait for a place in an event loop."""
        loop = asyncio.get_running_loop()
        while True:
            with self.lock:
                if self.has(size):
                    return
                freed: asyncio.Future[None] = loop.create_future()
                self._waiting.append((loop, freed))
            await freed

    def give_back(self, messages: int, size: int) -> None:
        """Free places, and wake all that wait."""
        with self.lock:
            self.taken -= messages
            self.taken_bytes -= size
            self._freed.notify_all()
            waiting, self._waiting = self._waiting, []
        for loop, freed in waiting:
            _wake(loop, freed)

    def wake(self) -> None:
        """Wake all that wait, because nothing is accepted any more."""
        self.give_back(0, 0)

    def __repr__(self) -> str:
        return f"<Room {self.taken}/{self._messages} messages, {self.taken_bytes}/{self._size} bytes>"


def _wake(loop: asyncio.AbstractEventLoop, freed: asyncio.Future[None]) -> None:
    def wake() -> None:
        if not freed.done():
            freed.set_result(None)

    with suppress(RuntimeError):  # the loop is closed: nothing waits on it any more
        loop.call_soon_threadsafe(wake)
