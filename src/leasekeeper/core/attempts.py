"""Attempts: what SQS's receive count does not show of how often a message has run, remembered by message id.

Owned by the ledger. The receive count goes up with each delivery: also when the message is given back without a run,
and only once when it runs several times under one delivery. What this process knows of the difference is remembered
from one delivery of a message to the next, for a bounded number of messages; the oldest are forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from leasekeeper.core.delivery import Delivery

MOST = 10_000
"""Messages remembered, at times up to twice as many."""

MORE_RECEIVES = 3
"""Receives that a redrive policy should allow beyond the attempts: a stop, a lost answer and a crash count one each."""


class Attempts:
    """`Delivery.extra` by message id, bounded: two generations; the older one is forgotten as a whole.

    Args:
        most: how many make a generation.

    Attributes:
        young: the generation that is being filled.
        old: the one before.
    """

    __slots__ = ("_most", "old", "young")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.young: dict[str, int] = {}
        self.old: dict[str, int] = {}

    def remember(self, rows: Iterable[Delivery]) -> None:
        """These are no longer held, and may be delivered again. The attempt that has not started does not count."""
        young = self.young
        for row in rows:
            if extra := row.extra if row.started else row.extra - 1:
                young[row.received.message_id] = extra
        if len(young) >= self._most:
            self.young, self.old = {}, young

    def recall(self, rows: Iterable[Delivery]) -> None:
        """These were delivered: give each what is remembered of it. From now on the delivery keeps it."""
        for row in rows:
            name = row.received.message_id
            older = self.old.pop(name, 0)
            row.extra += self.young.pop(name, older)

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def __repr__(self) -> str:
        return f"<Attempts of {len(self)} messages>"
