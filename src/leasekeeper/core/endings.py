"""How messages end that are not simply done: given back for a reason, deleted for another, or lost.

Owned by a ledger. Pure. With it every received message is counted where it ended, once.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from leasekeeper.outcomes import Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from leasekeeper.core.delivery import Delivery


class Endings:
    """Counts how messages end that are not simply done.

    Attributes:
        why: the reason of each that has not ended yet.
        released: those given back, by reason.
        deleted: those deleted, by reason.
        known_duplicates: redeliveries of finished messages.
        gone: those that ended here without a delete or a release: they come again.
        unsettled_before: finished messages without a confirmed delete whose leases had ended before the stop began.
    """

    def __init__(self) -> None:
        self.why: dict[Delivery, str] = {}
        self.released = Counter[str]()
        self.deleted = Counter[str]()
        self.known_duplicates = self.gone = 0
        self.unsettled_before = 0
        self._stopping = False
        self._undeleted: list[float] = []  # when the leases of other such messages end: a heap
        self._hidden: list[float] = []  # when messages that were given back can be received again: a heap

    def recognise(self, rows: Sequence[Delivery]) -> None:
        """These are redeliveries of messages that were finished here before."""
        self.known_duplicates += len(rows)
        for row in rows:
            self.why[row] = "known_duplicate"

    def skip(self, row: Delivery) -> None:
        """This one is deleted although no handler did its work."""
        self.why[row] = "skipped"

    def hide(self, rows: Iterable[Delivery], now: float) -> None:
        """These were given back, and stay hidden until their back-off is over."""
        hidden = self._hidden
        while hidden and hidden[0] <= now:
            heappop(hidden)
        for row in rows:
            if row.visible_at > now:
                heappush(hidden, row.visible_at)

    def hidden(self, now: float) -> int:
        """How many messages that were given back here are hidden at `now`; may be asked from any thread."""
        return sum(at > now for at in list(self._hidden))

    def came_back(self, rows: Iterable[Delivery], settled: Settled, counted: str | None) -> None:
        """These were not deleted."""
        whys = [self.why.pop(row, "other") for row in rows]
        if counted == "released":
            self.released.update(whys)
        elif settled is Settled.LOST and counted != "unsettled":
            self.gone += len(whys)

    def refused(self, visible_at: float, now: float) -> None:
        """The delete of a finished message is refused for good, and it can be received again at `visible_at`."""
        if not self._stopping:
            self._pass(now)
        heappush(self._undeleted, visible_at)

    def stopping(self, now: float) -> None:
        """A stop begins. What could be received again before may have been handled again since."""
        self._pass(now)
        self._stopping = True

    def _pass(self, now: float) -> None:
        while self._undeleted and self._undeleted[0] <= now:
            heappop(self._undeleted)
            self.unsettled_before += 1

    def were_deleted(self, rows: Iterable[Delivery]) -> None:
        """These were deleted; those without a reason were done."""
        self.deleted.update(why for row in rows if (why := self.why.pop(row, None)) is not None)
