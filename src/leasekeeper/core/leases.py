"""The leases in our hands, in the order in which they are to be extended and in that in which they end.

Owned by the ledger. It promises O(log n) for each, and to keep few that nobody holds any more, whatever goes first.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.core.delivery import Lease

_Heap = list[tuple[float, int, "Lease"]]
"""When, a number that keeps leases from being compared, and the lease."""


class Leases:
    """Two heaps: a lease stands in that of beats until it has had its beat, then in that of ends."""

    __slots__ = ("_beats", "_ends", "_ticket")

    def __init__(self) -> None:
        self._beats: _Heap = []
        self._ends: _Heap = []
        self._ticket = count()

    def add(self, lease: Lease, held: int) -> None:
        """Take in a lease that is to be extended; `held` deliveries are in our hands, this one's included."""
        self._push(self._beats, lease.due, lease, held)

    def next_due(self) -> float:
        """When the first beat or end comes; inf when nothing is held."""
        for heap in (self._beats, self._ends):
            while heap and not heap[0][2].members:
                heappop(heap)
        beat = self._beats[0][0] if self._beats else math.inf
        end = self._ends[0][0] if self._ends else math.inf
        return min(beat, end)

    def first(self) -> Lease | None:
        """The lease whose beat comes first."""
        return self._beats[0][2] if self._beats else None

    def take_first(self) -> Lease:
        """Take that lease out for good."""
        return heappop(self._beats)[2]

    def first_beaten(self, held: int) -> None:
        """Note that it has had its beat: what is left of it is its end."""
        lease = self.take_first()
        lease.beaten = True
        self._push(self._ends, lease.deadline, lease, held)

    def ended(self, now: float) -> Iterator[Lease]:
        """Take out those that have had their beat and have ended by now."""
        while self._ends and self._ends[0][0] <= now:
            yield heappop(self._ends)[2]

    def _push(self, heap: _Heap, at: float, lease: Lease, held: int) -> None:
        """Note a lease; sweep out those that nobody holds once they are most of the heap.

        One old message at the top keeps all that is behind it from being taken off in passing.
        """
        heappush(heap, (at, next(self._ticket), lease))
        if len(heap) > 2 * held + 64:
            heap[:] = [each for each in heap if each[2].members]
            heapify(heap)

    def __repr__(self) -> str:
        return f"<Leases {len(self._beats)} to be extended, {len(self._ends)} to end>"
