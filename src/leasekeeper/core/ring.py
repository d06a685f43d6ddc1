"""The ring: a queue of fixed capacity, first in, first out.

The waiting room is one; its pool owns it.
Both ends cost the same however much is inside, and room is taken up only as items come.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Ring(Generic[T]):
    """A queue that holds at most `capacity` items.

    Args:
        capacity: how many items it holds, 0 or more.

    Attributes:
        capacity: how many items it holds. May be changed; what is inside already stays, even when it is more.
    """

    __slots__ = ("_items", "capacity")

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"a ring of capacity {capacity} cannot be: give 0 or more")
        self.capacity = capacity
        # A deque is a ring of linked blocks: O(1) at both ends, and 120,000 places cost nothing until they are used.
        # Its own maxlen would drop the oldest item when full, without a word.
        self._items: deque[T] = deque()

    def push(self, item: T) -> None:
        """Put an item in at the end.

        Raises:
            OverflowError: the ring is full.
        """
        if len(self._items) >= self.capacity:
            raise OverflowError(f"the ring is full: {len(self._items)} items of {self.capacity}; take some out first")
        self._items.append(item)

    def pop(self) -> T:
        """Take the oldest item out.

        Raises:
            IndexError: the ring is empty.
        """
        if not self._items:
            raise IndexError("the ring is empty")
        return self._items.popleft()

    def drain(self) -> list[T]:
        """Take everything out, oldest first."""
        items = list(self._items)
        self._items.clear()
        return items

    @property
    def full(self) -> bool:
        """Whether a push would raise."""
        return len(self._items) >= self.capacity

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<Ring {len(self._items)}/{self.capacity}>"
