"""Messages that wait to be sent: which go together, and in which order.

A batcher owns one, in place of a `Batch`. Both kinds promise that a batch has at most ten messages and a megabyte. That
of FIFO queues also promises that no message of a group goes while an earlier one of its group is on its way or waits
for another try.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from leasekeeper.core.batch import Why

if TYPE_CHECKING:
    from collections.abc import Sequence


class Sized(Protocol):
    """A message that waits."""

    size: int
    """Bytes as SQS counts them."""
    group: str
    """The message group; empty without one."""
    number: int
    """Its place in the order in which messages were accepted."""


E = TypeVar("E", bound=Sized)


class SendBatch(Generic[E]):
    """Messages of a standard queue.

    Due when ten messages or a megabyte are there, or `linger` seconds after the oldest was added.

    Args:
        size: messages that go together, 1 to 10.
        most_bytes: bytes that go together.
        linger: seconds that a message may wait for others.
    """

    __slots__ = ("_again", "_bytes", "_items", "_ticket", "linger", "most_bytes", "size")

    def __init__(self, *, size: int, most_bytes: int, linger: float) -> None:
        self.size = size
        self.most_bytes = most_bytes
        self.linger = linger
        self._items: deque[tuple[float, E]] = deque()
        self._bytes = 0
        self._again: list[tuple[float, int, E]] = []
        self._ticket = count()

    def add(self, items: Sequence[E], now: float, *, latest: float = math.inf) -> bool:
        """Add messages; returns whether a full batch is there."""
        due = min(now + self.linger, latest)
        self._items.extend([(due, item) for item in items])
        self._bytes += sum([item.size for item in items])
        return self._full

    @property
    def _full(self) -> bool:
        return len(self._items) >= self.size or self._bytes >= self.most_bytes

    def put_back(self, item: E, *, ready: float, latest: float = math.inf) -> None:
        """Take back a message that has gone and failed."""
        heapq.heappush(self._again, (min(ready, latest), next(self._ticket), item))

    def answered(self, items: Sequence[E]) -> None:
        """A call has been answered; no message waits for that."""

    def due(self) -> float:
        """When something must be taken: -inf with a full batch there, inf when nothing is."""
        if self._full:
            return -math.inf
        first = self._items[0][0] if self._items else math.inf
        return min(first, self._again[0][0]) if self._again else first

    def take(self, now: float, *, flush: bool = False) -> tuple[list[E], Why] | None:
        """Take the next batch out, with the reason why it goes; None when none is due by now."""
        due = self.due()
        if due > now and not flush:
            return None
        batch: list[E] = []
        room = self.most_bytes
        until = math.inf if flush else now
        while self._again and self._again[0][0] <= until and len(batch) < self.size and self._again[0][2].size <= room:
            batch.append(heapq.heappop(self._again)[2])
            room -= batch[-1].size
        items = self._items
        while items and len(batch) < self.size and (items[0][1].size <= room or not batch):
            item = items.popleft()[1]
            batch.append(item)
            room -= item.size
            self._bytes -= item.size
        if not batch:
            return None
        return batch, Why.SIZE if due == -math.inf else Why.TIME if due <= now else Why.FLUSH

    @property
    def put_back_count(self) -> int:
        """How many failed and wait to go again."""
        return len(self._again)

    def __len__(self) -> int:
        return len(self._items) + len(self._again)

    def __repr__(self) -> str:
        return f"<SendBatch {len(self._items)} waiting, {len(self._again)} put back>"


class _Line(Generic[E]):
    """The messages of one group, in order."""

    __slots__ = ("due", "items", "out", "pause")

    def __init__(self) -> None:
        self.items: deque[tuple[float, E]] = deque()
        self.out = False
        """Whether a call with some of them has no answer yet."""
        self.pause = -math.inf
        """Until when it waits after a failure."""
        self.due = math.inf
        """When its first message must go; later than that while it pauses."""


class GroupedSendBatch(Generic[E]):
    """Messages of a FIFO queue: each group has one call out at a time.

    Args:
        size: messages that go together, 1 to 10.
        most_bytes: bytes that go together.
        linger: seconds that a message may wait for others.
        singly: whether a call has at most one message of each group, so that one which SQS refuses can have no
            successor in the same call.
    """

    __slots__ = ("_count", "_dues", "_free", "_lines", "_paused", "_ticket", "linger", "most_bytes", "singly", "size")

    def __init__(self, *, size: int, most_bytes: int, linger: float, singly: bool) -> None:
        self.size = size
        self.most_bytes = most_bytes
        self.linger = linger
        self.singly = singly
        self._lines: dict[str, _Line[E]] = {}
        self._free: dict[str, _Line[E]] = {}
        """Groups that may go now, the longest wait first."""
        self._count = 0
        """Messages that may go together now: those of free groups, or one of each."""
        self._paused: dict[str, _Line[E]] = {}
        self._dues: list[tuple[float, int, str]] = []
        self._ticket = count()

    def add(self, items: Sequence[E], now: float, *, latest: float = math.inf) -> bool:
        """Add messages; returns whether a full batch is there."""
        due = min(now + self.linger, latest)
        for item in items:
            line = self._lines.get(item.group)
            if line is None:
                line = self._lines[item.group] = _Line()
                line.items.append((due, item))
                self._release(item.group, line)
            else:
                line.items.append((due, item))
                if item.group in self._free and not self.singly:
                    self._count += 1
        return self._count >= self.size

    def put_back(self, item: E, *, ready: float, latest: float = math.inf) -> None:
        """Take back a message that has gone and failed: its group pauses until `ready`."""
        line = self._lines[item.group]
        ready = min(ready, latest)
        later = [(due, each) for due, each in line.items if each.number > item.number]
        earlier = [(due, each) for due, each in line.items if each.number < item.number]
        line.items = deque([*earlier, (ready, item), *later])
        line.pause = max(line.pause, ready)

    def answered(self, items: Sequence[E]) -> None:
        """The call with these has been answered, and what failed was put back: their groups may go on."""
        for group in {item.group for item in items}:
            line = self._lines[group]
            if not line.items:
                del self._lines[group]
            elif line.pause > -math.inf:
                line.out = False
                self._paused[group] = line
                self._set_due(group, line, line.pause)
            else:
                line.out = False
                self._release(group, line)

    def _release(self, group: str, line: _Line[E]) -> None:
        line.pause = -math.inf
        self._free[group] = line
        self._count += 1 if self.singly else len(line.items)
        self._set_due(group, line, line.items[0][0])

    def _set_due(self, group: str, line: _Line[E], due: float) -> None:
        line.due = due
        heapq.heappush(self._dues, (due, next(self._ticket), group))

    def _first(self) -> str | None:
        """The group that must go first; None when none waits, or all that wait have calls out."""
        while self._dues:
            due, _, group = self._dues[0]
            line = self._lines.get(group)
            if line is not None and not line.out and line.due == due:
                return group
            heapq.heappop(self._dues)
        return None

    def due(self) -> float:
        """When something must be taken: -inf with a full batch there; inf when nothing waits but for answers."""
        if self._count >= self.size:
            return -math.inf
        first = self._first()
        return math.inf if first is None else self._lines[first].due

    def take(self, now: float, *, flush: bool = False) -> tuple[list[E], Why] | None:
        """Take the next batch out, with the reason why it goes; None when none is due by now."""
        due = self.due()
        if due > now and not flush:
            return None
        for group, line in list(self._paused.items()):
            if line.pause <= now or flush:
                del self._paused[group]
                self._release(group, line)
        batch: list[E] = []
        room = self.most_bytes
        first = self._first()
        if first in self._free:
            room = self._move(first, batch, room)
        for group in list(self._free):
            if len(batch) >= self.size:
                break
            room = self._move(group, batch, room)
        if not batch:
            return None
        return batch, Why.SIZE if due == -math.inf else Why.TIME if due <= now else Why.FLUSH

    def _move(self, group: str, batch: list[E], room: int) -> int:
        """Move the first messages of a free group into the batch, as far as there is room; the room that is left."""
        line = self._free[group]
        counted = 1 if self.singly else len(line.items)
        most = 1 if self.singly else self.size
        taken = 0
        while line.items and taken < most and len(batch) < self.size and (line.items[0][1].size <= room or not batch):
            item = line.items.popleft()[1]
            batch.append(item)
            room -= item.size
            taken += 1
        if taken:
            line.out = True
            del self._free[group]
            self._count -= counted
        return room

    @property
    def put_back_count(self) -> int:
        """How many groups pause after a failure."""
        return len(self._paused)

    def __len__(self) -> int:
        return sum(len(line.items) for line in self._lines.values())

    def __repr__(self) -> str:
        return f"<GroupedSendBatch {len(self)} waiting in {len(self._lines)} groups, {len(self._paused)} paused>"
