"""The batch: the decision half of the one batcher, for acks, visibility changes and sends alike.

A batcher owns one, tells it what came and what failed, and asks it what is to go and when.
It promises that something goes when ten are there, or by the age of the oldest, or before any entry's lease ends.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Why(Enum):
    """What made a batch go."""

    SIZE = "size"
    """It was full."""
    TIME = "time"
    """Its oldest item had lingered long enough, a lease was about to end, or the pause after a failure was over."""
    FLUSH = "flush"
    """It was asked for before it was due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """What is in a batch at one moment."""

    waiting: int
    """Items that have not gone yet."""
    put_back: int
    """Items that have gone, failed, and wait to go again."""
    due: float
    """When something must be taken: -inf at once, inf never as things stand."""


class Batching(Protocol[T]):
    """What a batcher asks of a batch. `Batch` says what each of these does."""

    def add(self, items: Sequence[T], now: float, *, latest: float = math.inf) -> bool:
        """Add items; returns whether something is to go at once."""
        ...

    def put_back(self, item: T, *, ready: float, latest: float = math.inf) -> None:
        """Take back an item that has gone and failed."""
        ...

    def due(self) -> float:
        """When something must be taken."""
        ...

    def take(self, now: float, *, flush: bool = False) -> tuple[list[T], Why] | None:
        """Take the next batch out; None when none is due by now."""
        ...

    @property
    def put_back_count(self) -> int:
        """How many items failed and wait to go again."""
        ...

    def __len__(self) -> int: ...


class Batch(Generic[T]):
    """Items that wait to go together, at most `size` at a time.

    A batch is due when `size` items are there, or `linger` seconds after the *oldest* of them was added: adding to it
    does not put it off (L13). It is due earlier if an item says so by its `latest`, and when an item that was put
    back is ready to go again. Beyond `size` the items queue up; the caller asks for the next batch at once.

    Args:
        size: how many items go together, 1 or more; 10 is what SQS takes.
        linger: how many seconds an item may wait for others, 0 or more.
    """

    __slots__ = ("_again", "_due", "_dues", "_items", "_put_backs", "linger", "size")

    def __init__(self, *, size: int = 10, linger: float) -> None:
        if size < 1:
            raise ValueError(f"a batch of {size} items cannot be: give a size of 1 or more")
        if not linger >= 0:
            raise ValueError(f"a batch cannot linger for {linger!r} s: give 0 or more")
        self.size = size
        self.linger = linger
        self._items: deque[T] = deque()
        self._dues: deque[tuple[float, int]] = deque()  # of `_items`: when due, and for how many in a row
        self._due = math.inf  # of `_items`: -inf with a full batch, else the least of `_dues`
        self._again: list[tuple[float, int, T]] = []  # a heap; the number keeps items from being compared
        self._put_backs = 0

    def add(self, items: Sequence[T], now: float, *, latest: float = math.inf) -> bool:
        """Add items; returns whether a full batch is there.

        Args:
            items: what is to go, in that order.
            now: seconds, monotonic.
            latest: when they must go at the latest, e.g. because a lease ends soon after; only ever makes it earlier.
        """
        due = min(now + self.linger, latest)
        if items:
            self._items.extend(items)
            self._dues.append((due, len(items)))
            self._due = min(self._due, due)
        if len(self._items) < self.size:
            return False
        self._due = -math.inf
        return True

    def put_back(self, item: T, *, ready: float, latest: float = math.inf) -> None:
        """Take back an item that has gone and failed (L12).

        Args:
            item: what is to go again.
            ready: when it may go again; it makes the batch due then, full or not.
            latest: when it must go at the latest, even if that is before `ready`.
        """
        self._put_backs += 1
        heapq.heappush(self._again, (min(ready, latest), self._put_backs, item))

    def due(self) -> float:
        """When something must be taken: -inf with a full batch there, inf when nothing is."""
        if self._again and self._again[0][0] < self._due:
            return self._again[0][0]
        return self._due

    def take(self, now: float, *, flush: bool = False) -> tuple[list[T], Why] | None:
        """Take the next batch out, with the reason why it goes; None when none is due by now.

        Items that were put back and are ready go first, in the order in which they became ready, then the others,
        oldest first. There may be more due: ask again until None comes.

        Args:
            now: seconds, monotonic.
            flush: take whatever there is, due or not, put back and ready or not.
        """
        due = self.due()
        if due > now and not flush:
            return None
        until = math.inf if flush else now
        batch: list[T] = []
        while self._again and self._again[0][0] <= until and len(batch) < self.size:
            batch.append(heapq.heappop(self._again)[2])
        self._fill(batch)
        if not batch:
            return None
        if len(batch) == self.size:
            return batch, Why.SIZE
        return batch, Why.TIME if due <= now else Why.FLUSH

    def _fill(self, batch: list[T]) -> None:
        """Move the oldest items into `batch` until it is full, in O(size) however many there are."""
        items, dues = self._items, self._dues
        room = self.size - len(batch)
        if room >= len(items):
            batch.extend(items)
            items.clear()
            dues.clear()
            self._due = math.inf
            return
        batch.extend([items.popleft() for _ in range(room)])
        while room:
            due, count = dues.popleft()
            if count > room:
                dues.appendleft((due, count - room))
                break
            room -= count
        self._due = -math.inf if len(items) >= self.size else min(dues)[0]

    @property
    def put_back_count(self) -> int:
        """How many items failed and wait to go again."""
        return len(self._again)

    def __len__(self) -> int:
        return len(self._items) + len(self._again)

    def statistics(self) -> BatchStatistics:
        """What is in it now."""
        return BatchStatistics(waiting=len(self._items), put_back=len(self._again), due=self.due())

    def __repr__(self) -> str:
        return f"<Batch {len(self._items)}/{self.size}, {len(self._again)} put back>"
