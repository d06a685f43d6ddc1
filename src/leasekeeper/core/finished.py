"""What is finished: the ids of messages that have been processed, so that a redelivery is known and not run again (L8).

Owned by the ledger. It remembers as many as it is told to, at times up to twice as many, and forgets the oldest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from leasekeeper.core.delivery import Delivery


class Finished:
    """The ids of finished work, bounded: two generations; the older one is forgotten as a whole.

    Args:
        most: how many make a generation; 0: nothing is remembered.

    Attributes:
        young: the ids of the generation that is being filled.
        old: those of the one before.
    """

    __slots__ = ("_most", "old", "young")

    def __init__(self, most: int) -> None:
        self._most = most
        self.young: set[str] = set()
        self.old: set[str] = set()

    def add(self, rows: Iterable[Delivery]) -> None:
        """Remember the ids of these."""
        if self._most:
            self.young.update([row.received.message_id for row in rows])
            if len(self.young) >= self._most:
                self.young, self.old = set(), self.young

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def __repr__(self) -> str:
        return f"<Finished {len(self)} ids, {self._most} wanted>"
