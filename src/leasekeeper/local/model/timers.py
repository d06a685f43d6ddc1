"""When hidden messages become visible: a heap with one valid entry a message.

Owned by one queue. It promises that arming, disarming and firing cost at most the logarithm of the number of messages,
and that invalid entries are removed before they outnumber the valid ones by much.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.local.model.stored import Stored

_WORTH_SWEEPING = 1024


class Timers:
    """The times at which messages are due.

    A message due later than its entry keeps the entry: the entry fires early and is put back. A message due sooner gets
    a new entry, and the old one becomes invalid. So extending a lease, the most frequent change, costs nothing here.
    """

    __slots__ = ("_heap", "_valid")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Stored]] = []
        self._valid = 0

    def __len__(self) -> int:
        return len(self._heap)

    def arm(self, message: Stored, due: float) -> None:
        """Let the message fire at `due`, and at no other time."""
        message.due = due
        if message.armed <= due:
            return
        if message.armed == inf:
            self._valid += 1
        message.armed = due
        heappush(self._heap, (due, message.number, message))

    def rest(self, message: Stored) -> None:
        """Do not let the message fire until it is armed again; its entry is kept for that."""
        message.due = inf

    def disarm(self, message: Stored) -> None:
        """Do not let the message fire again; its entry is removed once enough entries are invalid."""
        message.due = inf
        if message.armed != inf:
            message.armed = inf
            self._valid -= 1
            self._sweep()

    def fire(self, now: float) -> Iterator[Stored]:
        """Remove and return the messages due by now, in the order of their times."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, message = heappop(heap)
            if at != message.armed:
                continue
            message.armed = inf
            self._valid -= 1
            due = message.due
            if due <= now:
                message.due = inf
                yield message
            elif due != inf:
                self.arm(message, due)

    def next(self) -> float:
        """The earliest time at which a message may be due; infinite when there is none."""
        return self._heap[0][0] if self._heap else inf

    def _sweep(self) -> None:
        if len(self._heap) > _WORTH_SWEEPING and len(self._heap) > 2 * self._valid:
            self._heap[:] = [entry for entry in self._heap if entry[0] == entry[2].armed]
            heapify(self._heap)
