"""The mailbox: items for one event loop, from any thread, many to a wake-up.

Owned by the receiving side. It keeps the order of each sender, loses nothing while it is open, and wakes the loop once
for all items that are posted before the loop receives them.
"""

from __future__ import annotations

from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Items on their way to `loop`; there, `receive` takes everything that has arrived as one list."""

    __slots__ = ("_awake", "_closed", "_context", "_loop", "_posts", "_receive")

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[list[T]], None]) -> None:
        self._loop = loop
        self._context = copy_context()
        self._receive = receive
        self._posts: deque[Sequence[T]] = deque()
        self._awake = False
        self._closed = False

    def post(self, items: Sequence[T]) -> bool:
        """Post items, from any thread. False: the mailbox or its loop is closed, and the items may stay unread."""
        if self._closed:
            return False
        self._posts.append(items)
        return (self._awake and not self._loop.is_closed()) or self._wake()

    def post_one(self, item: T) -> bool:
        """Post one item, as `post` does."""
        return self.post((item,))

    def close(self) -> None:
        """Accept no more items. What was posted before, or by a thread at this very moment, is still received."""
        self._closed = True

    def redirect(self, receive: Callable[[list[T]], None]) -> None:
        """Let `receive` take what arrives from now on. To be called on the receiving loop."""
        self._receive = receive

    def __len__(self) -> int:
        """How many items are on their way; may be asked from any thread."""
        return sum(map(len, list(self._posts)))

    def _wake(self) -> bool:
        # Race: between the append and this line another thread may wake the loop as well. That costs one call too many
        # and never one too few, because `_drain` clears `_awake` before it looks at the items.
        self._awake = True
        try:
            # In our context: variables that the sender set are not for the receiver, nor for the tasks that it makes.
            self._loop.call_soon_threadsafe(self._drain, context=self._context)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _drain(self) -> None:
        self._awake = False
        items = self.take_back()
        if items:
            self._receive(items)

    def take_back(self) -> list[T]:
        """Take out what has not been received: for the sender, when the loop is closed."""
        items: list[T] = []
        # Race: another thread may append meanwhile. `popleft` takes one post at a time, so none is missed.
        take = self._posts.popleft
        try:
            while True:
                items.extend(take())
        except IndexError:
            return items
