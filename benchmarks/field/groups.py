"""A FIFO queue of the lean SQS: messages in groups, each group given out in order and locked while it is in flight.

Owned by `broker.py`, which makes one for each name that ends in `.fifo`. As SQS does, a receive takes as many messages
of one group as it can before it goes on to the next, and nothing more of a group until all of it is deleted or visible
again. It knows no attempt ids and no deduplication.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from queues import Queue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queues import Sent


class Group:
    """The messages of one group that wait, in order, and the number of those in flight."""

    __slots__ = ("in_flight", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Sent] = deque()
        self.in_flight = 0


class FifoQueue(Queue):
    """A queue that gives out each group in order."""

    fifo = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._groups: dict[str, Group] = {}
        self._free: deque[Group] = deque()
        """Groups with messages that may be received, the longest free first."""

    def _make_visible(self, messages: Iterable[Sent]) -> None:
        for message in messages:
            group = self._groups.get(message.item.group)
            if group is None:
                group = self._groups[message.item.group] = Group()
            if not group.waiting and not group.in_flight:
                self._free.append(group)
            group.waiting.append(message)

    def _take(self, limit: int) -> list[Sent]:
        taken: list[Sent] = []
        while self._free and len(taken) < limit:
            group = self._free[0]
            while group.waiting and len(taken) < limit:
                message = group.waiting.popleft()
                if message.number in self._messages:
                    taken.append(message)
                    group.in_flight += 1
            if group.in_flight or not group.waiting:
                self._free.popleft()
        return taken

    def _left(self, message: Sent) -> None:
        group = self._groups[message.item.group]
        group.in_flight -= 1
        if not group.in_flight and group.waiting:
            self._free.append(group)

    def _show_again(self, message: Sent) -> None:
        group = self._groups[message.item.group]
        group.waiting.append(message)
        group.waiting = deque(sorted(group.waiting, key=lambda each: each.number))
        self._left(message)
