"""The mailbox: items for one event loop, from any thread, many to a wake-up.

Owned by the receiving side. Promises order for each sender, no loss while open, and one wake-up of the loop however
many items are posted before it comes round.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Items on their way to `loop`, where `receive` takes them as a list."""

    __slots__ = ("_awake", "_items", "_loop", "_receive")

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[list[T]], None]) -> None:
        self._loop = loop
        self._receive = receive
        self._items: deque[T] = deque()
        self._awake = False

    def post(self, item: T) -> bool:
        """Post one item, from any thread; False when the loop is closed."""
        self._items.append(item)
        return (self._awake and not self._loop.is_closed()) or self._wake()

    def post_all(self, items: Iterable[T]) -> bool:
        """Post several items, from any thread; False when the loop is closed."""
        self._items.extend(items)
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
        take = self._items.popleft
        try:
            while True:
                items.append(take())
        except IndexError:
            return items
