"""Ordering: which of the received messages may start now. It stands between the worker and the lane.

Owned by the worker. Standard queues have no order: `Unordered` passes everything through. A FIFO queue will have an
ordering that starts one message of a group at a time, and is told when it ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Lane


class Ordering(Protocol):
    """What the worker asks of an order."""

    def submit(self, deliveries: Sequence[Delivery]) -> bool:
        """Start these, now or when their turn comes. False: nothing can be started any more."""
        ...

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits, here and in the lane."""
        ...


class Unordered:
    """No order: every delivery goes to the lane at once."""

    __slots__ = ("recall", "submit")

    def __init__(self, lane: Lane[Delivery]) -> None:
        # The lane's own methods: passing through costs nothing.
        self.submit = lane.submit
        self.recall = lane.recall


def ordering_for(lane: Lane[Delivery]) -> Ordering:
    """The order that a queue needs."""
    return Unordered(lane)
