"""What is finished: the ids of messages whose work is done, so that a redelivery is recognised and not run again (L8).

Owned by the ledger. It remembers as many as it is told to, at times up to twice as many, and forgets the oldest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock.core.delivery import Delivery


class Finished:
    """The ids of finished work, bounded.

    Args:
        most: how many are remembered at least, once there are so many; 0: none.

    Attributes:
        ids: them, the oldest first.
    """

    __slots__ = ("_most", "ids")

    def __init__(self, most: int) -> None:
        self._most = most
        self.ids: dict[str, None] = {}

    def add(self, rows: Iterable[Delivery]) -> None:
        """Remember the ids of these."""
        ids, most = self.ids, self._most
        if not most:
            return
        for row in rows:
            ids[row.received.message_id] = None
        if len(ids) >= 2 * most:
            # Half of them at once: to take out of a dict what came first steps over all that was taken out before it.
            self.ids = dict.fromkeys(list(ids)[-most:])

    def __repr__(self) -> str:
        return f"<Finished {len(self.ids)} ids, {self._most} wanted>"
