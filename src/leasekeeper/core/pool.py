"""The pool: busy workers, idle workers, and the waiting room.

The pool dispatch of the lane owns one. It adds workers up to a maximum and releases idle ones one by one. It promises
that no worker is idle while an item waits, that items start in the order they arrived, and that none is lost.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from leasekeeper.core.ring import Ring

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Assignment:
    """The worker that gets an item, and whether it is new and has to be started."""

    worker: int
    hired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """A pool at one moment."""

    maximum: int
    """The most workers."""
    busy: int
    """Workers with an item."""
    idle: int
    """Workers without an item."""
    waiting: int
    """Items in the waiting room."""
    waiting_room: int
    """The most items that the waiting room can hold."""


class Pool(Generic[T]):
    """Workers, identified by numbers, and a waiting room for items that find no free worker.

    The most recently used idle worker is used first. So under a light load the same few workers do all the work, and
    the others stay idle long enough to be released.

    Args:
        maximum: the most workers, 1 or more.
        waiting_room: the most items that wait while all workers are busy, 0 or more.
        idle_timeout: idle seconds after which a worker may be released, 0 or more.
    """

    __slots__ = ("_again", "_busy", "_changed", "_hirings", "_idle", "_since", "_waiting", "idle_timeout", "maximum")

    def __init__(self, *, maximum: int, waiting_room: int, idle_timeout: float) -> None:
        if not idle_timeout >= 0:
            raise ValueError(f"a worker cannot be let go after {idle_timeout!r} idle seconds: give 0 or more")
        self.maximum = _checked(maximum)
        self.idle_timeout = idle_timeout
        self._waiting: Ring[T] = Ring(waiting_room)
        self._busy: set[int] = set()
        self._idle: deque[int] = deque()  # the most recently used at the right
        self._since: deque[float] = deque()  # since when each worker of `_idle` is idle
        self._again: dict[int, Assignment] = {}  # the answer when a worker is used again, made once
        self._hirings = 0
        self._changed = -math.inf  # when a worker was last added or released

    def submit(self, item: T, now: float) -> Assignment | None:
        """Find a place for an item.

        Returns:
            The worker it goes to: the idle one used most recently, else a new one. None: it waits, and comes out of
            a `finished` in its turn.

        Raises:
            OverflowError: everybody is busy and the waiting room is full.
        """
        if len(self._busy) >= self.maximum:
            if self._waiting.full:
                raise OverflowError(f"no place for the item: {self!r}, and the waiting room holds no more")
            self._waiting.push(item)
            return None
        return self._assign(now)

    def finished(self, worker: int, now: float) -> T | None:
        """Say that a worker is done with its item; returns its next one, the oldest waiting. None: it is idle now.

        Raises:
            ValueError: that worker is not at work.
        """
        if worker not in self._busy:
            raise ValueError(f"worker {worker} is not at work, so it cannot have finished")
        if self._waiting and len(self._busy) <= self.maximum:
            return self._waiting.pop()
        self._busy.remove(worker)
        self._idle.append(worker)
        self._since.append(now)
        return None

    def let_go(self, now: float) -> int | None:
        """Release the idle worker that was used longest ago, if it is time; returns its number, which is never reused.

        A worker is released when it has been idle for `idle_timeout`, but not sooner than `idle_timeout / workers`
        after the last one was added or released. So they go one by one: a large pool halves in about 0.7 time-outs, one
        of a hundred is empty after five, and a short pause releases no worker that is needed right afterwards. Workers
        above a lowered maximum are released as soon as they are idle.
        """
        if self.next_let_go() > now:
            return None
        worker = self._idle.popleft()
        self._since.popleft()
        del self._again[worker]
        self._changed = now
        return worker

    def next_let_go(self) -> float:
        """When `let_go` will release a worker, as of now: -inf at once, inf if no worker is idle."""
        if not self._idle:
            return math.inf
        hired = len(self._again)
        if hired > self.maximum:
            return -math.inf
        return max(self._since[0] + self.idle_timeout, self._changed + self.idle_timeout / hired)

    def resize(
        self, now: float, *, maximum: int | None = None, waiting_room: int | None = None
    ) -> list[tuple[T, Assignment]]:
        """Change the maximum, the waiting room, or both; returns the waiting items that can start now, and where.

        Fewer workers take effect as busy ones finish; what waits already stays in a smaller waiting room.
        """
        if maximum is not None:
            self.maximum = _checked(maximum)
        if waiting_room is not None:
            self._waiting.capacity = waiting_room
        started: list[tuple[T, Assignment]] = []
        while self._waiting and len(self._busy) < self.maximum:
            started.append((self._waiting.pop(), self._assign(now)))
        return started

    def recall(self) -> list[T]:
        """Take back everything that waits, oldest first."""
        return self._waiting.drain()

    def _assign(self, now: float) -> Assignment:
        """Make a worker busy: an idle one if there is any, else a new one."""
        if self._idle:
            worker = self._idle.pop()
            self._since.pop()
            self._busy.add(worker)
            return self._again[worker]
        worker = self._hirings
        self._hirings += 1
        self._changed = now
        self._busy.add(worker)
        self._again[worker] = Assignment(worker, hired=False)
        return Assignment(worker, hired=True)

    @property
    def idle(self) -> int:
        """How many workers have no item."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """How many workers have an item."""
        return len(self._busy)

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def statistics(self) -> PoolStatistics:
        """The pool as it is now."""
        return PoolStatistics(
            maximum=self.maximum,
            busy=self.busy,
            idle=self.idle,
            waiting=self.waiting,
            waiting_room=self._waiting.capacity,
        )

    def __repr__(self) -> str:
        return f"<Pool {self.busy}/{self.maximum} busy, {self.idle} idle, {self.waiting} waiting>"


def _checked(maximum: int) -> int:
    if maximum < 1:
        raise ValueError(f"a pool of at most {maximum} workers cannot work: give 1 or more")
    return maximum
