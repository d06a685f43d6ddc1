"""The drain of a stop: handlers finish, what was not started is given back, and what cannot end is named.

Owned by the runner, used on the engine's loop. It promises that what has not started goes back in bounded time (L24),
even if a handler blocks the event loop that all others wait for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.engine.waits import first_of
from leasekeeper.events import HandlersLeft
from leasekeeper.lanes.api import Answer
from leasekeeper.outcomes import NOT_STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.stopping import Stopping
    from leasekeeper.engine.worker import Worker
    from leasekeeper.lanes.api import Lane
    from leasekeeper.lanes.mailbox import Mailbox

END_GRACE = 1.0
"""Seconds that cancelled handlers get to clean up at the deadline of a stop."""
RECALL_GRACE = 0.1
"""Seconds that a lane gets to answer for what was recalled. A loop that turns needs much less."""


class Drain:
    """Waits for handlers, ends them at the deadline, and takes back what the lane does not answer for.

    Args:
        context: the runner's.
        stopping: says how long handlers have.
        capacity: tells when no handler is left.
        worker: settles.
        lane: runs the handlers.
        answers: where the lane puts its answers.
        settle: takes these answers, on the engine's loop.
    """

    def __init__(
        self,
        context: QueueContext,
        stopping: Stopping,
        capacity: Capacity,
        worker: Worker,
        lane: Lane[Delivery],
        *,
        answers: Mailbox[Answer[Delivery]],
        settle: Callable[[list[Answer[Delivery]]], None],
    ) -> None:
        self._context = context
        self._stopping = stopping
        self._capacity = capacity
        self._worker = worker
        self._lane = lane
        self._answers = answers
        self._settle = settle
        self._taken_back: set[Delivery] = set()

    async def polls_ended(self) -> None:
        """No poll is out: what was not started is given back."""
        self._worker.polls_ended()
        await asyncio.sleep(0)  # answers that are here count
        if self._worker.unstarted():
            await asyncio.sleep(RECALL_GRACE)
            self._take_back()

    async def run(self) -> None:
        """Wait for handlers, heartbeats on; at the deadline end those that can be ended (L22)."""
        await self._stopping.drained(self._capacity.idle)
        if not self._capacity.taken:
            return
        self._worker.recall()
        self._worker.release_withheld()
        grace = END_GRACE if self._lane.end() else 0.0  # enough for the answers about what had not started
        await first_of(self._capacity.idle(), timeout=grace)
        self._take_back()
        if self._capacity.taken:
            running = self._lane.statistics().running
            self._context.emit(HandlersLeft(self._context.queue, running, self._stopping.limit))

    def _take_back(self) -> None:
        """Give back what the lane was given and has not started, without its help: a handler may block its loop.

        Race: the lane may start a message right now, or be about to answer for it. As `Unit.lost` has it, one of the
        two sees the other. If both do, the message is not started, and the lane's answer may come after this one.
        """
        rows = self._worker.unstarted() if self._lane.looks_before_start else ()
        taken: list[Delivery] = []
        for row in rows:
            before, row.lost = row.lost, True
            if row.started:
                row.lost = before
            else:
                taken.append(row)
        if taken:
            self._taken_back.update(taken)
            self._answers.redirect(self._settle_others)
            self._settle([Answer(row, NOT_STARTED) for row in taken])

    def _settle_others(self, answers: Sequence[Answer[Delivery]]) -> None:
        """Settle what was not taken back: each message is answered once."""
        if others := [answer for answer in answers if answer.unit not in self._taken_back]:
            self._settle(others)

    def __repr__(self) -> str:
        return f"<Drain {len(self._taken_back)} taken back>"
