"""The mailbox: items for one event loop, from any thread, many to a wake-up.

Owned by the receiving side. Promises order for each sender, no loss while open, and one wake-up of the loop however
many items are posted before it comes round.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Items on their way to `loop`, several to a post, where `receive` takes all that came as one list."""

    __slots__ = ("_awake", "_loop", "_posts", "_receive")

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[list[T]], None]) -> None:
        self._loop = loop
        self._receive = receive
        self._posts: deque[Sequence[T]] = deque()
        self._awake = False

    def post(self, items: Sequence[T]) -> bool:
        """Post items, from any thread; False when the loop is closed."""
        self._posts.append(items)
        return (self._awake and not self._loop.is_closed()) or self._wake()

    def _wake(self) -> bool:
        # Between the append and here another thread may have woken the loop too: one call too many, never one too
        # few, because `_drain` takes `_awake` back before it looks at the items.
        self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _drain(self) -> None:
        self._awake = False
        items = self.take_back()
        if items:
            self._receive(items)

    def take_back(self) -> list[T]:
        """Take out what has not been received: for whoever posts, once the loop is closed."""
        items: list[T] = []
        take = self._posts.popleft  # one at a time: a thread may append to a deque meanwhile, and nothing is missed
        try:
            while True:
                items.extend(take())
        except IndexError:
            return items
