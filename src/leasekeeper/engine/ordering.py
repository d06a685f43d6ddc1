"""Ordering: which of the received messages may start now. It stands between the worker and the lane.

Owned by the worker. Standard queues have no order: `Unordered` passes everything through. FIFO queues have the one of
`engine.grouped`, which starts one message of a group at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from leasekeeper.lanes.api import Answer
from leasekeeper.outcomes import NOT_STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Lane


class Ordering(Protocol):
    """What the worker asks of an order."""

    def submit(self, deliveries: Sequence[Delivery]) -> bool:
        """Start these, now or when their turn comes. False: nothing can be started any more."""
        ...

    def again(self, row: Delivery, after: float) -> None:
        """Start this one again in `after` seconds; its handler has ended."""
        ...

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits, here and in the lane."""
        ...


class Unordered:
    """No order: every delivery goes to the lane at once.

    Args:
        lane: runs the handler.
        answered: takes answers about what was not started.
        lane_closed: called when the lane can run nothing any more.
        wait: told how many slots are not needed while messages wait here, and, negative, are needed again.
    """

    __slots__ = ("_answered", "_lane", "_lane_closed", "_timers", "_wait", "submit")

    def __init__(
        self,
        lane: Lane[Delivery],
        *,
        answered: Callable[[list[Answer[Delivery]]], object],
        lane_closed: Callable[[], None],
        wait: Callable[[int], None],
    ) -> None:
        self.submit = lane.submit  # the lane's own method: passing through costs nothing
        self._lane = lane
        self._answered = answered
        self._lane_closed = lane_closed
        self._wait = wait
        self._timers: dict[Delivery, tuple[asyncio.TimerHandle, int]] = {}
        """When messages start again, and how many slots others may use until then."""

    def again(self, row: Delivery, after: float) -> None:
        """Start it again when `after` seconds have passed; unless that is at once, others may use its slot."""
        slots = int(after > 0)
        self._timers[row] = asyncio.get_running_loop().call_later(after, self._start, row), slots
        if slots:
            self._wait(slots)

    def _start(self, row: Delivery) -> None:
        _, slots = self._timers.pop(row)
        if slots:
            self._wait(-slots)
        # If its lease was lost meanwhile, the lane does not start it, and says so.
        if not self._lane.submit([row]):
            self._lane_closed()

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits, here and in the lane."""
        timers, self._timers = self._timers, {}
        for timer, slots in timers.values():
            timer.cancel()
            self._wait(-slots)
        if timers:
            self._answered([Answer(row, NOT_STARTED) for row in timers])
        self._lane.recall()
